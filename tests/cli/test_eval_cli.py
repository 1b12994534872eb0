"""`tagger eval` on a tiny model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.console import Run
from support.messages import check_line
from tagger.cli import READER_GONE
from tagger.errors import OutputError
from tagger.evaluation.scores import Scores

LABELS = [
    {"id": 1, "readme": "A game engine.", "tags": ["game-engine"], "acceptable": ["3d"]},
    {"id": "b", "readme": "A tool for the shell.", "tags": ["cli"]},
    {"id": "c", "readme": "3D models.", "tags": ["3d", "cli"]},
]


@pytest.fixture
def labels(workplace: Path) -> Path:
    path = workplace / "labels.jsonl"
    path.write_text("\n".join(map(json.dumps, LABELS)))
    return path


def test_measures_as_tables(run: Run, labels: Path) -> None:
    outcome = run("eval", labels.name, "--tags", "tags.json")
    assert outcome.code == 0, outcome.err
    for name in (
        "precision@1 lenient",
        "hit@3",
        "F1 (given)",
        "ECE",
        "Brier score",
        "95 % interval",
    ):
        assert name in outcome.out
    assert "by chance" in outcome.out


def test_measures_as_json_and_again_from_kept_scores(run: Run, labels: Path) -> None:
    args = ("eval", labels.name, "--tags", "tags.json", "--json", "--quiet")
    first = run(*args, "--dump", "scores.parquet")
    assert first.code == 0, first.err
    result = json.loads(first.out)
    assert result["readmes"] == 3
    assert result["measures"]["hit_at_3"]["value"] == 1
    assert set(result["measures"]["hit_at_3"]) == {"value", "low", "high"}
    assert set(result["measures"]["ece"]) == {"value", "by_chance"}
    again = run(*args, "--from", "scores.parquet", model="there is no such model")
    assert json.loads(again.out) == result
    given_more = run(*args, "--from", "scores.parquet", "--min-tags", "3")
    assert json.loads(given_more.out)["measures"]["tags_per_readme"]["value"] == 3


def test_written_replies_have_measures_without_confidences(run: Run, labels: Path) -> None:
    args = ("eval", labels.name, "--tags", "tags.json", "--json", "--method", "generate")
    outcome = run(*args, "--min-tags", "2", "--max-tags", "2")
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    assert result.keys() == {"readmes", "measures"}
    assert result["measures"]["tags_per_readme"]["value"] == 2
    assert not result["measures"].keys() & {"ece", "brier"}


def test_kept_scores_need_none_of_the_options_that_made_them(run: Run, labels: Path) -> None:
    args = ("eval", labels.name, "--tags", "tags.json", "--json", "--quiet")
    first = run(*args, "--dump", "scores.parquet")
    others = ("--prompt", "nowhere.toml", "--model", "none", "--readme-tokens", "9")
    again = run(*args, "--from", "scores.parquet", *others)
    assert again.code == 0, again.err
    assert json.loads(again.out) == json.loads(first.out)


@pytest.mark.slow
def test_a_reader_that_leaves_before_the_table_ends_it_in_silence(run: Run, labels: Path) -> None:
    args = ["eval", labels.name, "--tags", "tags.json", "--quiet"]
    assert run(*args, "--dump", "scores.parquet").code == 0
    command = [str(Path(sys.executable).with_name("tagger")), *args, "--from", "scores.parquet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == READER_GONE


def test_results_are_shown_though_the_scores_cannot_be_kept(
    run: Run, labels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OutputError("cannot write scores.parquet: No space left on device")

    monkeypatch.setattr(Scores, "save", fail)
    outcome = run("eval", labels.name, "--tags", "tags.json", "--json", "--dump", "scores.parquet")
    assert outcome.code == OutputError.exit_code
    assert json.loads(outcome.out)["readmes"] == 3
    assert "No space left" in outcome.err


@pytest.mark.parametrize(
    "args",
    [
        ("nowhere.jsonl",),
        ("tags.json",),
        ("labels.jsonl", "--dump", "x", "--from", "y"),
        ("labels.jsonl", "--from", "nowhere.parquet"),
        ("labels.jsonl", "--from", "labels.jsonl"),
        ("labels.jsonl", "--dump", "labels.jsonl"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_line_and_a_code(run: Run, labels: Path, args: tuple[str, ...]) -> None:
    assert labels.is_file()
    outcome = run("eval", *args, "--tags", "tags.json", model="none is needed")
    assert (outcome.code, outcome.out) == (2, "")
    check_line(outcome.err)
