"""A hook of MkDocs: pages that lie outside docs/, and links to what the site does not have."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]

_PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "examples/batch.md")
"""Also pages of the site, under the same paths."""

_LINK = re.compile(r"(?<!!)\[([^]]+)\]\((?![a-z]+:|#)([^)#]+)(#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside docs/."""
    for path in _PAGES:
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **_: object) -> str:
    """Make links hold in the site; of those that lead out of it only the text is left."""
    source = page.file.src_uri
    home = ROOT if source in _PAGES else ROOT / "docs"
    folder = (home / source).parent

    def linked(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        path = (folder / target).resolve()
        if not path.is_relative_to(ROOT) or not path.exists():
            return match[0]  # MkDocs says that it is broken
        shown = path.relative_to(ROOT).as_posix().removeprefix("docs/")
        if files.get_file_from_path(shown) is None:
            return text
        up = "../" * source.count("/")
        return f"[{text}]({up}{shown}{anchor})"

    return _LINK.sub(linked, markdown)
