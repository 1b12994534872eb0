"""Dumps by their addresses, of which a test can reach only those of files."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from support.messages import refused
from tagger.errors import InputError
from tagger.readme import remote
from tagger.readme.sources import Sources


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two dumps, and a file that is none."""
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": 1, "readme": "A game."}) + "\nno JSON\n")
    (tmp_path / "in").mkdir()
    table = pyarrow.table({"id": ["x"], "readme": ["A parser."]})
    pyarrow.parquet.write_table(table, tmp_path / "in" / "b.parquet")
    (tmp_path / "notes.txt").touch()
    return tmp_path


def test_a_folder_is_the_dumps_in_it(folder: Path) -> None:
    found = [f"file://{folder}/a.jsonl", f"file://{folder}/in/b.parquet"]
    assert remote.dumps(f"file://{folder}") == found
    assert remote.dumps(found[0]) == found[:1]


def test_its_rows_are_those_of_files(folder: Path) -> None:
    found = Sources(tuple(remote.dumps(f"file://{folder}")), addresses=True)
    local = Sources((str(folder / "a.jsonl"), str(folder / "in" / "b.parquet")))
    assert found.rereadable
    assert [item.id.removeprefix("file://") for item in found] == [item.id for item in local]
    assert [item.read().text for item in found if item.sound] == ["A game.", "A parser."]


def test_an_address_is_a_file_name_where_none_is_expected(folder: Path) -> None:
    with refused(InputError):
        Sources((f"file://{folder}/a.jsonl",))


@pytest.mark.parametrize("name", ["none", "notes.txt"])
def test_where_no_dump_is(folder: Path, name: str) -> None:
    with refused(InputError):
        remote.dumps(f"file://{folder}/{name}")
