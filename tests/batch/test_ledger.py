"""What a batch remembers, and what it refuses to mix."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from support.messages import refused
from tagger.batch.ledger import FORMAT, Ledger, seal_of
from tagger.errors import OutputError, UsageError
from tagger.methods.base import FeatureIdentity, Identity

READING = b"\0what a model made of a README\xff"
IDENTITY = Identity(
    FeatureIdentity(weights="w", prompt="p", cleaning="1", readme_tokens=1), method="rank 8"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl.state"


def use(ledger: Ledger, identity: Identity = IDENTITY) -> str:
    """Use an identity of which readings depend on all but the calibration."""
    return ledger.use(identity, replace(identity, calibration=""))


def with_tokens(count: int) -> Identity:
    return replace(IDENTITY, features=replace(IDENTITY.features, readme_tokens=count))


@pytest.mark.parametrize("kept", [True, False], ids=["file", "temporary"])
def test_a_reading_comes_back_as_it_was(path: Path, kept: bool) -> None:
    with Ledger(path if kept else None) as ledger:
        use(ledger)
        assert ledger.reading(b"text") is None
        ledger.keep(b"text", READING)
        assert ledger.reading(b"text") == READING
    with Ledger(path if kept else None) as ledger:
        use(ledger)
        assert ledger.reading(b"text") == (READING if kept else None)


def test_readings_of_other_settings_are_not_used_and_not_lost(path: Path) -> None:
    with Ledger(path) as ledger:
        assert use(ledger, with_tokens(1)) == ""
        ledger.keep(b"text", READING)
        assert use(ledger, with_tokens(2)) == "reading again: README tokens changed"
        assert ledger.reading(b"text") is None
        assert use(ledger, with_tokens(1)) == "ranking again: README tokens changed"
        assert ledger.reading(b"text") == READING
        assert use(ledger, with_tokens(1)) == ""


def test_a_reading_outlives_what_only_its_ranking_depends_on(path: Path) -> None:
    with Ledger(path) as ledger:
        use(ledger, replace(IDENTITY, calibration="a"))
        ledger.keep(b"text", READING)
    with Ledger(path) as ledger:
        changed = use(ledger, replace(IDENTITY, calibration="b"))
        assert changed == "ranking again: calibration changed"
        assert ledger.reading(b"text") == READING


def test_all_that_has_changed_is_named(path: Path) -> None:
    other = replace(with_tokens(2), method="generate 2", machine="here", vocabulary="v")
    with Ledger(path) as ledger:
        use(ledger, replace(IDENTITY, machine="there", head="unknown later"))
    with Ledger(path) as ledger:
        changed = use(ledger, other)
    assert changed == (
        "reading again: README tokens and method and machine, number format or library version "
        "changed"
    ), "but not what only one of the two knows"


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
        use(ledger)
        ledger.keep(b"text", READING)
    with Ledger(path) as ledger:
        ledger.claim("model", "digest", "the same by another name")
        with refused(UsageError):
            ledger.claim("model", "another digest", "small")
        with refused(UsageError):
            ledger.claim("vocabulary", [["1", "cli"]], "1 tags")
    with Ledger(path, restart=True) as ledger:
        ledger.claim("model", "another digest", "small")
        use(ledger)
        assert ledger.reading(b"text") is None


def test_a_damaged_ledger_is_refused_until_restarted(path: Path) -> None:
    with Ledger(path) as ledger:
        use(ledger)
        for number in range(500):
            ledger.keep(str(number).encode(), READING)
    path.write_bytes(path.read_bytes()[:5000])
    with refused(UsageError):
        Ledger(path)
    with Ledger(path, restart=True) as ledger:
        use(ledger)
        assert ledger.reading(b"0") is None


def filled(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.claim("model", "digest", "small")
        use(ledger)
        ledger.keep(b"text", READING)


def recall(path: Path) -> None:
    """Ask for all that `filled` has put there."""
    with Ledger(path) as ledger:
        ledger.claim("model", "digest", "small")
        use(ledger)
        assert ledger.reading(b"text") == READING


def edit(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


ENDLESS = "(WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n)"


@pytest.mark.parametrize(
    "statements",
    [
        ("DROP TABLE reading",),
        ("ALTER TABLE reading DROP COLUMN content",),
        ("ALTER TABLE reading ADD COLUMN more",),
        ("DROP TABLE made_with", f"CREATE VIEW made_with AS SELECT {ENDLESS} AS what"),
        (f"CREATE TRIGGER t AFTER INSERT ON met BEGIN SELECT {ENDLESS}; END",),
        ('CREATE TABLE "a""b" (x)',),
        ("CREATE VIEW more AS SELECT 1",),
        ("UPDATE made_with SET digest = 'other'",),
        ("UPDATE made_with SET digest = x'ff'",),
        ("UPDATE latest SET identity = 'no JSON'",),
        ("UPDATE latest SET identity = '[1]'",),
        ("UPDATE latest SET identity = '{}'",),
        ("""UPDATE latest SET identity = '{"features": {"more": 1}}'""",),
        (f"UPDATE latest SET identity = '{'[' * 100_000}'",),
        ("UPDATE latest SET identity = CAST(x'ff' AS TEXT)",),
        ("UPDATE reading SET content = CAST(content || 'x' AS BLOB)",),
        ("UPDATE reading SET content = x''",),
        ("UPDATE reading SET content = 'text'",),
        ("UPDATE reading SET content = CAST(x'ff' AS TEXT)",),
        ("UPDATE reading SET seal = x'00'",),
        ("PRAGMA application_id = 7",),
    ],
    ids=lambda statements: statements[-1][:40],
)
def test_a_ledger_that_was_changed_is_refused_until_restarted(
    path: Path, statements: tuple[str, ...]
) -> None:
    filled(path)
    edit(path, *statements)
    with refused(UsageError):
        recall(path)
    with Ledger(path, restart=True) as ledger:
        ledger.claim("model", "another", "other")
        use(ledger)
        assert ledger.reading(b"text") is None


def test_a_reading_that_is_no_bytes_is_damage_even_with_its_seal(path: Path) -> None:
    filled(path)
    seal = seal_of(b"text", IDENTITY.digest, "text").hex()
    edit(path, f"UPDATE reading SET content = 'text', seal = x'{seal}'")
    with refused(UsageError):
        recall(path)


def test_a_damaged_ledger_stays_damaged_until_restarted(path: Path) -> None:
    filled(path)
    edit(path, "UPDATE latest SET identity = 'no JSON'")
    for _ in range(2):
        with refused(UsageError):
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
    with refused(UsageError):
        Ledger(path, restart=restart)
    assert victim.read_bytes() == b""


def test_a_journal_that_lies_there_is_not_obeyed(path: Path) -> None:
    filled(path)
    journal = path.with_name(f"{path.name}-journal")
    journal.write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504))
    with refused(UsageError):
        Ledger(path)
    Ledger(path, restart=True).__exit__(None, None, None)
    assert not journal.exists()


def test_no_journal_is_left_by_a_batch_that_is_killed(path: Path) -> None:
    with Ledger(path) as ledger:
        use(ledger)
        ledger.keep(b"text", READING)
        assert sorted(file.name for file in path.parent.iterdir()) == [
            path.name,
            f"{path.name}-wal",
        ]


def test_one_that_is_in_use_cannot_be_restarted(path: Path) -> None:
    with Ledger(path) as ledger:
        use(ledger)
        with refused(UsageError):
            Ledger(path, restart=True)
        ledger.keep(b"text", READING)
        assert ledger.reading(b"text") == READING


def test_one_that_is_removed_meanwhile_is_written_again(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Ledger(path) as ledger:
        use(ledger)
        path.unlink()
        ledger.keep(b"text", READING)
    assert "was removed while it was in use, and has been written again" in caplog.text
    with Ledger(path) as ledger:
        use(ledger)
        assert ledger.reading(b"text") == READING


def test_one_that_is_replaced_meanwhile_is_not_overwritten(path: Path) -> None:
    ledger = Ledger(path)
    path.unlink()
    path.write_text("another batch's")
    with refused(OutputError):
        ledger.__exit__(None, None, None)
    assert path.read_text() == "another batch's"


def test_two_batches_cannot_share_a_ledger(path: Path) -> None:
    with Ledger(path), refused(UsageError):
        Ledger(path)


@pytest.mark.parametrize("restart", [True, False])
def test_files_of_others_are_left_alone(path: Path, restart: bool) -> None:
    path.write_text("not a database, " * 100)
    with refused(UsageError):
        Ledger(path, restart=restart)
    assert path.read_text() == "not a database, " * 100
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE mine (x)")
    other.close()
    with refused(UsageError):
        Ledger(path, restart=restart)


def test_another_versions_ledger_is_refused_until_restarted(path: Path) -> None:
    Ledger(path).__exit__(None, None, None)
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA user_version = {FORMAT + 1}")
    database.close()
    with refused(UsageError):
        Ledger(path)
    with Ledger(path, restart=True) as ledger:
        assert ledger.meet("a", "here") is None


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with refused(OutputError):
        Ledger(tmp_path / "nowhere" / "out.state")


def test_what_is_noted_comes_back_and_is_replaced(path: Path) -> None:
    with Ledger(path) as ledger:
        assert ledger.noted("sources") is None
        ledger.note("sources", "a")
        ledger.note("sources", "b")
    with Ledger(path) as ledger:
        assert ledger.noted("sources") == "b"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE made_with SET shown = 'c'")
    with Ledger(path) as ledger, refused(UsageError):
        ledger.noted("sources")


def test_looking_readings_up_changes_nothing(path: Path) -> None:
    with Ledger(path) as ledger:
        use(ledger)
        ledger.keep(b"text", READING)
        assert ledger.look_up(with_tokens(2)) == 0
        assert ledger.reading(b"text") is None
        assert ledger.look_up(replace(IDENTITY, calibration="")) == 1
        assert ledger.reading(b"text") == READING
        assert use(ledger) == "", "nothing has changed"
