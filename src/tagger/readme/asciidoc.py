"""AsciiDoc to the words a person would read, marked as Markdown's are.

Python has no parser of AsciiDoc; its marks are taken away by patterns. Whatever in them is looked
for from every place in a text is bounded, so that the time is linear in its length.
"""

import re

from tagger.readme.html import URL
from tagger.readme.markdown import shorten, tidy

_MOST = 16 * 1024
"""Characters that are looked at: many times the budget."""

_COMMENT = re.compile(r"^////$.*?^////$|^//(?!/)[^\n]*$", re.M | re.S)
_LISTING = re.compile(r"^(-{4,}|\.{4,}|`{3,}.*|={4,}|\*{4,}|_{4,}|\+{4,})$", re.M)
_ATTRIBUTE = re.compile(
    r"^:[\w!-]+:.*$|^\[[^\[\]\n]*\]$|^(?:ifdef|ifndef|endif|include|toc)::.*$|^[|!,:]===$"
    r"|^\|(?=\S)|(?<=\s)\|(?=\S)|\{[a-z][\w-]*\}",
    re.M,
)
_CAPTION = r"\[([^\]\n]{0,500})\]"
_IMAGE = re.compile(rf"\bimage::?[^\s\[\]]{{0,500}}{_CAPTION}")
_LINK = re.compile(
    rf"\b(?:(?:link|xref):[^\s\[\]]{{1,500}}|(?:https?|mailto)[^\s\[\]]{{0,500}}){_CAPTION}"
)
_REFERENCE = re.compile(r"<<[^,>\n]{1,200}(?:,([^>\n]{0,200}))?>>")
_FORMAT = re.compile(r"(\*\*|__|``|[*_`+#])(?=\S)([^\n]{0,500}?\S)\1")


def plain_asciidoc(text: str) -> str:
    """Return the words of an AsciiDoc text."""
    text = _COMMENT.sub("", text[:_MOST].replace("\r\n", "\n").replace("\r", "\n"))
    parts = _LISTING.split(text)
    # Between an opening mark and its closing one lies a block; marks stand at odd places.
    pieces, open_ = [], ""
    for place, part in enumerate(parts):
        if place % 2:
            open_ = "" if open_ else part
        else:
            pieces.append(
                shorten(part.strip("\n")) + "\n" if open_[:1] in "-.`" and open_ else part
            )
    text = _ATTRIBUTE.sub("", "".join(pieces))
    text = re.sub(r"^(={1,6}) ", lambda mark: "#" * len(mark[1]) + " ", text, flags=re.M)
    text = re.sub(r"^[*.-]{1,5} ", "- ", text, flags=re.M)
    for pattern in (_IMAGE, _LINK, _REFERENCE):
        text = pattern.sub(lambda found: (found[1] or "").strip().split(",")[0].rstrip("^"), text)
    return tidy(URL.sub("", _FORMAT.sub(r"\2", text)))
