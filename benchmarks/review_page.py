"""How fast the page of `tagger review` is in a browser, with many rows.

    python benchmarks/review_page.py

It writes an output of that many rows, whose READMEs are those of examples/readmes over and over,
and opens its page in a headless Chromium. It prints how long opening takes, the first time and
again; how long until the first README of the page can be decided; and, for each way of working, how
long from the press of a key until the next README is painted, median and slowest. It fails where
one of the last takes more than --most milliseconds in the median. Needs Debian's chromium.
"""

import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from common import ROOT, SAMPLE, count, parser, reported
from tagger.readme.sources import Sources
from tagger.review.review import Review

sys.path.insert(0, str(ROOT / "tests"))
from support.reviews import serving

WORK = {
    "accept, most uncertain first": ("order=uncertain", "Enter"),
    "accept, most confident first": ("order=confident", "Enter"),
    "no tag fits, random": ("order=random", "0"),
    "accept, one tag": (f"order=uncertain&tag={next(iter(SAMPLE)).id}", "Enter"),
    "next, all states": ("order=uncertain&state=all", "ArrowRight"),
}
"""Ways of working: the page's address, and the key."""

WATCH = """() => {
  window.steps = [];
  document.addEventListener("keydown", () => {
    const start = performance.now();
    const title = document.getElementById("title").textContent;
    const watch = () => {
      if (document.getElementById("title").textContent === title) requestAnimationFrame(watch);
      else requestAnimationFrame(() => setTimeout(() => steps.push(performance.now() - start)));
    };
    requestAnimationFrame(watch);
  }, true);
}"""
"""Notes how long it takes from a key to the frame that shows another README."""


def write(folder: Path, rows: int) -> tuple[Path, Sources]:
    """Write an output of a batch and its READMEs; return both."""
    texts = [path.read_text() for path in sorted((ROOT / "examples/readmes").glob("*.md"))]
    chosen, tags = random.Random(0), list(SAMPLE)
    output, sources = folder / "out.jsonl", folder / "readmes.jsonl"
    with output.open("w") as lines, sources.open("w") as readmes:
        for number in range(rows):
            id_ = f"readme-{number}"
            text = f"{texts[number % len(texts)]}\n\n{id_}\n"
            readmes.write(json.dumps({"id": id_, "readme": text}) + "\n")
            given = [
                {"id": tag.id, "name": tag.name, "confidence": round(chosen.random(), 4)}
                for tag in chosen.sample(tags, 3)
            ]
            lines.write(json.dumps({"id": id_, "tags": given}) + "\n")
    return output, Sources((str(sources),))


def seconds(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def steps(tab: Page, address: str, key: str, number: int) -> list[float]:
    """Return how many milliseconds each of a number of steps takes."""
    tab.goto(address)
    tab.wait_for_selector(".chip")
    tab.wait_for_timeout(500)
    tab.evaluate(WATCH)
    for done in range(1, number + 1):
        tab.keyboard.press(key)
        tab.wait_for_function("done => steps.length === done", arg=done)
        tab.wait_for_timeout(300)  # a person who reads; the next README is fetched meanwhile
    return [float(step) for step in tab.evaluate("steps")]


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--rows", type=count, default=100_000, help="READMEs of the output")
    options.add_argument("--steps", type=count, default=30, help="keys pressed in each way")
    options.add_argument("--most", type=float, default=150, help="milliseconds that a key may take")
    chosen = options.parse_args()

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        output, sources = write(Path(folder), chosen.rows)
        print(f"{chosen.rows:,} rows, {output.stat().st_size / 1e6:.0f} MB")
        opening = seconds(lambda: Review(output, SAMPLE, sources=sources).close())
        print(f"opening, the first time: {opening:.1f} s")
        start = time.perf_counter()
        with Review(output, SAMPLE, sources=sources) as review:
            print(f"opening again: {time.perf_counter() - start:.2f} s")
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
            )
            with serving(review) as address:
                tab = browser.new_page()
                ready = seconds(lambda: (tab.goto(address), tab.wait_for_selector(".chip")))
                print(f"page ready: {ready:.2f} s\n")
                print("| key to next README, ms | median | slowest |\n|---|---|---|")
                slow = []
                for name, (place, key) in WORK.items():
                    tab.goto("about:blank")
                    page = f"{address.partition('?')[0]}#{place}"
                    times = steps(tab, page, key, chosen.steps)
                    median = statistics.median(times)
                    print(f"| {name} | {median:.0f} | {max(times):.0f} |")
                    if median > chosen.most:
                        slow.append(name)
            browser.close()
    if slow:
        sys.exit(f"too slow: {', '.join(slow)}")


if __name__ == "__main__":
    reported(main)
