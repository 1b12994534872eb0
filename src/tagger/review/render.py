"""A README as HTML that is safe to show: no scripts, no styles, nothing that is loaded.

The HTML is made in a process of its own with limits on time and memory, which starts this module
as a program. nh3 decides what of it is kept; nothing that a README says is trusted before.
"""

import html
import re
import sys
from pathlib import PurePath

import nh3

from tagger.errors import ReadmeError
from tagger.readme.cleaning import clean, markup_of, serve
from tagger.readme.markdown import bounded, bounded_parser
from tagger.readme.readme import Readme
from tagger.readme.worker import Worker, shared

SHOWN = 32 * 1024
"""Characters of a README that are shown: some ten screens, rendered in less than 0.1 s."""

MOST_HTML = 1 << 20
"""Characters of HTML: a small README can ask for any number by repeating a link."""

CPU_SECONDS = 2.0
"""What rendering one README may take."""

# fmt: off
_TAGS = {
    "a", "b", "blockquote", "br", "caption", "code", "del", "details", "div", "em", "h1", "h2",
    "h3", "h4", "h5", "h6", "hr", "i", "img", "kbd", "li", "ol", "p", "pre", "s", "small", "span",
    "strong", "sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul",
}
_SILENT = {
    "applet", "audio", "canvas", "embed", "iframe", "math", "noscript", "object", "script",
    "select", "style", "svg", "template", "textarea", "title", "video",
}
# fmt: on
"""Elements that go with all that is in them."""

_ATTRIBUTES = {
    **{name: {"align"} for name in ("div", "h1", "h2", "h3", "p")},
    "*": set(),
    "a": {"href"},
    "img": {"alt"},
    "ol": {"start"},
    "td": {"align", "colspan", "rowspan"},
    "th": {"align", "colspan", "rowspan"},
}

_cleaner = nh3.Cleaner(
    tags=_TAGS,
    clean_content_tags=_SILENT,
    attributes=_ATTRIBUTES,
    url_schemes={"http", "https"},
    url_relative="deny",
    link_rel="noopener noreferrer",
    set_tag_attribute_values={"a": {"target": "_blank"}},
)

_HEADING = re.compile(r"<(/?)h([1-6])")
_FIRST_HEADING = 3
"""The page itself has headings of two levels."""

_EMPTY = re.compile(r"<(a|h[1-6]|p|li|ul|ol|small|summary)(?: [^<>]*)?>\s*</\1>")
_EMPTY_CELL = re.compile(r"<th((?: [^<>]*)?)>\s*</th>")
_MARKUP = re.compile(r"<[^>]*>")
_IMAGE = re.compile(r'<img(?: alt="([^"]*)")?>')


def html_of(readme: Readme) -> str:
    """Return the beginning of a README as HTML, or as plain text where it cannot be rendered.

    Links lead to `http` and `https` only, and to other tabs. Images become their alternative
    texts. Headings begin at the third level and skip none.
    """
    try:
        return _worker.clean(readme.text[:SHOWN], PurePath(readme.source).suffix.lower())
    except ReadmeError:
        return f"<pre>{html.escape(readme.text[:SHOWN])}</pre>"


def render(text: str, suffix: str) -> str:
    """Return a text as safe HTML; a file name's suffix tells its markup.

    reStructuredText and AsciiDoc are shown as the words that the model reads.

    Raises:
        ValueError: there would be too much of it, or nothing.

    """
    text = text.encode("utf-8", "replace").decode()
    if markup_of(suffix) == "markdown":
        made = bounded_parser().enable("strikethrough").render(bounded(text))
    else:
        made = bounded_parser(html=False).render(bounded(clean(text, suffix)))
    if len(made) > MOST_HTML:
        raise ValueError("more HTML than can be shown")
    shown = _cleaner.clean(_accessible(_cleaner.clean(made)))
    if not _MARKUP.sub("", shown).strip():
        raise ValueError("nothing that can be shown")
    return shown


def _accessible(clean: str) -> str:
    """Put texts for images, leave out what is empty, and have headings follow each other."""
    clean = _IMAGE.sub(lambda image: f"<small>{_text(image[1] or '')}</small>", clean)
    for _ in range(3):  # a heading may hold a link that held an image
        clean = _EMPTY.sub("", clean)
    clean = _EMPTY_CELL.sub(r"<td\1></td>", clean)
    above: list[int] = []

    def level(found: re.Match[str]) -> str:
        own = int(found[2])
        if not found[1]:
            while above and above[-1] >= own:
                above.pop()
            above.append(own)
        return f"<{found[1]}h{min(6, _FIRST_HEADING - 1 + len(above))}"

    return _HEADING.sub(level, clean)


def _text(attribute: str) -> str:
    """Return the value of an attribute as the content of an element."""
    return html.escape(html.unescape(attribute), quote=False)


_worker = shared(Worker(CPU_SECONDS, render))

if __name__ == "__main__":
    serve(float(sys.argv[1]), render)
