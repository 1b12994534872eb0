"""The folder of parts: what is kept, what is refused, and when the manifest is there."""

import json
from pathlib import Path

import pyarrow.parquet
import pytest

from support.messages import refused
from tagger.batch.pipeline import Row
from tagger.errors import OutputError, UsageError
from tagger.ray.blocks import KeyedRow
from tagger.ray.parts import MANIFEST, UNFINISHED, Parts
from tagger.tagging import Failure, GivenTag, Tagging
from tagger.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_names(["game", "cli"])
MADE_WITH: dict[str, object] = {"model": "a", "list of tags": [1, 2]}


def key(number: int) -> bytes:
    return bytes([number]) * 32


def row(number: int, *, fails: bool = False) -> KeyedRow:
    if fails:
        return KeyedRow(Row(Failure(id=str(number), type="ReadmeError", message="no")), key(number))
    tag = VOCABULARY.tags[number % 2]
    given = GivenTag(id=tag.id, name=tag.name, confidence=0.5)
    return KeyedRow(Row(Tagging(id=str(number), tags=(given,))), key(number))


def opened(
    folder: Path, made_with: dict[str, object] = MADE_WITH, *, restart: bool = False
) -> Parts:
    parts = Parts(folder, VOCABULARY, "objects", scores=True, restart=restart)
    try:
        parts.begin(made_with)
    except UsageError:
        parts.close()
        raise
    return parts


def found(parts: Parts) -> dict[str, bytes]:
    return {id_: key for _, rows in parts.rows() for id_, key in rows}


def test_rows_are_there_when_the_folder_is_opened_again(tmp_path: Path) -> None:
    with opened(tmp_path / "o.parquet") as parts:
        parts.write([row(1), row(2)])
        parts.write([row(3, fails=True)])
    with opened(tmp_path / "o.parquet") as parts:
        assert found(parts) == {"1": key(1), "2": key(2), "3": b""}, (
            "a failure is to be tried again"
        )


def test_a_part_has_the_columns_of_a_batch(tmp_path: Path) -> None:
    with opened(tmp_path / "o.parquet") as parts:
        parts.write([row(1)])
    (path,) = (tmp_path / "o.parquet").glob("part-*.parquet")
    assert pyarrow.parquet.ParquetFile(path).read().to_pylist() == [
        {
            "id": "1",
            "tags": [{"id": "cli", "name": "cli", "confidence": 0.5}],
            "error": None,
            "suspicious": False,
            "source": None,
        }
    ]


def test_the_same_rows_make_the_same_part(tmp_path: Path) -> None:
    with opened(tmp_path / "o.parquet") as parts:
        parts.write([row(1)])
        parts.write([row(1)])
        assert len(list(parts.rows())) == 1


def test_only_wanted_rows_of_a_part_are_kept(tmp_path: Path) -> None:
    with opened(tmp_path / "o.parquet") as parts:
        parts.write([row(1), row(2)])
        parts.write([row(3)])
        for path, rows in list(parts.rows()):
            parts.keep(path, [id_ == "2" for id_, _ in rows])
        assert found(parts) == {"2": key(2)}


def test_the_manifest_is_there_only_while_all_rows_are(tmp_path: Path) -> None:
    folder = tmp_path / "o.parquet"
    with opened(folder) as parts:
        parts.write([row(1)])
        assert (folder / UNFINISHED).exists()
        assert not (folder / MANIFEST).exists()
        parts.finish(MADE_WITH)
        said = json.loads((folder / MANIFEST).read_text())
        assert (said["rows"], said["failed"], len(said["parts"])) == (1, 0, 1)
        assert not (folder / UNFINISHED).exists()
        parts.write([row(2)])
        assert not (folder / MANIFEST).exists()


@pytest.mark.parametrize("finished", [True, False])
def test_parts_of_something_else_are_refused(tmp_path: Path, finished: bool) -> None:
    folder = tmp_path / "o.parquet"
    with opened(folder) as parts:
        parts.write([row(1)])
        if finished:
            parts.finish(MADE_WITH)
    with refused(UsageError):
        opened(folder, {**MADE_WITH, "model": "b"})
    with opened(folder, {**MADE_WITH, "model": "b"}, restart=True) as parts:
        assert found(parts) == {}


def test_what_a_killed_batch_was_writing_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "o.parquet"
    opened(folder).close()
    (folder / ".tagger-0.part").write_bytes(b"PAR1")
    opened(folder).close()
    assert not (folder / ".tagger-0.part").exists()


def test_a_damaged_part_is_refused_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "o.parquet"
    with opened(folder) as parts:
        (folder / "part-x.parquet").write_bytes(b"PAR1 and nothing else")
        with refused(UsageError):
            list(parts.rows())


def test_a_part_that_came_from_elsewhere_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "a.parquet", {"model": "b"}) as others:
        others.write([row(1)])
    (path,) = (tmp_path / "a.parquet").glob("part-*.parquet")
    with opened(tmp_path / "o.parquet") as parts:
        (tmp_path / "o.parquet" / path.name).write_bytes(path.read_bytes())
        with refused(UsageError):
            list(parts.rows())


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", '{"made_with": 1}'])
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "o.parquet"
    opened(folder).close()
    (folder / UNFINISHED).write_text(text)
    with refused(UsageError):
        opened(folder)


def test_a_folder_that_no_batch_has_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "o.parquet").mkdir()
    (tmp_path / "o.parquet" / "mine.txt").touch()
    with refused(UsageError):
        opened(tmp_path / "o.parquet", restart=True)
    assert (tmp_path / "o.parquet" / "mine.txt").exists()


def test_a_file_and_a_link_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file.parquet").touch()
    with refused(UsageError):
        opened(tmp_path / "file.parquet")
    (tmp_path / "there").mkdir()
    (tmp_path / "link.parquet").symlink_to(tmp_path / "there")
    with refused(UsageError):
        opened(tmp_path / "link.parquet")


def test_a_lock_that_is_a_link_is_not_taken(tmp_path: Path) -> None:
    opened(tmp_path / "o.parquet").close()
    (tmp_path / "precious").write_text("text")
    (tmp_path / "o.parquet" / "_lock").unlink(missing_ok=True)
    (tmp_path / "o.parquet" / "_lock").symlink_to(tmp_path / "precious")
    with refused(UsageError):
        opened(tmp_path / "o.parquet")
    assert (tmp_path / "precious").read_text() == "text"


def test_a_folder_for_it_must_be_there(tmp_path: Path) -> None:
    with refused(OutputError):
        opened(tmp_path / "no" / "o.parquet")


def test_two_batches_cannot_have_it_at_once(tmp_path: Path) -> None:
    with opened(tmp_path / "o.parquet"), refused(UsageError):
        opened(tmp_path / "o.parquet")
