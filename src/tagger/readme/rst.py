"""reStructuredText to the words a person would read, marked as Markdown's are.

Importing this module imports docutils, which takes a tenth of a second.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from docutils.core import publish_doctree
from docutils.parsers.rst import Parser
from docutils.parsers.rst.states import Inliner
from docutils.readers.standalone import Reader
from docutils.transforms.references import Substitutions

from tagger.readme.html import URL
from tagger.readme.markdown import plain_text, shorten, tidy

_MOST = 16 * 1024
"""Characters that are looked at: many times the budget, and little enough for a slow parser."""

_MOST_LINES = 1200
"""Lines that are looked at: each can cost the parser 1 ms. Texts for people have half as many."""

_MOST_INLINE = 1000
_MOST_STARTS = 100
"""Characters of a paragraph that are parsed at once, and places in them where markup may begin:
docutils looks for the end of each of these as far as it can."""

_MOST_SUBSTITUTED = 100
"""Characters of a substitution's value."""

_START = re.compile(r"[`*|_\[]")

_MOST_DEEP = 40
"""Headings and lists within one another; deeper ones are not worth reading."""


class _Reader(Reader):  # type: ignore[misc]
    """Leaves substitutions as they are: ten levels of ten uses each would make 10^10 words."""

    def get_transforms(self) -> list[Any]:
        return [each for each in super().get_transforms() if each is not Substitutions]


def _inliner() -> Inliner:
    """Return a parser of paragraphs that parses long ones in pieces."""
    # No subclass: docutils takes its patterns from the attributes of the class itself.
    inliner = Inliner()
    whole = inliner.parse

    def parse(text: str, *args: Any) -> tuple[list[Any], list[Any]]:
        # The messages, one for each odd mark, would only have to be taken out again.
        return [node for piece in _pieces(text) for node in whole(piece, *args)[0]], []

    inliner.parse = parse
    return inliner


def _pieces(text: str) -> Iterator[str]:
    """Yield a text in pieces that are parsed at once, cut at blanks if it has any."""
    start = 0
    while start < len(text):
        end = start + _MOST_INLINE
        if more := next(islice(_START.finditer(text, start, end), _MOST_STARTS, None), None):
            end = more.start()
        if end < len(text):
            blank = max(text.rfind(mark, start + 1, end) for mark in " \n")
            end = blank if blank > 0 else end
        yield text[start:end]
        start = end


def plain_rst(text: str) -> str:
    """Return the words of a reStructuredText, which docutils parses; files that it names stay shut.

    Directives and roles that are not docutils' own (Sphinx has many) are left out. A substitution
    becomes its value, in which others stay as they are.
    """
    try:
        tree = publish_doctree(
            "\n".join(text[:_MOST].split("\n", _MOST_LINES)[:_MOST_LINES]),
            parser=Parser(inliner=_inliner()),
            reader=_Reader(),
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
        values = {
            name: "".join(_words(node, 0, {}))[:_MOST_SUBSTITUTED]
            for name, node in tree.substitution_defs.items()
        }
        return tidy("".join(_words(tree, 0, values)))
    except RecursionError:  # lists within lists by the hundred
        return plain_text(text)


def _words(node: Any, depth: int, values: dict[str, str]) -> Iterator[str]:
    """Yield the text of a node of docutils' tree, with the values of substitutions."""
    kind = type(node).__name__
    if depth > _MOST_DEEP or kind in ("comment", "system_message", "raw", "target", "pending"):
        return
    if kind == "Text":
        yield URL.sub("", str(node))
    elif kind == "title":
        yield f"\n\n{'#' * min(depth, 6)} {node.astext()}\n"
    elif kind == "literal_block":
        yield f"\n\n{shorten(node.astext())}\n"
    elif kind == "image":
        yield f" {node.get('alt', '')} "
    elif kind == "substitution_reference":
        yield values.get(node.get("refname", ""), node.rawsource)
    else:
        inner = depth + (kind in ("section", "bullet_list", "enumerated_list", "block_quote"))
        yield {"list_item": "\n- ", "paragraph": "\n" * (depth < 2)}.get(kind, "")
        for child in node.children:
            yield from _words(child, inner, values)
        yield "\n" if kind in ("paragraph", "list_item", "entry", "term") else ""
