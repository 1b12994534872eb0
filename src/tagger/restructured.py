"""reStructuredText and AsciiDoc to the words a person would read, marked as Markdown's are."""

import re
from collections.abc import Iterator
from typing import Any

from tagger.markdown import shortened, tidy

_MOST = 16 * 1024
"""Characters that are looked at: many times the budget, and little enough for slow parsers."""

_MOST_DEEP = 40
"""Headings and lists within one another; deeper ones are not worth reading."""

_ATTRIBUTE = re.compile(
    r"^:[\w!-]+:.*$|^\[[^\[\]\n]*\]$|^(?:ifdef|ifndef|endif|include|toc)::.*$|^[|!,:]===$"
    r"|^\|(?=\S)|(?<=\s)\|(?=\S)|\{[a-z][\w-]*\}",
    re.M,
)
_COMMENT = re.compile(r"^////$.*?^////$|^//(?!/)[^\n]*$", re.M | re.S)
_IMAGE = re.compile(r"\bimage::?[^\s\[\]]*\[([^\]\n]*)\]")
_LINK = re.compile(r"(?:\b(?:link|xref):[^\s\[\]]+|\b(?:https?|mailto)\S*?)\[([^\]\n]*)\]")
_REFERENCE = re.compile(r"<<[^,>\n]+(?:,\s*([^>\n]*))?>>")
_LISTING = re.compile(r"^(-{4,}|\.{4,}|`{3,}.*|={4,}|\*{4,}|_{4,}|\+{4,})$", re.M)
_URL = re.compile(r"\b(?:https?|ftp)://[^\s<>()\[\]]+")


def plain_rst(text: str) -> str:
    """Return the words of a reStructuredText, which docutils parses; files that it names stay shut.

    Directives and roles that are not docutils' own (Sphinx has many) are passed over.
    """
    # Here, not above: most READMEs are Markdown.
    from docutils.core import publish_doctree

    tree = publish_doctree(
        text[:_MOST],
        settings_overrides={
            "_disable_config": True,
            "doctitle_xform": False,
            "file_insertion_enabled": False,
            "halt_level": 6,
            "line_length_limit": _MOST,
            "raw_enabled": False,
            "report_level": 5,
        },
    )
    return tidy("".join(_rst(tree, 0)))


def _rst(node: Any, depth: int) -> Iterator[str]:
    """Yield the text of a node of docutils' tree."""
    kind = type(node).__name__
    if depth > _MOST_DEEP or kind in ("comment", "system_message", "raw", "target", "pending"):
        return
    if kind == "Text":
        yield _URL.sub("", str(node))
    elif kind == "title":
        yield f"\n\n{'#' * min(depth, 6)} {node.astext()}\n"
    elif kind == "literal_block":
        yield f"\n\n{shortened(node.astext())}\n"
    elif kind == "image":
        yield f" {node.get('alt', '')} "
    else:
        inner = depth + (kind in ("section", "bullet_list", "enumerated_list", "block_quote"))
        yield {"list_item": "\n- ", "paragraph": "\n" * (depth < 2)}.get(kind, "")
        for child in node.children:
            yield from _rst(child, inner)
        yield "\n" if kind in ("paragraph", "list_item", "entry", "term") else ""


def plain_asciidoc(text: str) -> str:
    """Return the words of an AsciiDoc text, reduced by its marks: Python has no parser of it."""
    text = _COMMENT.sub("", text[:_MOST].replace("\r\n", "\n").replace("\r", "\n"))
    parts = _LISTING.split(text)
    # Between an opening mark and its closing one lies a block; marks stand at odd places.
    pieces, open_ = [], ""
    for place, part in enumerate(parts):
        if place % 2:
            open_ = "" if open_ else part
        else:
            pieces.append(
                shortened(part.strip("\n")) + "\n" if open_[:1] in "-.`" and open_ else part
            )
    text = _ATTRIBUTE.sub("", "".join(pieces))
    text = re.sub(r"^(={1,6}) ", lambda mark: "#" * len(mark[1]) + " ", text, flags=re.M)
    text = re.sub(r"^[*.-]{1,5} ", "- ", text, flags=re.M)
    for pattern in (_IMAGE, _LINK, _REFERENCE):
        text = pattern.sub(lambda found: (found[1] or "").split(",")[0].rstrip("^"), text)
    text = _URL.sub("", re.sub(r"(\*\*|__|``|[*_`+#])(?=\S)([^\n]*?\S)\1", r"\2", text))
    return tidy(text)
