"""`tagger eval` on a tiny model."""

import json
from pathlib import Path

import pytest

from console import Run, one_line

LABELS = [
    {"id": "a", "readme": "A game engine.", "tags": ["game-engine"], "acceptable": ["3d"]},
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
    for name in ("first acceptable", "hit@3", "F1 (given)", "ECE", "Brier", "95 % interval"):
        assert name in outcome.out
    assert "by chance" in outcome.out


def test_measures_as_json_and_again_from_kept_scores(run: Run, labels: Path) -> None:
    args = ("eval", labels.name, "--tags", "tags.json", "--json", "--quiet")
    first = run(*args, "--dump", "scores.parquet")
    assert first.code == 0, first.err
    found = json.loads(first.out)
    assert found["readmes"] == 3
    assert found["measures"]["hit@3"]["value"] == 1
    assert set(found["measures"]["ECE"]) == {"value", "low", "high"}
    again = run(*args, "--from", "scores.parquet", model="there is no such model")
    assert json.loads(again.out) == found
    given_more = run(*args, "--from", "scores.parquet", "--min-tags", "3")
    assert json.loads(given_more.out)["measures"]["tags a README"]["value"] == 3


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("nowhere.jsonl",), "no such label file"),
        (("tags.json",), "row 1: "),
        (("labels.jsonl", "--dump", "x", "--from", "y"), "--from runs none"),
        (("labels.jsonl", "--from", "nowhere.parquet"), "cannot be read"),
        (("labels.jsonl", "--from", "labels.jsonl"), "cannot be read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_line_and_a_code(
    run: Run, labels: Path, args: tuple[str, ...], says: str
) -> None:
    assert labels.is_file()
    outcome = run("eval", *args, "--tags", "tags.json", model="none is needed")
    assert (outcome.code, outcome.out) == (2, "")
    assert says in one_line(outcome.err)
