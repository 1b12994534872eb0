"""What a batch remembers: what the model made of every README, and every id it has met.

It lives in a file beside the output, so that a batch of any size takes no more memory than a small
one, and one that was killed goes on where it was. A reading is kept under the digest of the
README's text and of everything else it depends on, so that none is ever used for another; and it
is kept rather than the ranking, so that another calibration ranks again without a model.

A row is used only if it carries the right seal, a checksum.
"""

import hashlib
import sqlite3
from pathlib import Path
from typing import Any

from tagger._util.closing import Closing
from tagger._util.hashing import digest
from tagger._util.text import printable
from tagger.batch.state_file import RESTART, StateFile
from tagger.errors import UsageError
from tagger.methods.base import Identity
from tagger.readme.readme import Readme

REVIEWED_BEFORE = "reviewed before"
"""Noted once a run has kept decisions of people."""

FORMAT = 4
"""Bump when the tables below change: a ledger of another format is refused."""

_APPLICATION = 0x7A66E2

_TABLES = """
CREATE TABLE made_with (
    what TEXT PRIMARY KEY, digest TEXT NOT NULL, shown TEXT NOT NULL, seal BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE latest (identity TEXT NOT NULL);
CREATE TABLE identity (number INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE);
CREATE TABLE reading (
    text BLOB, identity INTEGER, content BLOB NOT NULL, seal BLOB NOT NULL,
    PRIMARY KEY (text, identity)
) WITHOUT ROWID;
CREATE TABLE met (
    id TEXT PRIMARY KEY, place TEXT NOT NULL, copies INTEGER NOT NULL DEFAULT 1
) WITHOUT ROWID;
"""


class Ledger(Closing):
    """The memory of one output file; a context manager. Safe to use from several threads.

    Args:
        path: its file; None keeps it in a temporary one that goes with the process.
        restart: forget what it holds, also what another version wrote.
        remedy: what people are to do about a file that cannot be used.
        foreign: what they are to do about one that is not ours, or a link.

    Raises:
        OutputError: the file cannot be written.
        UsageError: the file is not a ledger, a damaged one, or one of another version.
        InUseError: another process has it.

    """

    def __init__(
        self,
        path: Path | None,
        *,
        restart: bool = False,
        remedy: str = RESTART,
        foreign: str = "",
    ) -> None:
        self._file = StateFile(
            path, _TABLES, _APPLICATION, FORMAT, restart=restart, remedy=remedy, foreign=foreign
        )
        try:
            self.forget_ids()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file; see `StateFile.close`."""
        self._file.close()

    def damaged(self) -> UsageError:
        """Return the error for a reading that cannot be right."""
        return self._file.damaged()

    def claim(self, what: str, value: object, shown: str) -> None:
        """Note what the output is made with, unless it was begun with something else.

        Args:
            what: `model` or `vocabulary`.
            value: tells one from another; anything that JSON can write.
            shown: what people call it.

        Raises:
            UsageError: it was begun with another one.

        """
        name_of_it = digest(value)
        seal = seal_of(what, name_of_it, shown)
        with self._file.using() as database:
            database.execute(
                "INSERT OR IGNORE INTO made_with VALUES (?, ?, ?, ?)",
                (what, name_of_it, shown, seal),
            )
            was, name, sealed = _one(
                database, "SELECT digest, shown, seal FROM made_with WHERE what = ?", what
            )
            if sealed != seal_of(what, was, name):
                raise sqlite3.DatabaseError("a row of made_with has another seal")
        if was != name_of_it:
            raise UsageError(
                f"this output was started with another {what} ({printable(name)}): choose "
                "another output, or start over with --restart"
            )

    def use(self, identity: Identity, reading: Identity) -> str:
        """Read and write readings under an identity from now on.

        Args:
            identity: what rankings depend on beside the README.
            reading: what readings do.

        Returns:
            What is done again and why, for people; empty if nothing has changed.

        Raises:
            UsageError: the file is damaged.
            OutputError: it cannot be written.

        """
        self._identity = reading.digest
        with self._file.using() as database:
            execute = database.execute
            latest = execute("SELECT identity FROM latest").fetchone()
            try:
                changed = Identity.from_json(latest[0]).differences(identity) if latest else []
            except ValueError as error:
                raise sqlite3.DatabaseError("not an identity") from error
            execute("DELETE FROM latest")
            execute("INSERT INTO latest VALUES (?)", (identity.to_json(),))
            execute("INSERT OR IGNORE INTO identity (digest) VALUES (?)", (self._identity,))
            (self._number,) = _one(
                database, "SELECT number FROM identity WHERE digest = ?", self._identity
            )
            known = execute(
                "SELECT 1 FROM reading WHERE identity = ? LIMIT 1", (self._number,)
            ).fetchone()
        if not changed:
            return ""
        return f"{'ranking' if known else 'reading'} again: {' and '.join(changed)} changed"

    def look_up(self, reading: Identity) -> int:
        """Read readings of an identity from now on, and leave it open what comes next.

        Returns:
            How many there are.

        Raises:
            UsageError: the file is damaged.

        """
        self._identity = reading.digest
        with self._file.using() as database:
            found = database.execute(
                "SELECT number FROM identity WHERE digest = ?", (self._identity,)
            ).fetchone()
            self._number = found[0] if found else None
            counted = database.execute(
                "SELECT count(*) FROM reading WHERE identity = ?", (self._number,)
            ).fetchone()
        return int(counted[0])

    def note(self, what: str, text: str) -> None:
        """Note something about the output, for `noted`; what was noted before is forgotten."""
        named = digest(text)
        with self._file.using() as database:
            database.execute(
                "INSERT OR REPLACE INTO made_with VALUES (?, ?, ?, ?)",
                (what, named, text, seal_of(what, named, text)),
            )

    def noted(self, what: str) -> str | None:
        """Return what was noted, if anything was. Raises `UsageError` if the file is damaged."""
        with self._file.using() as database:
            row = database.execute(
                "SELECT digest, shown, seal FROM made_with WHERE what = ?", (what,)
            ).fetchone()
            if row is None:
                return None
            if row[2] != seal_of(what, *row[:2]) or not isinstance(row[1], str):
                raise sqlite3.DatabaseError("a row of made_with has another seal")
            return row[1]

    def meet(self, id_: str, place: str) -> tuple[str, int] | None:
        """Note an id. Return where it was met first and how often, if it was met before."""
        with self._file.using() as database:
            met: tuple[str, int] | None = database.execute(
                "UPDATE met SET copies = copies + 1 WHERE id = ? RETURNING place, copies", (id_,)
            ).fetchone()
            if met is None:
                database.execute("INSERT INTO met (id, place) VALUES (?, ?)", (id_, place))
            return met

    def forget_ids(self) -> None:
        """Forget which ids were met, to begin again at the first README."""
        with self._file.using() as database:
            database.execute("DELETE FROM met")

    def reading(self, text: bytes) -> bytes | None:
        """Return what is known of the README that has this digest.

        Raises:
            UsageError: the file is damaged.

        """
        with self._file.using() as database:
            row = database.execute(
                "SELECT content, seal FROM reading WHERE text = ? AND identity = ?",
                (text, self._number),
            ).fetchone()
            if row is None:
                return None
            content: bytes = row[0]
            if row[1] != seal_of(text, self._identity, content) or not isinstance(content, bytes):
                raise sqlite3.DatabaseError("a reading has another seal")
            return content

    def knows(self, text: bytes) -> bool:
        """Say whether a README with this digest was read, under whatever identity.

        Raises:
            UsageError: the file is damaged.

        """
        with self._file.using() as database:
            found = database.execute("SELECT 1 FROM reading WHERE text = ? LIMIT 1", (text,))
            return found.fetchone() is not None

    def keep(self, text: bytes, content: bytes) -> None:
        """Keep a reading; it outlives the process from here on."""
        with self._file.using() as database:
            database.execute(
                "INSERT OR REPLACE INTO reading VALUES (?, ?, ?, ?)",
                (text, self._number, content, seal_of(text, self._identity, content)),
            )


def text_key(readme: Readme) -> bytes:
    """Return what tells a README from others: its text, and the markup by which it is read."""
    return hashlib.sha256(f"{readme.markup}\n{readme.text}".encode()).digest()


def _one(database: sqlite3.Connection, query: str, value: str) -> tuple[Any, ...]:
    """Return the row that must be there."""
    row: tuple[Any, ...] | None = database.execute(query, (value,)).fetchone()
    if row is None:
        raise sqlite3.DatabaseError("a row cannot be found that was written")
    return row


def seal_of(*values: object) -> bytes:
    """Return a checksum of a row. It tells damage, not forgery."""
    return hashlib.sha256(repr(values).encode("utf-8", "surrogatepass")).digest()[:8]
