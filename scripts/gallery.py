r"""Draw the docs' pictures: the report of an evaluation, `tagger explain` and `tagger review`.

    tagger eval labels.jsonl --tags tags.json --report report.html
    python scripts/gallery.py report.html

    tagger batch examples/readmes --glob '*.md' --tags examples/tags-described.json \
      --model qwen2.5-coder-0.5b --scores -o out.jsonl
    tagger review out.jsonl --tags examples/tags-described.json --model qwen2.5-coder-0.5b
    python scripts/gallery.py --review ADDRESS

Needs Debian's chromium.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs"
COLUMNS = 96
EXPLAIN = ["explain", "examples/readmes/tumblewick.md", "--tags", "tags.json", "--top", "8"]


def terminal(command: list[str]) -> str:
    """Return what a command shows in a terminal, as a picture in SVG."""
    said = subprocess.run(
        [str(Path(sys.executable).with_name("tagger")), *command, "--quiet"],
        cwd=ROOT,
        env=os.environ | {"FORCE_COLOR": "1", "COLUMNS": str(COLUMNS)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    console.print(Text.from_ansi(said))
    return console.export_svg(title=" ".join(["tagger", *command]))


def shown(browser: Browser, page: Path) -> Page:
    """Return a browser's view of a page."""
    viewport = ViewportSize(width=980, height=1260)
    tab = browser.new_context(viewport=viewport, device_scale_factor=1.5).new_page()
    tab.goto(page.resolve().as_uri())
    return tab


def draw_review(browser: Browser, address: str) -> None:
    """Draw the page of a review that is being served, once it has the next best tags."""
    viewport = ViewportSize(width=1200, height=700)
    tab = browser.new_context(viewport=viewport, device_scale_factor=1.25).new_page()
    tab.goto(address)
    tab.locator("#next .chip").first.wait_for(timeout=60_000)
    tab.screenshot(path=FOLDER / "review.png")


def draw_report(browser: Browser, report: Path) -> None:
    """Draw the report of an evaluation, and what `tagger explain` shows."""
    shown(browser, report).screenshot(path=FOLDER / "report.png")
    with tempfile.TemporaryDirectory() as scratch:
        page = Path(scratch, "explain.html")
        page.write_text(f"<!doctype html>{terminal(EXPLAIN)}", encoding="utf-8")
        shown(browser, page).locator("svg").screenshot(path=FOLDER / "explain.png")


def main() -> None:
    """Draw what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("report", type=Path, nargs="?")
    parser.add_argument("--review", metavar="ADDRESS", help="what `tagger review` has printed")
    options = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        if options.report:
            draw_report(browser, options.report)
        if options.review:
            draw_review(browser, options.review)
        browser.close()


if __name__ == "__main__":
    main()
