"""Prose early: what a README that begins with something else says of its project.

Some begin with installation, badges or a table of contents, and say what they are about later than
a small token budget reaches.
"""

import re
from collections.abc import Iterator

ENOUGH = 20
"""Words of prose with which the beginning of a README says what it is about."""

LONG = 25
"""Words of a paragraph that may say so instead."""

_SYMBOLS = 0.04
"""The largest share of characters such as braces in a paragraph of prose: code has more."""

# Of a script without spaces, two characters count as a word.
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"[{_UNSPACED}]{{2}}|[^\W\d_{_UNSPACED}]+")
_HEADING = re.compile(r"^#+ (.+)", re.MULTILINE)
_PARAGRAPH = re.compile(r"\S(?:.|\n(?!\n))*")
_MARKED = re.compile(r"[#|$>]|- ")
_SYMBOL = re.compile(r"[{}\[\]<>=$|\\/_*#@`~^&+;]")
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)|[。！？]")


def prose_early(text: str, read: int) -> str:
    """Return a README's plain text with a later paragraph of prose in the part that is read.

    That is the first long one with a word of the title, such as the project's name. It goes behind
    the prose of the first half of the part, or behind the first line. Where the part says enough,
    or nothing behind it does, the text stays as it is.

    Args:
        text: the plain text.
        read: how many of its characters would be read.

    """
    named = _names_project(text)
    said, place = 0, text.find("\n")
    for start, stop in _prose(text):
        words = len(_WORD.findall(text, start, min(stop, read) if start < read else stop))
        if start < read:
            said += words
            if said >= ENOUGH:
                return text
            if stop <= read // 2:
                place = stop
        elif words >= LONG and named.search(text, start, stop):
            before, between, after = text[:place], text[place:start], text[stop:]
            return f"{before}\n\n{text[start:stop]}{between.rstrip()}{after}"
    return text


def _names_project(text: str) -> re.Pattern[str]:
    """Return what matches the words of the first heading, or of the first line."""
    heading = _HEADING.search(text)
    title = heading[1] if heading else text.partition("\n")[0]
    words = {word for word in _WORD.findall(title[:200]) if len(word) > 2 or not word.isascii()}
    return re.compile("|".join(map(re.escape, sorted(words))) or r"(?!)", re.IGNORECASE)


def _prose(text: str) -> Iterator[tuple[int, int]]:
    """Yield where paragraphs of words start and stop: no headings, lists, tables or code."""
    for found in _PARAGRAPH.finditer(text):
        paragraph = found[0]
        sentence = not paragraph[0].islower() or _SENTENCE_END.search(paragraph)
        symbols = len(_SYMBOL.findall(paragraph))
        if sentence and not _MARKED.match(paragraph) and symbols <= _SYMBOLS * len(paragraph):
            yield found.span()
