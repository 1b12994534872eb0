"""The plan of a batch: which READMEs there are, which are equal, and which have their rows.

It is kept in a temporary file, so that the machine that starts a batch needs no more memory for a
million READMEs than for a thousand.
"""

import json
import sqlite3
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from tagger._util.closing import Closing
from tagger.batch.state_file import StateFile
from tagger.ray.blocks import Entry
from tagger.tagging import Failure

_APPLICATION = 0x7A66E5
_FORMAT = 1

_TABLES = """
CREATE TABLE readme (
    number INTEGER PRIMARY KEY, source INTEGER NOT NULL, id TEXT NOT NULL UNIQUE,
    place TEXT NOT NULL, key BLOB NOT NULL, failure TEXT, done INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX equal ON readme (key, done, number);
CREATE INDEX by_source ON readme (source, done);
"""

Named = tuple[str, str]
"""Id and place of a README."""


class Plan(Closing):
    """The READMEs of a batch; a context manager. Raises `OutputError` where there is no room."""

    def __init__(self) -> None:
        self._file = StateFile(None, _TABLES, _APPLICATION, _FORMAT, restart=False)

    def close(self) -> None:
        """Delete the file."""
        self._file.close()

    def add(self, source: int, entry: Entry) -> None:
        """Note a README.

        Args:
            source: the number of the source that it was found in.
            entry: the README; no other has its id.

        """
        failure = json.dumps(entry.failure.model_dump()) if entry.failure else None
        self._execute(
            "INSERT INTO readme (source, id, place, key, failure) VALUES (?, ?, ?, ?, ?)",
            (source, entry.id, entry.place, entry.key, failure),
        )

    def settle(self, id_: str, key: bytes) -> bool:
        """Note that a README has its row; say whether the row is wanted, and the first."""
        changed = self._execute(
            "UPDATE readme SET done = 1 WHERE id = ? AND key = ? AND failure IS NULL AND done = 0",
            (id_, key),
        )
        return changed.rowcount == 1

    def missing(self) -> int:
        """Return how many READMEs have no row."""
        (count,) = self._execute("SELECT count(*) FROM readme WHERE done = 0").fetchone()
        return int(count)

    def failures(self) -> Iterator[Failure]:
        """Yield the rows of READMEs that cannot be read."""
        rows = self._execute(
            "SELECT failure FROM readme WHERE done = 0 AND failure IS NOT NULL ORDER BY number"
        )
        for (failure,) in rows:
            yield Failure.model_validate(json.loads(failure))

    def groups(self, source: int) -> Iterator[tuple[str, bytes, list[Named]]]:
        """Yield what is to be read in a source.

        Returns:
            For each text, in order, where it is first found, its key, and the READMEs without a
            row, of all sources, that have it.

        """
        rows = self._execute(
            "SELECT first.number, first.place, first.key, each.id, each.place"
            " FROM readme AS first JOIN readme AS each ON each.key = first.key AND each.done = 0"
            " WHERE first.source = ? AND first.done = 0 AND first.failure IS NULL"
            " AND first.number ="
            " (SELECT min(number) FROM readme WHERE key = first.key AND done = 0)"
            " ORDER BY first.number, each.number",
            (source,),
        )
        for (_, place, key), group in groupby(rows, key=lambda row: row[:3]):
            yield place, key, [(row[3], row[4]) for row in group]

    def _execute(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        with self._file.using() as database:
            return database.execute(statement, values)
