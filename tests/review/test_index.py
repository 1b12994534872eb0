"""What a review takes from outputs and READMEs of all kinds, and what it refuses."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from support.messages import refused
from support.reviews import VOCABULARY, opened
from tagger.errors import InputError, UsageError
from tagger.readme.sources import Sources
from tagger.review.review import Review

CLI = {"id": 1, "name": "cli"}


def output(folder: Path, *rows: Any) -> Path:
    path = folder / "out.jsonl"
    path.write_text(
        "".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows)
    )
    return path


def suggested(review: Review, id_: str) -> list[tuple[str, float | None]]:
    return [(each.tag.label, each.confidence) for each in review.item(id_).suggestions]


@pytest.mark.parametrize(
    "tags",
    [
        [CLI, {"id": "db", "name": "database"}],
        [1, "db"],
        ["cli", "database"],
        [{"id": 1, "confidence": None}, {"id": "db", "confidence": None}],
        [{"name": "cli", "confidence": None}, {"name": "database", "confidence": None}],
    ],
    ids=["objects", "ids", "names", "ids with scores", "names with scores"],
)
def test_tags_in_any_form_without_confidences(tmp_path: Path, tags: Sequence[Any]) -> None:
    path = output(tmp_path, {"id": "a", "tags": tags}, {"id": "b", "tags": []})
    with Review(path, VOCABULARY) as review:
        assert suggested(review, "a") == [("cli", None), ("database", None)]
        assert review.bulk_count(0.0) == 0, "nothing is known of how sure they are"
        item = review.next()
        assert item
        assert review.decide(item.id, ["1"], 0).state == "reviewed"
        assert review.statistics().calibration == ()


def test_an_output_of_another_list_of_tags_is_refused(tmp_path: Path) -> None:
    tags = [{"id": 7, "name": "soup"}, {"id": 8, "name": "salad"}, CLI]
    with refused(UsageError):
        Review(output(tmp_path, {"id": "a", "tags": tags}), VOCABULARY)


def test_a_few_tags_that_the_list_lacks_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    soup = {"id": 99, "name": "soup"}
    renamed = {"id": 4, "name": "the web"}
    rows = [{"id": str(n), "tags": [tag]} for n, tag in enumerate((CLI, {"id": 2, "name": "game"}))]
    path = output(tmp_path, *rows, {"id": "a", "tags": [soup, renamed]})
    with Review(path, VOCABULARY) as review:
        assert suggested(review, "a") == [("web", None)], "the one was renamed"
    assert "suggested tags that are not in the vocabulary are left out: 1 ('soup')" in caplog.text


@pytest.mark.parametrize(
    "content",
    [
        "",
        "# A README\n",
        '{"id": 1, "tags": []}\n',
        '{"id": "a"}\n',
        "[" * 100_000,
        '{"id": "a", "tags": [true]}\n',
    ],
    ids=["empty", "a README", "a number as id", "no tags", "deep", "odd tag"],
)
def test_what_no_batch_has_written_is_refused(tmp_path: Path, content: str) -> None:
    with refused(InputError):
        Review(output(tmp_path, content), VOCABULARY)


def test_an_output_that_is_not_there_is_refused_and_no_store_is_made(tmp_path: Path) -> None:
    with refused(InputError):
        Review(tmp_path / "out.jsonl", VOCABULARY)
    assert not list(tmp_path.iterdir())


def test_lines_that_are_torn_or_odd_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = {"id": "a", "tags": [CLI]}
    odd = {"id": "b", "tags": [CLI | {"confidence": 9}]}
    with Review(output(tmp_path, good, odd, good, '{"id": "c", "ta'), VOCABULARY) as review:
        assert review.states()["open"] == 1
    assert "lines that are not rows of a batch are left out: 2, the first: line 2" in caplog.text
    assert "rows whose id came before are left out: 1" in caplog.text


def test_readmes_that_are_not_in_the_sources_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"id": f"{name}.md", "tags": [CLI]} for name in "ab"]
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.md").write_text("hello")
    sources = Sources((str(tmp_path / "texts"),), globs=("*.md",))
    with Review(output(tmp_path, *rows), VOCABULARY, sources=sources) as review:
        readme = review.readme("a.md")
        assert readme
        assert readme.text == "hello"
        assert review.readme("b.md") is None
        assert review.item("b.md").place == ""
    assert "can be reviewed only by their tags: 1 of 2" in caplog.text


def test_two_reviews_at_once_are_refused(tmp_path: Path) -> None:
    with opened(tmp_path), refused(UsageError):
        Review(tmp_path / "out.jsonl", VOCABULARY)


@pytest.mark.parametrize("content", [b"precious", b"SQLite format 3\0" + bytes(600)])
def test_a_store_that_is_something_else_is_refused_and_left_alone(
    tmp_path: Path, content: bytes
) -> None:
    path = output(tmp_path, {"id": "a", "tags": [CLI]})
    store = tmp_path / "out.jsonl.review"
    store.write_bytes(content)
    with refused(UsageError):
        Review(path, VOCABULARY)
    assert store.read_bytes() == content


def test_a_link_in_the_place_of_the_store_is_refused(tmp_path: Path) -> None:
    path = output(tmp_path, {"id": "a", "tags": [CLI]})
    (tmp_path / "precious").write_text("")
    (tmp_path / "out.jsonl.review").symlink_to(tmp_path / "precious")
    with refused(UsageError):
        Review(path, VOCABULARY)


def tamper(path: Path, statement: str) -> None:
    """Change a store as nobody can who keeps to its tables' rules."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA writable_schema = ON")
        rules = database.execute("SELECT sql, name FROM sqlite_master WHERE sql != ''").fetchall()
        database.execute("UPDATE sqlite_master SET sql = replace(sql, ') STRICT, ', ') ')")
        database.execute("UPDATE sqlite_master SET sql = replace(sql, ') STRICT', ')')")
        database.commit()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA ignore_check_constraints = ON")
        database.execute(statement)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA writable_schema = ON")
        database.executemany("UPDATE sqlite_master SET sql = ? WHERE name = ?", rules)
        database.commit()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE readme SET number = number + 1000 WHERE number = 5",
        "UPDATE readme SET state = 7",
        "UPDATE readme SET chance = 'x'",
        "UPDATE decided SET tag = 99",
        "UPDATE decision SET tags = '['",
        "UPDATE setting SET value = 'x' WHERE name = 'reached'",
        "UPDATE setting SET value = '[' WHERE name = 'vocabulary'",
        "UPDATE setting SET value = '[' WHERE name = 'exports' OR name = 'reached'",
        "UPDATE decision SET tags = replace(hex(zeroblob(50000)), '00', '[')",
        "UPDATE tag SET name = x'ff'",
        "UPDATE tag SET name = CAST(x'ff' AS TEXT)",
        "UPDATE tag SET became = 'x'",
        "UPDATE readme SET id = x'00' WHERE number = 4",
        "UPDATE readme SET error = x'01'",
        "UPDATE readme SET revision = 'x'",
        "UPDATE suggestion SET confidence = 9e999",
        "UPDATE suggestion SET confidence = 'nan'",
        "UPDATE suggestion SET given = 7",
        "UPDATE text SET source = x'07'",
        "UPDATE text SET content = zeroblob(70000000)",
        "UPDATE text SET content = 'text'",
        "UPDATE suggestion SET tag = 99",
        "UPDATE text SET content = x'00'",
        "CREATE VIEW evil AS SELECT 1",
    ],
)
def test_a_damaged_store_is_one_clear_error(tmp_path: Path, statement: str) -> None:
    with opened(tmp_path) as review:
        review.decide("readme-3", ["4"], 0)
        review.decide("readme-3", ["1"], 1)
    path = tmp_path / "out.jsonl.review"
    tamper(path, statement)
    before = path.read_bytes()
    with refused(UsageError), Review(tmp_path / "out.jsonl", VOCABULARY) as review:
        review.item("readme-3")
        review.readme("readme-3")
        review.undo()
    assert path.read_bytes() == before or statement.startswith("UPDATE")
