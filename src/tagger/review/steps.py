"""Decisions, one step after another, each of which can be taken back.

A step is one README, or all those of a bulk decision. It is on disk when the function that makes it
returns. Nothing is ever deleted: a step that was taken back is marked.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tagger.batch.decisions import OPEN, REVIEWED, Decisions


@dataclass(frozen=True)
class Entry:
    """What is decided about a README.

    Attributes:
        number: of the README.
        state: from now on.
        tags: the numbers of its tags.
        bulk: whether nobody has looked at it.

    """

    number: int
    state: int
    tags: Sequence[int] = ()
    bulk: bool = False


def decide(database: sqlite3.Connection, entries: Iterable[Entry]) -> None:
    """Make a step of decisions, within a transaction."""
    (step,) = database.execute("SELECT coalesce(max(step), 0) + 1 FROM decision").fetchone()
    made = list(entries)
    database.executemany(
        "INSERT INTO decision (step, readme, state, bulk, tags) VALUES (?, ?, ?, ?, ?)",
        [(step, each.number, each.state, each.bulk, json.dumps(list(each.tags))) for each in made],
    )
    _apply(database, made)


def undo(store: Decisions) -> list[int]:
    """Take the last step back. Return the numbers of its READMEs, none if there is no step left."""
    with store.writing() as database:
        execute = database.execute
        (step,) = execute("SELECT max(step) FROM decision WHERE NOT undone").fetchone()
        if step is None:
            return []
        execute("UPDATE decision SET undone = 1 WHERE step = ?", (step,))
        rows = execute("SELECT readme FROM decision WHERE step = ? ORDER BY number", (step,))
        numbers = [int(number) for (number,) in rows]
        _apply(database, [_last(database, number) for number in numbers])
    return numbers


def tags_of(database: sqlite3.Connection, number: int) -> list[int]:
    """Return the numbers of the tags that were decided for a README."""
    rows = database.execute("SELECT tag FROM decided WHERE readme = ? ORDER BY place", (number,))
    return [int(tag) for (tag,) in rows]


def given_to(store: Decisions, database: sqlite3.Connection, number: int) -> list[int]:
    """Return the numbers of the tags that are suggested to be given to a README.

    Those that are not in the vocabulary any more are left out.
    """
    rows = database.execute(
        "SELECT tag FROM suggestion WHERE readme = ? AND given AND origin = "
        "(SELECT origin FROM readme WHERE number = ?) ORDER BY place",
        (number, number),
    )
    return [int(tag) for (tag,) in rows if store.tags[tag] is not None]


def substitute(tags: Sequence[int], old: set[int], new: int) -> list[int]:
    """Return tags with a new one in the place of old ones, each once."""
    return list(dict.fromkeys(new if tag in old else tag for tag in tags))


def _last(database: sqlite3.Connection, number: int) -> Entry:
    """Return what was decided last about a README and was not taken back."""
    row = database.execute(
        "SELECT state, tags, bulk FROM decision WHERE readme = ? AND NOT undone "
        "ORDER BY number DESC LIMIT 1",
        (number,),
    ).fetchone()
    if row is None:
        return Entry(number, OPEN)
    return Entry(number, int(row[0]), [int(tag) for tag in json.loads(row[1])], bool(row[2]))


def _apply(database: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    database.executemany(
        "UPDATE readme SET state = ?, bulk = ?, revision = revision + 1 WHERE number = ?",
        [(each.state, each.bulk, each.number) for each in entries],
    )
    database.executemany(
        "DELETE FROM decided WHERE readme = ?", [(each.number,) for each in entries]
    )
    database.executemany(
        "INSERT INTO decided VALUES (?, ?, ?)",
        [
            (each.number, place, tag)
            for each in entries
            if each.state == REVIEWED
            for place, tag in enumerate(dict.fromkeys(each.tags))
        ],
    )
