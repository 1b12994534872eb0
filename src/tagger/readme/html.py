"""HTML to the words a person would read, in time linear in its length.

The standard library's parser takes quadratic time on some input, fails on other input, and reads
broken HTML differently from one release of Python to the next.
"""

import re
from html import unescape

URL = re.compile(r"\b(?:https?|ftp)://[^\s<>()\[\]]+")
"""An address, as far as it can be told from the text around it."""

_BREAKING = frozenset({"br", "p", "div", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6"})
_SILENT_END = {
    name: re.compile(rf"</{name}\s*>", re.IGNORECASE | re.ASCII) for name in ("script", "style")
}

_NAME = re.compile(r"<([a-zA-Z][^\s/>]*)")
_STOP = re.compile(r"""=\s*(["'])|>""")
_ATTRIBUTE = re.compile(r"""([^\s/>=]+)(?:\s*=+\s*("[^"]*"|'[^']*'|[^\s>]*))?""")
_REFERENCE = re.compile(
    r"&(?:#[0-9]{1,9}(?![0-9]);?|#[xX][0-9a-fA-F]{1,9}(?![0-9a-fA-F]);?|[^\t\n\f <&#;]{1,32};?)"
)

_MOST_VALUES = 50
"""Quoted values that a tag may have. Without a bound, each of many broken tags would be followed
to the end of the text."""


def html_words(html: str) -> str:
    """Return the text of HTML without comments, and the alternative texts of its images.

    Scripts, styles and bare addresses go. A tag that does not end is text.
    """
    parts: list[str] = []
    last = html.rfind(">")  # no tag ends beyond it
    here = 0
    while here <= (start := html.find("<", here)) < last:
        parts.append(_text(html[here:start]))
        if html[start + 1] in "/!?":
            here = html.index(">", start) + 1
        elif not (name := _NAME.match(html, start)):
            parts.append("<")
            here = start + 1
        elif not (end := _end(html, name.end())):
            here = html.index(">", start) + 1
            parts.append(_text(html[start:here]))
        else:
            tag, here = name[1].lower(), end
            body = html[name.end() : end - 1]
            if tag in _BREAKING:
                parts.append("\n")
            elif tag == "img":
                parts.append(f" {_alternative(body)} ")
            elif tag in _SILENT_END and not body.endswith("/"):
                closing = _SILENT_END[tag].search(html, end)
                here = closing.end() if closing else len(html)
    parts.append(_text(html[here:]))
    return "".join(parts)


def _end(html: str, start: int) -> int:
    """Return where the tag ends whose name ends at `start`, or 0 if it does not end."""
    for _ in range(_MOST_VALUES):
        stop = _STOP.search(html, start)
        if stop is None or not stop[1]:
            return stop.end() if stop else 0
        start = html.find(stop[1], stop.end()) + 1
        if not start:
            return 0
    return 0


def _alternative(body: str) -> str:
    """Return the alternative text of an image, whose tag's attributes are given."""
    found = ""
    for name, value in _ATTRIBUTE.findall(body):
        if name.lower() == "alt":
            found = value[1:-1] if value[:1] in ('"', "'") else value
    return _unescaped(found)


def _text(text: str) -> str:
    return URL.sub("", _unescaped(text))


def _unescaped(text: str) -> str:
    """Return a text with its character references resolved.

    `html.unescape` alone fails on a number of thousands of digits.
    """
    return _REFERENCE.sub(lambda found: unescape(found[0]), text)
