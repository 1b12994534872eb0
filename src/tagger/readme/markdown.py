"""Markdown to the words a person would read.

Markup costs tokens and says little: a README of 2,000 tokens is often 1,000 once badges, HTML and
link targets are gone. The CommonMark parser decides what is markup; this module only decides what
is kept of each kind.
"""

import re

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, blockquote
from markdown_it.token import Token

from tagger.readme.html import URL, html_words

CODE_LINES = 6
"""Lines kept of a code block: enough to show the language and the purpose."""

CODE_LINE_CHARS = 160

_MOST_MARKS = 10_000
"""Lines and opening brackets that are read: the parser takes up to 0.1 ms for each. A README of 128
KiB that is written for people has fewer."""

_MOST_QUOTED = 30_000
"""Lines that are looked at in search of the ends of quotations, at every depth again."""

_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2060\ufeff]")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_SPACES = re.compile(r"[ \t\u00a0]+")
_EMPTY_LINES = re.compile(r"\n{3,}")


def _blockquote(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Read a quotation, as markdown-it does, but look no further for its end than is left to look.

    Lines without a mark may continue a quotation. markdown-it looks for the last of them before it
    knows whether there is a paragraph to continue, and again at the next quotation.
    """
    if silent or not state.src.startswith(">", state.bMarks[start] + state.tShift[start]):
        return blockquote(state, start, end, silent)
    left = state.env.setdefault("quoted", _MOST_QUOTED)
    last = min(end, start + max(1, left))
    last = next((line for line in range(start, last) if state.isEmpty(line)), last)
    state.env["quoted"] = left - (last - start)
    return blockquote(state, start, last, silent)


def bounded_parser(*, html: bool = True) -> MarkdownIt:
    """Return a CommonMark parser with tables, fast on all that `bounded` returns.

    Args:
        html: whether HTML within the text is markup.

    """
    parser = MarkdownIt("commonmark", {"html": html, "maxNesting": 12}).enable("table")
    parser.block.ruler.at(
        "blockquote", _blockquote, {"alt": ["paragraph", "reference", "blockquote", "list"]}
    )
    return parser


_parser = bounded_parser()


def bounded(markdown: str) -> str:
    """Return a text without control characters and comments, and as much of it as is parsed."""
    text = _CONTROL.sub("", markdown.replace("\r\n", "\n").replace("\r", "\n"))
    # The parser would look for the end of every comment again, for minutes where none ends.
    head, end, tail = text.rpartition("-->")
    text = _COMMENT.sub("", head + end) + tail.replace("<!--", "")
    for mark in ("\n", "["):
        text = mark.join(text.split(mark, _MOST_MARKS)[:_MOST_MARKS])
    return text


def plain_text(markdown: str) -> str:
    """Return the words of a Markdown text.

    Headings and list items keep their marks, which tell a model what is a title. Images become
    their alternative text, links their caption, HTML its text; comments, link targets and bare
    addresses go; code blocks keep their first `CODE_LINES` lines.
    """
    blocks = _Blocks()
    for token in _parser.parse(bounded(markdown)):
        blocks.take(token)
    return tidy("".join(blocks.parts))


def tidy(text: str) -> str:
    """Return a text without control characters, runs of blanks and empty lines."""
    text = _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = "\n".join(_SPACES.sub(" ", line).strip() for line in text.split("\n"))
    return _EMPTY_LINES.sub("\n\n", text).strip()


class _Blocks:
    """Collects text from a stream of block tokens."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def take(self, token: Token) -> None:
        match token.type:
            case "heading_open":
                self.parts.append(f"\n\n{'#' * int(token.tag[1])} ")
            case "list_item_open":
                self.parts.append("\n- ")
            case "paragraph_open":
                # The first paragraph of a list item stays behind its mark.
                if not (self.parts and self.parts[-1] == "\n- "):
                    self.parts.append("\n" if token.hidden else "\n\n")
            case "tr_open":
                self.parts.append("\n")
            case "th_close" | "td_close":
                self.parts.append(" | ")
            case "bullet_list_close" | "ordered_list_close" | "table_close" | "blockquote_close":
                self.parts.append("\n\n")
            case "inline":
                self.parts.append(_inline(token.children or []))
            case "fence" | "code_block":
                self.parts.append(f"\n\n{shorten(token.content)}\n\n")
            case "html_block":
                self.parts.append(f"\n{html_words(token.content)}\n")


def _inline(tokens: list[Token]) -> str:
    """Return the words of a paragraph's tokens."""
    parts: list[str] = []
    for token in tokens:
        match token.type:
            case "text" | "text_special":
                parts.append(URL.sub("", token.content))
            case "code_inline":
                parts.append(token.content)
            case "softbreak" | "hardbreak":
                parts.append("\n")
            case "image":
                parts.append(f" {_inline(token.children or [])} ")
            case "html_inline":
                parts.append(html_words(token.content))
    return "".join(parts)


def shorten(code: str) -> str:
    """Return the beginning of a code block."""
    lines = [line[:CODE_LINE_CHARS] for line in code.strip("\n").split("\n", CODE_LINES)]
    return "\n".join(lines[:CODE_LINES])
