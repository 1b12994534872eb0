"""What a batch remembers, and what it refuses to mix."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tagger.batch.ledger import FORMAT, Ledger, _seal
from tagger.errors import OutputError, UsageError
from tagger.tagging import GivenTag

RANKING = (
    GivenTag(id="cli", name="cli", confidence=0.1 + 0.2),
    GivenTag(id=7, name="x ", confidence=0),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl.state"


@pytest.mark.parametrize("kept", [True, False], ids=["file", "temporary"])
def test_a_ranking_comes_back_as_it_was(path: Path, kept: bool) -> None:
    with Ledger(path if kept else None) as ledger:
        ledger.use({"tokens": 1})
        assert ledger.ranking(b"text") is None
        ledger.keep(b"text", RANKING)
        assert ledger.ranking(b"text") == RANKING
    with Ledger(path if kept else None) as ledger:
        ledger.use({"tokens": 1})
        assert ledger.ranking(b"text") == (RANKING if kept else None)


def test_rankings_of_other_settings_are_not_used_and_not_lost(path: Path) -> None:
    with Ledger(path) as ledger:
        assert ledger.use({"tokens": 1, "prompt": "a"}) == []
        ledger.keep(b"text", RANKING)
        assert ledger.use({"tokens": 2, "prompt": "a"}) == ["tokens"]
        assert ledger.ranking(b"text") is None
        assert ledger.use({"tokens": 1, "prompt": "a"}) == []
        assert ledger.ranking(b"text") == RANKING


def test_an_id_is_met_again_with_its_first_place_until_forgotten(path: Path) -> None:
    with Ledger(path) as ledger:
        assert ledger.meet("a", "line 1") is None
        assert ledger.meet("b", "line 2") is None
        assert ledger.meet("a", "line 3") == ("line 1", 2)
        assert ledger.meet("a", "line 4") == ("line 1", 3)
        ledger.forget_ids()
        assert ledger.meet("a", "line 1") is None
    with Ledger(path) as ledger:
        assert ledger.meet("a", "line 1") is None, "ids are of one run"


def test_another_model_or_vocabulary_is_refused_until_restarted(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.claim("model", "digest", "small")
        ledger.claim("vocabulary", [[1, "cli"]], "1 tags")
        ledger.use({})
        ledger.keep(b"text", RANKING)
    with Ledger(path) as ledger:
        ledger.claim("model", "digest", "the same by another name")
        with pytest.raises(UsageError, match=r"another model \(small\): name another output"):
            ledger.claim("model", "another digest", "small")
        with pytest.raises(UsageError, match=r"another vocabulary \(1 tags\)"):
            ledger.claim("vocabulary", [["1", "cli"]], "1 tags")
    with Ledger(path, restart=True) as ledger:
        ledger.claim("model", "another digest", "small")
        ledger.use({})
        assert ledger.ranking(b"text") is None


def test_a_damaged_ledger_is_refused_until_restarted(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.use({})
        for number in range(500):
            ledger.keep(str(number).encode(), RANKING)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UsageError, match="is damaged: pass --restart"):
        Ledger(path)
    with Ledger(path, restart=True) as ledger:
        ledger.use({})
        assert ledger.ranking(b"0") is None


def filled(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.claim("model", "digest", "small")
        ledger.use({"tokens": 1})
        ledger.keep(b"text", RANKING)


def recall(path: Path) -> None:
    """Ask for all that `filled` has put there."""
    with Ledger(path) as ledger:
        ledger.claim("model", "digest", "small")
        ledger.use({"tokens": 1}, [(tag.id, tag.name) for tag in RANKING])
        assert ledger.ranking(b"text") == RANKING


def edit(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


ENDLESS = "(WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n)"


@pytest.mark.parametrize(
    "statements",
    [
        ("DROP TABLE ranking",),
        ("ALTER TABLE ranking DROP COLUMN tags",),
        ("ALTER TABLE ranking ADD COLUMN more",),
        ("DROP TABLE made_with", f"CREATE VIEW made_with AS SELECT {ENDLESS} AS what"),
        (f"CREATE TRIGGER t AFTER INSERT ON met BEGIN SELECT {ENDLESS}; END",),
        ('CREATE TABLE "a""b" (x)',),
        ("CREATE VIEW more AS SELECT 1",),
        ("UPDATE made_with SET digest = 'other'",),
        ("UPDATE made_with SET digest = x'ff'",),
        ("UPDATE ranking SET tags = replace(tags, '0.3', '0.2')",),
        ("UPDATE ranking SET tags = 'no JSON'",),
        ("UPDATE ranking SET tags = CAST(x'ff' AS TEXT)",),
        ("UPDATE ranking SET seal = x'00'",),
        ("PRAGMA application_id = 7",),
    ],
    ids=lambda statements: statements[-1][:40],
)
def test_a_ledger_that_was_changed_is_refused_until_restarted(
    path: Path, statements: tuple[str, ...]
) -> None:
    filled(path)
    edit(path, *statements)
    with pytest.raises(UsageError, match="is damaged: pass --restart"):
        recall(path)
    with Ledger(path, restart=True) as ledger:
        ledger.claim("model", "another", "other")
        ledger.use({"tokens": 1})
        assert ledger.ranking(b"text") is None


@pytest.mark.parametrize(
    "tags",
    [
        '[["cli", "cli", 9.0]]',
        '[["cli", "cli"]]',
        "[7]",
        "{}]",
        '[["web", "web", 0.5]]',
        "[" * 100_000,
    ],
)
def test_a_ranking_that_could_not_have_been_kept_is_damage_even_with_its_seal(
    path: Path, tags: str
) -> None:
    filled(path)
    seal = _seal(b"text", '{"tokens": 1}', tags).hex()
    edit(path, f"UPDATE ranking SET tags = '{tags}', seal = x'{seal}'")
    with pytest.raises(UsageError, match="is damaged: pass --restart"):
        recall(path)


@pytest.mark.parametrize("end", ["", "-wal", "-shm", "-journal"])
@pytest.mark.parametrize("link", ["symbolic", "hard"])
@pytest.mark.parametrize("restart", [True, False])
def test_nothing_is_written_through_a_link(
    path: Path, tmp_path: Path, end: str, link: str, restart: bool
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    place = path.with_name(path.name + end)
    place.symlink_to(victim) if link == "symbolic" else place.hardlink_to(victim)
    says = "is a symbolic link" if link == "symbolic" else "has other names"
    with pytest.raises(UsageError, match=says):
        Ledger(path, restart=restart)
    assert victim.read_bytes() == b""


def test_a_journal_that_lies_there_is_not_obeyed(path: Path) -> None:
    filled(path)
    journal = path.with_name(f"{path.name}-journal")
    journal.write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504))
    with pytest.raises(UsageError, match="is damaged: pass --restart"):
        Ledger(path)
    Ledger(path, restart=True).__exit__(None, None, None)
    assert not journal.exists()


def test_no_journal_is_left_by_a_batch_that_is_killed(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.use({})
        ledger.keep(b"text", RANKING)
        assert sorted(file.name for file in path.parent.iterdir()) == [
            path.name,
            f"{path.name}-wal",
        ]


def test_one_that_is_in_use_cannot_be_restarted(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.use({})
        with pytest.raises(UsageError, match="in use by another tagger batch"):
            Ledger(path, restart=True)
        ledger.keep(b"text", RANKING)
        assert ledger.ranking(b"text") == RANKING


def test_one_that_is_removed_meanwhile_is_written_again(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Ledger(path) as ledger:
        ledger.use({})
        path.unlink()
        ledger.keep(b"text", RANKING)
    assert "was removed while the batch ran, and has been written again" in caplog.text
    with Ledger(path) as ledger:
        ledger.use({})
        assert ledger.ranking(b"text") == RANKING


def test_one_that_is_replaced_meanwhile_is_not_overwritten(path: Path) -> None:
    ledger = Ledger(path)
    path.unlink()
    path.write_text("another batch's")
    with pytest.raises(OutputError, match="was replaced while the batch ran"):
        ledger.__exit__(None, None, None)
    assert path.read_text() == "another batch's"


def test_two_batches_cannot_share_a_ledger(path: Path) -> None:
    with Ledger(path), pytest.raises(UsageError, match="in use by another tagger batch"):
        Ledger(path)


@pytest.mark.parametrize("restart", [True, False])
def test_files_of_others_are_left_alone(path: Path, restart: bool) -> None:
    path.write_text("not a database, " * 100)
    with pytest.raises(UsageError, match="is not tagger's"):
        Ledger(path, restart=restart)
    assert path.read_text() == "not a database, " * 100
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE mine (x)")
    other.close()
    with pytest.raises(UsageError, match="is not tagger's"):
        Ledger(path, restart=restart)


def test_another_versions_ledger_is_refused_until_restarted(path: Path) -> None:
    Ledger(path).__exit__(None, None, None)
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA user_version = {FORMAT + 1}")
    database.close()
    with pytest.raises(UsageError, match="another version of tagger"):
        Ledger(path)
    with Ledger(path, restart=True) as ledger:
        assert ledger.meet("a", "here") is None


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write .*keeps what it has done"):
        Ledger(tmp_path / "nowhere" / "out.state")
