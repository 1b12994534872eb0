"""`tagger review`, and `tagger learn` and `tagger batch` after it, on a tiny model."""

import json
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.console import TAGS, Outcome, Run, one_line
from support.messages import check_line
from tagger.review import server
from tagger.review.review import Review
from tagger.vocabulary import Vocabulary

pytestmark = pytest.mark.slow

VOCABULARY = Vocabulary.from_json(TAGS)
WORDS = ("alpha beta", "omega psi", "xyz")
COUNT = 44
TAGS_OF = ("77", "81", "4")


@pytest.fixture
def output(run: Run, workplace: Path) -> Path:
    path = workplace / "dump.jsonl"
    texts = [{"id": n, "readme": f"{WORDS[n % 3]} {n} {WORDS[n % 3]}"} for n in range(COUNT)]
    path.write_text("".join(json.dumps(row) + "\n" for row in texts))
    assert run(*BATCH).code == 0
    return workplace / "out.jsonl"


BATCH = ("batch", "dump.jsonl", "--tags", "tags.json", "-o", "out.jsonl", "--scores", "--quiet")
REVIEW = ("review", "out.jsonl", "--tags", "tags.json")


def decide(output: Path, count: int) -> None:
    with Review(output, VOCABULARY) as review:
        for n in range(count):
            review.decide(str(n), [TAGS_OF[n % 3]], 0)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the page was asked to do, in place of it."""
    found: dict[str, Any] = {"opened": []}

    class Server:
        preparing = False

        def __init__(self, review: Review, at: socket.socket) -> None:
            found.update(name=review.name, port=at.getsockname()[1])

        def serve(self, ready: Callable[[str, str], None]) -> None:
            ready("http://127.0.0.1:1/?token=x", "http://127.0.0.1:1/?once=y")

    monkeypatch.setattr(server, "Server", Server)
    monkeypatch.setattr("webbrowser.open", found["opened"].append)
    return found


def test_the_page_is_served_and_opened(run: Run, output: Path, served: dict[str, Any]) -> None:
    outcome = run(*REVIEW)
    assert outcome.code == 0, outcome.err
    assert outcome.out == ""
    assert "tagger: the review is at http://127.0.0.1:1/?token=x until Ctrl-C" in outcome.err
    assert served["opened"] == ["http://127.0.0.1:1/?once=y"]
    assert served["name"] == "out.jsonl"


def test_without_a_browser_only_the_address_is_said(
    run: Run, output: Path, served: dict[str, Any]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    outcome = run(*REVIEW, "--no-browser", "--port", str(port), "--quiet")
    assert "http://127.0.0.1:1/?token=x" in outcome.err
    assert (served["opened"], served["port"]) == ([], port)


def test_ctrl_c_ends_the_page_in_order(
    run: Run, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(_: str) -> None:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

    monkeypatch.setattr("webbrowser.open", opened)
    outcome = run(*REVIEW)
    assert (outcome.code, outcome.out) == (0, "")
    assert "the review ends" in outcome.err
    assert "interrupted" not in outcome.err


def test_a_port_in_use_is_refused(run: Run, output: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        outcome = run(*REVIEW, "--no-browser", "--quiet", "--port", str(taken.getsockname()[1]))
    assert outcome.code == 2
    assert "cannot be used (Address already in use)" in one_line(outcome.err)


def test_what_was_decided_is_written_as_labels_and_can_be_measured(run: Run, output: Path) -> None:
    decide(output, 5)
    outcome = run(*REVIEW, "--export", "labels.jsonl")
    assert outcome.code == 0, outcome.err
    assert "labels.jsonl: 5 label rows" in outcome.err
    assert run("labels", "check", "labels.jsonl", "--tags", "tags.json").code == 0


def test_learn_takes_a_review_and_the_review_has_new_suggestions(run: Run, output: Path) -> None:
    decide(output, 36)
    outcome = run("learn", "out.jsonl.review", "--tags", "tags.json")
    assert outcome.code == 0, outcome.err
    assert "precision@1" in outcome.out
    assert "head.safetensors: learned from 36 READMEs, 0 of them read now" in outcome.err
    assert "READMEs with new suggestions in the review: 8" in outcome.err
    with Review(output, VOCABULARY) as review:
        firsts = [review.item(str(n)).suggestions[0].tag.id for n in range(36, COUNT)]
    assert sum(str(tag) == TAGS_OF[n % 3] for n, tag in enumerate(firsts)) >= 6
    again = run(*BATCH, "--head", "head.safetensors")
    assert again.code == 0, again.err
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row.get("source") for row in rows] == 36 * ["human"] + 8 * [None]


@pytest.mark.parametrize(
    "args",
    [
        (*REVIEW, "--export", "labels.jsonl"),
        ("learn", "out.jsonl.review", "--tags", "tags.json"),
    ],
    ids=["export", "learn"],
)
def test_an_output_that_was_not_reviewed_is_refused(
    run: Run, output: Path, args: tuple[str, ...]
) -> None:
    outcome = run(*args)
    assert outcome.code == 2
    check_line(outcome.err)
    assert not output.with_name("out.jsonl.review").exists()


@pytest.mark.parametrize(
    "args",
    [
        ("review", "nothing.jsonl", "--tags", "tags.json"),
        ("review", "README.md", "--tags", "tags.json"),
        (*REVIEW, "--export", "labels.jsonl", "--no-browser"),
        (*REVIEW, "--readmes", "nowhere"),
        ("learn", "out.jsonl.review", "labels.jsonl", "--tags", "tags.json"),
        ("learn", "out.jsonl.review", "--incomplete", "--tags", "tags.json"),
    ],
    ids=["no output", "no rows", "export and page", "no source", "two", "incomplete"],
)
def test_wrong_use_is_one_line(run: Run, workplace: Path, args: tuple[str, ...]) -> None:
    (workplace / "out.jsonl").write_text('{"id": "a", "tags": []}\n')
    outcome = run(*args)
    assert outcome.code == 2
    check_line(outcome.err)


def test_a_batch_waits_for_the_end_of_a_review(run: Run, output: Path) -> None:
    with Review(output, VOCABULARY):
        outcome: Outcome = run(*BATCH)
    assert outcome.code == 2
    check_line(outcome.err)
