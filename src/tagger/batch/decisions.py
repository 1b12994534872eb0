"""What people have decided about the READMEs of an output.

It is kept beside the output, in an SQLite file that ends in `.review`, which outlives the output
itself: `tagger review` writes it, and a batch that is run again keeps what it says. A decision
names tags as the list of that time did, so that one that a later list lacks is not forgotten.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from tagger._util.closing import Closing
from tagger._util.files import is_filled
from tagger._util.text import printable
from tagger.batch.state_file import StateFile
from tagger.batch.tag_names import TagNames
from tagger.errors import UsageError
from tagger.vocabulary import Tag, Vocabulary, fold

ENDING = ".review"

OPEN, REVIEWED, SKIPPED = range(3)
"""The states of a README."""

FORMAT = 2
"""Bump when the tables below change: a file of another format is refused."""

_APPLICATION = 0x7A66E3

_TABLES = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE tag (
    number INTEGER PRIMARY KEY CHECK (number > 0), id TEXT NOT NULL, name TEXT NOT NULL,
    became INTEGER, UNIQUE (id, name)
) STRICT;
CREATE TABLE readme (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, place INTEGER CHECK (place > 0),
    error TEXT NOT NULL, suspicious INTEGER NOT NULL CHECK (suspicious IN (0, 1)),
    chance INTEGER NOT NULL CHECK (chance >= 0),
    state INTEGER NOT NULL DEFAULT 0 CHECK (state IN (0, 1, 2)),
    bulk INTEGER NOT NULL DEFAULT 0 CHECK (bulk IN (0, 1)),
    revision INTEGER NOT NULL DEFAULT 0 CHECK (revision >= 0),
    origin INTEGER NOT NULL DEFAULT 0 CHECK (origin IN (0, 1)),
    first INTEGER CHECK (first > 0), confidence REAL CHECK (confidence BETWEEN 0 AND 1),
    least REAL CHECK (least BETWEEN 0 AND 1)
) STRICT;
CREATE TABLE suggestion (
    readme INTEGER, origin INTEGER, place INTEGER, tag INTEGER NOT NULL,
    confidence REAL CHECK (confidence BETWEEN 0 AND 1),
    given INTEGER NOT NULL CHECK (given IN (0, 1)), PRIMARY KEY (readme, origin, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE decided (
    readme INTEGER, place INTEGER, tag INTEGER NOT NULL, PRIMARY KEY (readme, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE decision (
    number INTEGER PRIMARY KEY, step INTEGER NOT NULL, readme INTEGER NOT NULL,
    state INTEGER NOT NULL CHECK (state IN (0, 1, 2)),
    bulk INTEGER NOT NULL CHECK (bulk IN (0, 1)), tags TEXT NOT NULL,
    undone INTEGER NOT NULL DEFAULT 0 CHECK (undone IN (0, 1))
) STRICT;
CREATE TABLE text (
    readme INTEGER PRIMARY KEY, source TEXT NOT NULL, key BLOB NOT NULL, content BLOB NOT NULL
) STRICT;
CREATE TABLE beginning (readme INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
CREATE INDEX suggestion_of_tag ON suggestion (tag, origin, given);
CREATE INDEX decided_of_tag ON decided (tag);
CREATE INDEX decision_of_readme ON decision (readme);
CREATE INDEX readme_of_chance ON readme (chance);
"""

_CHECKED = ("setting", "tag", "readme", "suggestion", "decided", "decision")
"""Tables all of whose values are checked at the start. Texts are, when they are read: checking
them all would take long."""

_NEEDED = (3, 37)
"""The version of SQLite that has strict tables."""

_REMEDY = "put a copy of it back, or move it away to begin the review again"

_SHOWN = 5
"""READMEs that are named where a tag is missing."""


def review_of(lines: Path) -> Path:
    """Return the name of the file that keeps what was decided about an output."""
    return lines.with_name(lines.name + ENDING)


class Decisions(Closing):
    """A file of decisions; a context manager. Safe to use from several threads.

    What the vocabulary changes is written only by `note`.

    Args:
        path: the file; made if it is not there.
        vocabulary: the tags as they are now.

    Attributes:
        names: what tags were called, and are called now.
        changes: which tags were renamed or dropped since, for people.

    Raises:
        OutputError: the file cannot be written.
        UsageError: the file is something else, damaged, or of another version.
        InUseError: it is in use.

    """

    def __init__(self, path: Path, vocabulary: Vocabulary) -> None:
        if sqlite3.sqlite_version_info < _NEEDED:
            needed = ".".join(map(str, _NEEDED))
            raise UsageError(
                f"reviews need SQLite {needed} or later, and Python has {sqlite3.sqlite_version} "
                "here: use a newer Python"
            )
        self._file = StateFile(
            path,
            _TABLES,
            _APPLICATION,
            FORMAT,
            restart=False,
            remedy=_REMEDY,
            foreign="move it away",
            user="a tagger review, a tagger learn or a tagger batch: end that first",
            durable=True,
        )
        try:
            with self.reading() as database:
                _check(database)
                rows = database.execute("SELECT number, id, name, became FROM tag").fetchall()
                last = database.execute(
                    "SELECT value FROM setting WHERE name = 'vocabulary'"
                ).fetchone()
                self.names = TagNames(rows, json.loads(last[0]) if last else [], vocabulary)
                self.changes = list(self._changes(database))
        except BaseException:
            self.discard()
            raise

    @classmethod
    def beside(cls, lines: Path, vocabulary: Vocabulary) -> Self | None:
        """Return what was decided about an output, or None if it was not reviewed."""
        path = review_of(lines)
        return cls(path, vocabulary) if is_filled(path) or path.is_symlink() else None

    def close(self) -> None:
        """Close the file; see `StateFile.close`."""
        self._file.close()

    def discard(self) -> None:
        """Close the file, and remove it if it was made here."""
        self._file.discard()

    @property
    def name(self) -> str:
        """What messages call the file."""
        return self._file.name

    @property
    def tags(self) -> Mapping[int, Tag | None]:
        """By number, the tag of the vocabulary that is meant; None if it is not there any more."""
        return self.names.tags

    @property
    def numbers(self) -> Mapping[str, int]:
        """The numbers of the vocabulary's tags, by their ids as text."""
        return self.names.numbers

    def meaning(self, id_: str) -> list[int]:
        """Return the numbers of all tags that are now the one with this id, given as text."""
        return self.names.meaning(id_)

    def damaged(self) -> UsageError:
        """Return the error for content that cannot be right."""
        return self._file.damaged()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to one thread at a time; what cannot be right is damage."""
        try:
            with self._file.using() as database:
                yield database
        except (TypeError, ValueError, LookupError, OverflowError, RecursionError) as error:
            raise self.damaged() from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for changes that are made all together, or not at all.

        They are on disk at the end.

        Raises:
            OutputError: they cannot be written, or the file was replaced by another.

        """
        with self.reading():
            self._file.check_place()
        with self.reading() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:  # SQLite itself takes back what a full disk ends
                    database.execute("ROLLBACK")
                raise

    def of(self, id_: str) -> tuple[Tag, ...] | None:
        """Return the tags that were decided for a README, none if none fits.

        None if nothing was decided, or only tags that are not there any more.
        """
        with self.reading() as database:
            row = database.execute(
                "SELECT number, state FROM readme WHERE id = ?", (id_,)
            ).fetchone()
            if row is None or row[1] != REVIEWED:
                return None
            found = database.execute(
                "SELECT tag FROM decided WHERE readme = ? ORDER BY place", row[:1]
            ).fetchall()
            return self.known(number for (number,) in found)

    def known(self, numbers: Iterator[int]) -> tuple[Tag, ...] | None:
        """Return tags that are still there, each once; None if there were some and none is left."""
        meant = [self.tags[number] for number in numbers]
        left = {str(tag.id): tag for tag in meant if tag}
        return None if meant and not left else tuple(left.values())

    def note(self, database: sqlite3.Connection) -> None:
        """Write what tags are called now, within a transaction."""
        database.executemany("INSERT OR REPLACE INTO tag VALUES (?, ?, ?, ?)", self.names.rows)
        ours = json.dumps(list(self.numbers.values()))
        database.execute("INSERT OR REPLACE INTO setting VALUES ('vocabulary', ?)", (ours,))

    def _changes(self, database: sqlite3.Connection) -> Iterator[str]:
        """Say which of the decided tags are called otherwise now, or are not there."""
        for number, name in database.execute(
            "SELECT number, name FROM tag WHERE number IN (SELECT tag FROM decided) ORDER BY number"
        ).fetchall():
            tag = self.tags[number]
            if tag is not None and fold(tag.name) == fold(name):
                continue
            ids = [
                id_
                for (id_,) in database.execute(
                    "SELECT id FROM readme WHERE number IN "
                    "(SELECT readme FROM decided WHERE tag = ?) ORDER BY number",
                    (number,),
                )
            ]
            said = f"{printable(name.strip())!r}, which was decided for {_listed(ids)}"
            if tag is None:
                yield f"the list of tags no longer has {said}: it is left out there"
            else:
                yield f"the list of tags now has {printable(tag.label)!r} for {said}"


def _check(database: sqlite3.Connection) -> None:
    """Make sure that values are of the types and in the bounds that the tables have for them."""
    for table in _CHECKED:
        found = database.execute(f"PRAGMA quick_check({table})").fetchone()
        if found != ("ok",):
            raise ValueError(f"not as the table {table} has it")


def _listed(ids: Sequence[str]) -> str:
    """Return how many READMEs there are, and the first of them."""
    more = ", …" if len(ids) > _SHOWN else ""
    count = "1 README" if len(ids) == 1 else f"{len(ids)} READMEs"
    return f"{count} ({', '.join(map(printable, ids[:_SHOWN]))}{more})"
