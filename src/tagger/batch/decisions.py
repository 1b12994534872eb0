"""What people have decided about the READMEs of an output.

It is kept beside the output, in an SQLite file that ends in `.review`, which outlives the output
itself: `tagger review` writes it, and a batch that is run again keeps what it says. A decision
names tags as the list of that time did, so that one that a later list lacks is not forgotten.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from tagger._util.closing import Closing
from tagger._util.text import printable
from tagger.batch.state_file import StateFile
from tagger.errors import UsageError
from tagger.vocabulary import Tag, Vocabulary, fold, renames

ENDING = ".review"

OPEN, REVIEWED, SKIPPED = range(3)
"""The states of a README."""

FORMAT = 1
"""Bump when the tables below change: a file of another format is refused."""

_APPLICATION = 0x7A66E3

_TABLES = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE tag (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL, name TEXT NOT NULL, became INTEGER,
    UNIQUE (id, name)
);
CREATE TABLE readme (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, place INTEGER, error TEXT NOT NULL,
    suspicious INTEGER NOT NULL, chance INTEGER NOT NULL, state INTEGER NOT NULL DEFAULT 0,
    bulk INTEGER NOT NULL DEFAULT 0, revision INTEGER NOT NULL DEFAULT 0,
    origin INTEGER NOT NULL DEFAULT 0, first INTEGER, confidence REAL, least REAL
);
CREATE TABLE suggestion (
    readme INTEGER, origin INTEGER, place INTEGER, tag INTEGER NOT NULL, confidence REAL,
    given INTEGER NOT NULL, PRIMARY KEY (readme, origin, place)
) WITHOUT ROWID;
CREATE TABLE decided (
    readme INTEGER, place INTEGER, tag INTEGER NOT NULL, PRIMARY KEY (readme, place)
) WITHOUT ROWID;
CREATE TABLE decision (
    number INTEGER PRIMARY KEY, step INTEGER NOT NULL, readme INTEGER NOT NULL,
    state INTEGER NOT NULL, bulk INTEGER NOT NULL, tags TEXT NOT NULL,
    undone INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE text (
    readme INTEGER PRIMARY KEY, source TEXT NOT NULL, key BLOB NOT NULL, content BLOB NOT NULL
);
CREATE TABLE beginning (readme INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE INDEX suggestion_of_tag ON suggestion (tag, origin, given);
CREATE INDEX decided_of_tag ON decided (tag);
CREATE INDEX decision_of_readme ON decision (readme);
CREATE INDEX readme_of_chance ON readme (chance);
"""

_REMEDY = "put a copy of it back, or move it away to begin the review again"

_SHOWN = 5
"""READMEs that are named where a tag is missing."""


def review_of(lines: Path) -> Path:
    """Return the name of the file that keeps what was decided about an output."""
    return lines.with_name(lines.name + ENDING)


class Decisions(Closing):
    """A file of decisions; a context manager. Safe to use from several threads.

    Args:
        path: the file; made if it is not there.
        vocabulary: the tags as they are now.

    Attributes:
        tags: by number, the tag of the vocabulary that was meant; None if it is not there any more.
        changes: which tags were renamed or dropped since, for people.

    Raises:
        OutputError: the file cannot be written.
        UsageError: the file is something else, damaged, or of another version.
        InUseError: it is in use.

    """

    def __init__(self, path: Path, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
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
            with self.writing() as database:
                self._take_tags(database)
                self.changes = list(self._changes(database))
        except BaseException:
            self._file.close()
            raise

    @classmethod
    def beside(cls, lines: Path, vocabulary: Vocabulary) -> Self | None:
        """Return what was decided about an output, or None if it was not reviewed."""
        path = review_of(lines)
        return cls(path, vocabulary) if path.exists() or path.is_symlink() else None

    def close(self) -> None:
        """Close the file; see `StateFile.close`."""
        self._file.close()

    @property
    def name(self) -> str:
        """What messages call the file."""
        return self._file.name

    @property
    def numbers(self) -> dict[str, int]:
        """The numbers of the vocabulary's tags, by their ids as text."""
        return self._numbers

    def meaning(self, id_: str) -> list[int]:
        """Return the numbers of all tags that are now the one with this id, given as text."""
        return [number for number, tag in self.tags.items() if tag and str(tag.id) == id_]

    def damaged(self) -> UsageError:
        """Return the error for content that cannot be right."""
        return self._file.damaged()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to one thread at a time; what cannot be right is damage."""
        try:
            with self._file.using() as database:
                yield database
        except (TypeError, ValueError, LookupError, OverflowError) as error:
            raise self.damaged() from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for changes that are made all together, or not at all.

        They are on disk at the end.
        """
        with self.reading() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
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

    def number(self, database: sqlite3.Connection, id_: str, name: str) -> int:
        """Return the number of a tag, which need not be in the vocabulary."""
        found = self._by_pair.get((id_, name))
        if found is None:
            made = database.execute("INSERT INTO tag (id, name) VALUES (?, ?)", (id_, name))
            found = self._by_pair[id_, name] = int(made.lastrowid or 0)
        return found

    def tag(self, id_: str, name: str) -> Tag | None:
        """Return what a tag is called now; None if the vocabulary lacks it."""
        return self.tags.get(self._by_pair.get((id_, name), 0))

    def settle(self, database: sqlite3.Connection, pairs: Sequence[tuple[str, str]]) -> None:
        """Find out what tags are called now that somebody has named by ids and names."""
        numbers = {fold(name): self.number(database, id_, name) for id_, name in pairs}
        current = {fold(tag.name): self._numbers[str(tag.id)] for tag in self._vocabulary}
        for old, new in renames({fold(name): id_ for id_, name in pairs}, self._vocabulary):
            database.execute(
                "UPDATE tag SET became = ? WHERE number = ?", (current[new], numbers[old])
            )
        self.tags = self._meant(database)

    def _take_tags(self, database: sqlite3.Connection) -> None:
        """Give the tags of the vocabulary numbers, and note what those of the last one are now."""
        rows = database.execute("SELECT number, id, name FROM tag").fetchall()
        self._by_pair = {(id_, name): number for number, id_, name in rows}
        last = database.execute("SELECT value FROM setting WHERE name = 'vocabulary'").fetchone()
        before = set(json.loads(last[0])) if last else set()
        self._numbers = {
            str(tag.id): self.number(database, str(tag.id), tag.name) for tag in self._vocabulary
        }
        self.settle(database, [(id_, name) for number, id_, name in rows if number in before])
        ours = json.dumps(list(self._numbers.values()))
        database.execute("INSERT OR REPLACE INTO setting VALUES ('vocabulary', ?)", (ours,))

    def _meant(self, database: sqlite3.Connection) -> dict[int, Tag | None]:
        rows = database.execute("SELECT number, name, became FROM tag").fetchall()
        names = {number: fold(name) for number, name, _ in rows}
        became = {number: new for number, _, new in rows}
        current = {fold(tag.name): tag for tag in self._vocabulary}

        def meant(number: int) -> Tag | None:
            for _ in rows:  # names may have gone round in a circle
                if (tag := current.get(names[number])) is not None or became[number] is None:
                    return tag
                number = became[number]
            return None

        return {number: meant(number) for number in names}

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


def _listed(ids: Sequence[str]) -> str:
    """Return how many READMEs there are, and the first of them."""
    more = ", …" if len(ids) > _SHOWN else ""
    count = "1 README" if len(ids) == 1 else f"{len(ids)} READMEs"
    return f"{count} ({', '.join(map(printable, ids[:_SHOWN]))}{more})"
