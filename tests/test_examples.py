"""The commands of examples/batch.md, run as they stand there, on a tiny model."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from support import ROOT
from tagger import Vocabulary
from tagger.evaluation.labels import load_labels

pytestmark = pytest.mark.slow

TEXT = (ROOT / "examples" / "batch.md").read_text()
COMMANDS = re.findall(r"^```sh\n(.*?)\n```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> dict[str, str]:
    """What each command prints, in a copy of the folder; all are run in order."""
    work = tmp_path_factory.mktemp("examples")
    shutil.copytree(ROOT / "examples", work / "examples")
    shutil.copy(ROOT / "tags.json", work)
    (work / "examples" / "readmes" / "void.md").touch()
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TAGGER_MODEL": str(tiny_folder),
        "TAGGER_HOME": str(work / "cache"),
    }
    outputs = {"folder": str(work / "examples")}
    for command in COMMANDS:
        # A random model gives any tags: ask for one of them where the text asks for `game`.
        asked = command.replace("game", _common(work / "examples" / "out.jsonl"))
        done = subprocess.run(
            ["bash", "-c", asked],
            cwd=work / "examples",
            env=environment,
            capture_output=True,
            text=True,
        )
        failed_row = command.startswith("tagger")
        assert done.returncode == (1 if failed_row else 0), (command, done.stderr)
        outputs[command] = done.stdout
    return outputs


def _common(path: Path) -> str:
    """The tag that is given most often so far."""
    if not path.exists():
        return "game"
    given: list[str] = re.findall(r'"name":"([^"]+)"', path.read_text())
    return Counter(given).most_common(1)[0][0]


def output(printed: dict[str, str], *words: str) -> str:
    """The output of the one command that holds these words."""
    (command,) = [command for command in COMMANDS if all(word in command for word in words)]
    return printed[command]


def replies(printed: dict[str, str], name: str) -> list[Any]:
    text = (Path(printed["folder"]) / name).read_text()
    return [json.loads(line) for line in text.splitlines()]


def table(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


@pytest.mark.slow
def test_the_three_ways_give_the_same_rows(printed: dict[str, str]) -> None:
    folder = replies(printed, "out.jsonl")
    assert len(folder) == 16
    dump = replies(printed, "ids.jsonl")
    rows = replies(printed, "table.parquet.jsonl")
    for one, two, three in zip(folder, dump, rows, strict=True):
        assert one["id"] == two["id"] == three["id"]
        given = one.get("tags", [])
        assert [tag["id"] for tag in given] == two.get("tags", [])
        assert [tag["name"] for tag in given] == [tag["name"] for tag in three.get("tags", [])]


def test_counts_per_tag(printed: dict[str, str]) -> None:
    rows = replies(printed, "out.jsonl")
    counts = Counter(tag["name"] for row in rows for tag in row.get("tags", []))
    by_jq = [line.split(maxsplit=1) for line in output(printed, "uniq -c").splitlines()]
    assert {name: int(count) for count, name in by_jq} == counts
    (head, *by_duckdb) = table(output(printed, "count(*)"))
    assert head == ["name", "readmes"]
    assert {name: int(count) for name, count in by_duckdb} == counts


def test_readmes_of_a_tag(printed: dict[str, str]) -> None:
    name = _common(Path(printed["folder"]) / "out.jsonl")
    expected = [
        row["id"]
        for row in replies(printed, "out.jsonl")
        if any(tag["name"] == name for tag in row.get("tags", []))
    ]
    assert expected
    assert output(printed, "any(.tags").split() == expected
    assert output(printed, "list_contains").split() == expected


def test_failures(printed: dict[str, str]) -> None:
    said = output(printed, "select(.error)")
    assert said == "void\treadmes/void.md: is empty; there is nothing to tag\n"


def test_names_joined_to_ids(printed: dict[str, str]) -> None:
    expected = sorted(
        [row["id"], tag["name"]]
        for row in replies(printed, "out.jsonl")
        for tag in row.get("tags", [])
    )
    by_jq = [line.split("\t") for line in output(printed, "INDEX").splitlines()]
    assert sorted(by_jq) == expected
    assert sorted(table(output(printed, "JOIN"))) == expected


def test_the_least_sure_tags(printed: dict[str, str]) -> None:
    rows = replies(printed, "table.parquet.jsonl")
    lowest = min(tag["confidence"] for row in rows for tag in row.get("tags", []))
    head, first, *rest = table(output(printed, "LIMIT 5"))
    assert head == ["id", "name", "confidence"]
    assert float(first[2]) == pytest.approx(lowest, abs=0.005)
    assert len(rest) == 4


@pytest.mark.parametrize(("name", "tags"), [("garden", 30), ("topics", 300)])
def test_other_vocabularies_come_with_thirty_labelled_texts(name: str, tags: int) -> None:
    vocabulary = Vocabulary.load(ROOT / "examples" / name / "tags.json")
    assert len(vocabulary) >= tags
    labels = load_labels(ROOT / "examples" / name / "labels.jsonl", vocabulary)
    assert len(labels) == 30
    assert all(label.tags for label in labels)
