"""The page of `tagger eval --report`, as text and in a browser."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.console import Run
from support.messages import refused
from tagger.errors import OutputError, UsageError
from tagger.evaluation import report
from tagger.evaluation.evaluate import Evaluation
from tagger.evaluation.labels import Label
from tagger.evaluation.measures import Judged, judge, judge_written, select
from tagger.selection import Selection
from tagger.vocabulary import Vocabulary

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium")
EVIL = '<script>alert("x")</script><img src="http://example.com/a.png">\x1b[31m\u202e</pre>'
VOCABULARY = Vocabulary.from_names(["ai", "cli", EVIL[:40], "game", "lib"])
LABELS = [
    Label(id=f"{EVIL}{number}", readme="words", tags=(("ai", "cli", "game")[number % 3],))
    for number in range(30)
]
READ = [f"What {EVIL} says, {number}" for number in range(30)]


def page_of(judged: Judged, threshold: float | None) -> str:
    evaluation = Evaluation(LABELS, VOCABULARY, Selection(), judged, READ, threshold)
    return report.render(evaluation, EVIL)


def page() -> str:
    confidences = np.random.default_rng(0).random((30, 5))
    given = select(confidences, Selection(), 0.6)
    return page_of(judge(LABELS, VOCABULARY, confidences, given), 0.6)


def test_all_parts_are_there() -> None:
    text = page()
    for part in ("hit@3", "95 % interval", "confused with", "The worst misses", "the chosen one"):
        assert part in text
    assert text.count("<svg ") == 2
    assert text.count("<details>") == report.MISSES


def test_nothing_of_a_readme_or_a_tag_is_markup() -> None:
    text = page()
    assert text.count("<script>") == 1
    assert text.count("</pre>") == report.MISSES
    assert "<img" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "&lt;img" in text


def test_the_same_evaluation_gives_the_same_bytes() -> None:
    assert page() == page()


def test_one_readme_makes_a_page_without_intervals(run: Run, workplace: Path) -> None:
    (workplace / "one.jsonl").write_text(json.dumps({"id": "a", "readme": "A b.", "tags": ["cli"]}))
    outcome = run("eval", "one.jsonl", "--tags", "tags.json", "--report", "r.html")
    assert outcome.code == 0, outcome.err
    assert "<td>F1 (given)</td>" in (workplace / "r.html").read_text()


def test_a_written_reply_has_no_plots_and_no_confidences() -> None:
    text = page_of(judge_written(LABELS, VOCABULARY, [["cli"]] * 30), None)
    assert "<svg " not in text
    assert "✗ cli</span>" in text


def test_an_evaluation_without_a_miss_says_so() -> None:
    right = np.array([[tag.label in label.tags for tag in VOCABULARY] for label in LABELS])
    text = page_of(judge(LABELS, VOCABULARY, right.astype(float), right), 0.5)
    assert "None: every README" in text


def test_another_file_is_not_overwritten(tmp_path: Path) -> None:
    mine = tmp_path / "mine.html"
    mine.write_text("<p>mine")
    with refused(UsageError):
        report.check_target(mine)
    with refused(OutputError):
        report.check_target(tmp_path)
    for endless in ("/dev/zero", "-"):
        with refused(UsageError):
            report.check_target(Path(endless))
    (tmp_path / "empty.html").touch()
    report.check_target(tmp_path / "empty.html")
    report.save(tmp_path / "r.html", page())
    report.check_target(tmp_path / "r.html")
    report.check_target(tmp_path / "new.html")


def test_eval_writes_a_page_that_others_may_read(run: Run, workplace: Path) -> None:
    # The same words with each of the tags: whatever is given first is wrong for some of them.
    rows = [
        {"id": tag, "readme": "A b." + "\n" * number, "tags": [tag]}
        for number, tag in enumerate(("cli", "3d", "game-engine"))
    ]
    (workplace / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)))
    args = ("eval", "labels.jsonl", "--tags", "tags.json", "--report", "r.html")
    first = run(*args, "--dump", "s.parquet")
    assert first.code == 0, first.err
    assert "the report is in r.html" in first.err
    written = (workplace / "r.html").read_text()
    assert "<pre>A " in written
    assert (workplace / "r.html").stat().st_mode & 0o044
    again = run(*args, "--from", "s.parquet", model="there is no such model")
    assert again.code == 0, again.err
    assert (workplace / "r.html").read_text() == written
    generated = run(*args, "--method", "generate")
    assert generated.code == 0, generated.err
    refused = run(*args[:-1], "labels.jsonl")
    assert refused.code == 2
    assert "so it is not overwritten" in refused.err


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs chromium, which is not on this machine")
    from playwright.sync_api import sync_playwright

    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield opened
        opened.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1100, 375])
def test_a_browser_shows_it_without_complaint_and_without_the_network(
    browser: Any, tmp_path: Path, scheme: str, width: int
) -> None:
    path = tmp_path / "report.html"
    report.save(path, page())
    messages: list[str] = []
    urls: list[str] = []
    viewport = {"width": width, "height": 800}
    tab = browser.new_context(color_scheme=scheme, viewport=viewport).new_page()
    tab.on("console", lambda message: messages.append(message.text))
    tab.on("pageerror", lambda error: messages.append(str(error)))
    tab.on("request", lambda request: urls.append(request.url))
    tab.goto(path.as_uri())
    assert messages == []
    assert [url for url in urls if not url.startswith("data:")] == [path.as_uri()]

    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
    ink, paper = tab.evaluate(
        "['color', 'backgroundColor'].map((key) => getComputedStyle(document.body)[key])"
    )
    assert contrast(ink, paper) > 7
    line = tab.evaluate("getComputedStyle([...document.querySelectorAll('svg text')].at(-1)).fill")
    assert contrast(line, paper) > 3, "the plots follow the page's colours"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_heading_sorts_the_tags(browser: Any, tmp_path: Path) -> None:
    report.save(tmp_path / "report.html", page())
    tab = browser.new_page()
    tab.goto((tmp_path / "report.html").as_uri())

    def column(number: int) -> list[str]:
        cells = tab.locator(f"#tags tbody td:nth-child({number})")
        return [str(text) for text in cells.all_text_contents()]

    tab.get_by_role("button", name="recall").click()
    shares = [float(text) for text in column(5) if text != "–"]
    assert shares == sorted(shares, reverse=True)
    tab.get_by_role("button", name="recall").click()
    shares = [float(text) for text in column(5) if text != "–"]
    assert shares == sorted(shares)
    tab.get_by_role("button", name="tag", exact=True).click()
    assert [name for name in column(1) if name.isalpha()] == ["ai", "cli", "game", "lib"]


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2 between two colours as a browser writes them."""

    def luminance(colour: str) -> float:
        channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)
