"""What a batch remembers, and what it refuses to mix."""

import sqlite3
from pathlib import Path

import pytest

from tagger.errors import OutputError, UsageError
from tagger.ledger import FORMAT, Ledger
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
