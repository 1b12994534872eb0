"""Prose early: what a README that begins with something else says of its project.

Some begin with installation, badges or a table of contents, and say what they are about later than
a small token budget reaches.
"""

import re
from collections.abc import Iterator
from itertools import chain

PROSE_VERSION = "1"
"""Bump when the same README would be put in another order."""

ENOUGH = 20
"""Words of prose with which the beginning of a README says what it is about."""

LONG = 25
"""Words of a paragraph that may say so instead."""

_SYMBOLS = 0.04
"""The largest share of characters such as braces in a paragraph of prose: code has more."""

_TITLE = 200
"""Characters of a title that are looked at."""

# Of a script without spaces, two characters count as a word.
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff"
_LETTER = rf"[^\W\d_{_UNSPACED}]"
_WORD = re.compile(rf"[{_UNSPACED}]{{2}}|{_LETTER}+")
_NAME = re.compile(rf"[{_UNSPACED}]{{2}}|{_LETTER}{{3,}}")
_HEADING = re.compile(r"^# (.+)", re.MULTILINE)
_BLANK = re.compile(r"\n\n+")
_MARKED = re.compile(r"[#|$>]|- ")
_SYMBOL = re.compile(r"[{}\[\]<>=$|\\/_*#@`~^&+;]")
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)|[。！？]")
_COMMON = frozenset({"the", "and", "for", "with", "your", "from", "how", "welcome", "readme"})
"""Words of titles that name no project."""


def prose_early(text: str, read: int) -> str:
    """Return a README's plain text with a later paragraph of prose in the part that is read.

    That is the first long one with a word of the title, such as the project's name. It goes behind
    the prose of the first half of the part, or behind the first line. Where the part says enough,
    or nothing behind it does, the text stays as it is.

    Args:
        text: the plain text.
        read: how many of its characters would be read.

    """
    said, place = 0, len(text.partition("\n")[0])
    if place >= read:
        return text
    name = None  # which few READMEs need
    for start, stop in _prose(text):
        words = len(_WORD.findall(text, start, min(stop, read) if start < read else stop))
        if start < read:
            said += words
            if said >= ENOUGH:
                return text
            if stop <= read // 2:
                place = stop
            continue
        name = name or _name(text)
        if words >= LONG and name.search(text, start, stop):
            before, between, after = text[:place], text[place:start].strip("\n"), text[stop:]
            return "\n\n".join(part for part in (before, text[start:stop], between) if part) + after
    return text


def _name(text: str) -> re.Pattern[str]:
    """Return what finds a word of the title: of the first line or the main heading."""
    first = text.partition("\n")[0]
    heading = None if first.startswith("#") else _HEADING.search(text)
    title = heading[1] if heading else first
    words = {word for word in _NAME.findall(title[:_TITLE]) if word.casefold() not in _COMMON}
    names = "|".join(sorted(words)) or "(?!)"
    return re.compile(rf"(?<!{_LETTER})(?:{names})(?!{_LETTER})", re.IGNORECASE)


def _prose(text: str) -> Iterator[tuple[int, int]]:
    """Yield where paragraphs of words start and stop: no headings, lists, tables or code."""
    start = 0
    for stop, behind in chain(map(re.Match.span, _BLANK.finditer(text)), [(len(text), 0)]):
        paragraph = text[start:stop]
        sentence = not paragraph[:1].islower() or _SENTENCE_END.search(paragraph)
        symbols = len(_SYMBOL.findall(paragraph))
        if sentence and not _MARKED.match(paragraph) and symbols <= _SYMBOLS * len(paragraph):
            yield start, stop
        start = behind
