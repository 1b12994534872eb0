"""A batch whose memory was damaged: right rows, or one line that says how to go on.

`TAGGER_TEST_DAMAGES=3000 python -m pytest tests/batch/test_batch_damage.py` damages it more often.
"""

import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from support.console import Run, one_line
from tagger.batch.ledger import Ledger
from tagger.cli import OUTPUT_ERROR, models
from tagger.models.language import LanguageModel

pytestmark = pytest.mark.slow

DAMAGES = int(os.environ.get("TAGGER_TEST_DAMAGES", "120"))
COUNT = 4
BATCH = ("batch", "dump.jsonl", "--tags", "tags.json", "--scores", "--quiet", "-o", "out.jsonl")


def flip(draw: random.Random, data: bytearray) -> None:
    for _ in range(draw.choice([1, 1, 2, 30])):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def flip_in_the_header(draw: random.Random, data: bytearray) -> None:
    data[draw.randrange(100)] ^= 1 << draw.randrange(8)


def cut(draw: random.Random, data: bytearray) -> None:
    del data[draw.choice([draw.randrange(1, len(data)), draw.randrange(1, 600)]) :]


def noise(draw: random.Random, data: bytearray) -> None:
    start, length = draw.randrange(len(data)), draw.choice([1, 16, 100, 4096])
    data[start : start + length] = draw.randbytes(len(data[start : start + length]))


def swap_pages(draw: random.Random, data: bytearray) -> None:
    first, second = (4096 * draw.randrange(len(data) // 4096) for _ in range(2))
    one, two = data[first : first + 4096], data[second : second + 4096]
    data[first : first + 4096], data[second : second + 4096] = two, one


def change_a_word(draw: random.Random, data: bytearray) -> None:
    """Change some text in place, as an editor would."""
    words = [b"cli", b"tags", b"rank 8", b"tokens", b"reading", b"identity", b"digest", b'"']
    places = [place for word in words for place in _all(data, word)]
    if places:
        place = draw.choice(places)
        data[place : place + 1] = draw.choice([b"0", b"x", b"9", b"[", b"\xff"])


def _all(data: bytearray, word: bytes) -> list[int]:
    places, place = [], data.find(word)
    while place >= 0:
        places.append(place)
        place = data.find(word, place + 1)
    return places


STATEMENTS = [
    "UPDATE reading SET content = (SELECT max(content) FROM reading)",
    "UPDATE reading SET content = CAST(replace(content, x'3f', x'3e') AS BLOB)",
    "UPDATE reading SET content = zeroblob(length(content))",
    "UPDATE reading SET content = substr(content, 5)",
    "UPDATE reading SET content = '[[0, 0.5]]'",
    "UPDATE reading SET identity = identity + 1",
    "UPDATE reading SET text = randomblob(32)",
    "UPDATE identity SET digest = 'another'",
    "UPDATE identity SET number = number + 5",
    "UPDATE latest SET identity = 'no JSON'",
    "UPDATE made_with SET digest = shown",
    "UPDATE made_with SET shown = 7, what = 'vocabulary ' || what",
    "DELETE FROM made_with",
    "DELETE FROM identity",
    "DELETE FROM latest",
    "DELETE FROM reading",
    "DROP TABLE met",
    "ALTER TABLE reading RENAME TO other",
    "ALTER TABLE identity ADD COLUMN more",
    "CREATE VIEW more AS SELECT * FROM reading",
    "PRAGMA user_version = 7",
    "PRAGMA application_id = 7",
    "INSERT INTO met VALUES ('0', 'elsewhere', 3)",
    "VACUUM",
]


def change_a_table(draw: random.Random, path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        for statement in draw.sample(STATEMENTS, draw.choice([1, 1, 2])):
            try:
                database.execute(statement)
            except sqlite3.Error:  # it does not go with the one before
                continue
            database.commit()


BYTES: list[Callable[[random.Random, bytearray], None]] = [
    flip,
    flip_in_the_header,
    cut,
    noise,
    swap_pages,
    change_a_word,
]


@pytest.fixture
def begun(
    run: Run, workplace: Path, tiny_model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> list[Path]:
    """States of a batch: one of a batch that ended, and one with its log of one that was killed."""

    def loaded(*_: Any, **__: Any) -> LanguageModel:
        return tiny_model

    monkeypatch.setattr(models, "open_model", loaded)
    lines = [{"id": n, "readme": f"A game engine, number {n}."} for n in range(COUNT)]
    (workplace / "dump.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert run(*BATCH).code == 0
    ended, killed = workplace / "ended", workplace / "killed"
    ended.mkdir()
    killed.mkdir()
    shutil.copy("out.jsonl.state", ended)
    (workplace / "out.jsonl.state").unlink()
    (workplace / "out.jsonl").unlink()
    with monkeypatch.context() as patch:
        leave = Ledger.__exit__

        def killing(self: Ledger, *args: Any) -> None:
            for file in workplace.glob("out.jsonl.state*"):
                shutil.copy(file, killed)
            leave(self, *args)

        patch.setattr(Ledger, "__exit__", killing)
        assert run(*BATCH).code == 0
    assert (killed / "out.jsonl.state-wal").stat().st_size
    return [ended, killed]


def test_rows_are_right_or_one_line_says_how_to_go_on(
    run: Run, workplace: Path, begun: list[Path]
) -> None:
    draw = random.Random(DAMAGES)
    output = workplace / "out.jsonl"
    right = output.read_bytes()
    refused = strange = 0
    for number in range(DAMAGES):
        for old in workplace.glob("out.jsonl.state*"):
            old.unlink()
        files = [Path(shutil.copy(file, workplace)) for file in draw.choice(begun).iterdir()]
        if number % 7 == 6:
            how = change_a_table
            change_a_table(draw, workplace / "out.jsonl.state")
        else:
            how = BYTES[number % 7]  # type: ignore[assignment]
            path = draw.choice(files)
            data = bytearray(path.read_bytes())
            BYTES[number % 7](draw, data)
            path.write_bytes(data)
        output.write_bytes(draw.choice([right, right[: draw.randrange(len(right))]]))
        outcome = run(*BATCH)
        if outcome.code == 0:
            assert output.read_bytes() == right, (number, how)
        else:
            refused += 1
            said = one_line(outcome.err)
            assert outcome.code in (2, OUTPUT_ERROR), (number, how, said)
            if "is not a tagger file" in said:  # nothing is left that would tell
                strange += 1
                continue
            assert "start over with --restart" in said, (number, how)
            outcome = run(*BATCH, "--restart")
            assert (outcome.code, outcome.err) == (0, ""), (number, how)
            assert output.read_bytes() == right, (number, how)
    assert DAMAGES / 5 < refused < DAMAGES
    assert strange <= DAMAGES / 20
