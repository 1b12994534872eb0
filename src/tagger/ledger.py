"""What a batch remembers: every ranking it has computed, and every id it has met.

It lives in an SQLite file beside the output, so that a batch of any size takes no more memory than
a small one, and one that was killed goes on where it was. A ranking is kept under the digest of
the README's text and of everything else it depends on, so that none is ever used for another.
"""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from tagger.digest import digest
from tagger.errors import OutputError, UsageError
from tagger.tagging import GivenTag, Ranking
from tagger.text import printable

FORMAT = 1
"""Raised whenever the tables below change: a ledger of another format is refused."""

_APPLICATION = 0x7A66E2
"""Marks the file as a ledger of ours, as SQLite's `application_id` is meant to."""

_TABLES = """
CREATE TABLE made_with (
    what TEXT PRIMARY KEY, digest TEXT NOT NULL, shown TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE settings (number INTEGER PRIMARY KEY, described TEXT NOT NULL UNIQUE);
CREATE TABLE ranking (
    text BLOB, settings INTEGER, tags TEXT NOT NULL, PRIMARY KEY (text, settings)
) WITHOUT ROWID;
CREATE TABLE met (
    id TEXT PRIMARY KEY, place TEXT NOT NULL, copies INTEGER NOT NULL DEFAULT 1
) WITHOUT ROWID;
"""


class Ledger:
    """The memory of one output file. One process at a time; safe to use from several threads.

    Args:
        path: its file; None keeps it in a temporary one that goes with the process.
        restart: forget what it holds, also what another version wrote.

    Raises:
        OutputError: the file cannot be written.
        UsageError: the file is no ledger, a damaged one, one of another version, or in use.

    """

    def __init__(self, path: Path | None, *, restart: bool = False) -> None:
        self._name = printable(str(path)) if path else "a temporary file"
        self._lock = threading.Lock()
        with self._reporting():
            try:
                self._open(path, restart=restart)
            except sqlite3.DatabaseError as error:
                if not (restart and path and error.sqlite_errorcode == sqlite3.SQLITE_CORRUPT):
                    raise
                path.unlink()
                path.with_name(f"{path.name}-wal").unlink(missing_ok=True)
                self._open(path, restart=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._database.close()

    def _open(self, path: Path | None, *, restart: bool) -> None:
        self._database = sqlite3.connect(
            path or "", timeout=0.5, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare(restart=restart)
        except BaseException:
            self._database.close()
            raise

    def _prepare(self, *, restart: bool) -> None:
        """Make the tables of a new file; refuse one that somebody else made."""
        execute = self._database.execute
        # Held until the process ends, however it ends: a second batch is kept out.
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = NORMAL")
        execute("BEGIN EXCLUSIVE")
        (version,) = execute("PRAGMA user_version").fetchone()
        (mark,) = execute("PRAGMA application_id").fetchone()
        tables = [name for (name,) in execute("SELECT name FROM sqlite_master WHERE sql NOTNULL")]
        if mark != _APPLICATION and (mark or version or tables):
            raise UsageError(f"{self._name} is not tagger's: name another output")
        if restart:
            for table in tables:
                execute(f'DROP TABLE "{table}"')
            tables = []
        if not tables:
            for statement in _TABLES.strip().split(";\n"):
                execute(statement)
            execute(f"PRAGMA user_version = {FORMAT}")
            execute(f"PRAGMA application_id = {_APPLICATION}")
        elif version != FORMAT:
            raise UsageError(
                f"{self._name} is of another version of tagger (format {version}, this one "
                f"writes {FORMAT}): go on with that version, or pass --restart to do all again"
            )
        execute("DELETE FROM met")
        execute("COMMIT")

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
        with self._lock, self._reporting():
            self._database.execute(
                "INSERT OR IGNORE INTO made_with VALUES (?, ?, ?)", (what, name_of_it, shown)
            )
            was, name = self._database.execute(
                "SELECT digest, shown FROM made_with WHERE what = ?", (what,)
            ).fetchone()
        if was != name_of_it:
            raise UsageError(
                f"this output was begun with another {what} ({printable(name)}): name another "
                "output, or pass --restart to do all of it again"
            )

    def use(self, settings: dict[str, str | int]) -> list[str]:
        """Read and write rankings under these settings from now on.

        Returns:
            The names of the settings that have changed since rankings were last added; empty if
            there are rankings under these.

        """
        described = json.dumps(settings, sort_keys=True)
        with self._lock, self._reporting():
            execute = self._database.execute
            earlier = execute("SELECT described FROM settings ORDER BY number DESC").fetchone()
            execute("INSERT OR IGNORE INTO settings (described) VALUES (?)", (described,))
            self._settings = execute(
                "SELECT number FROM settings WHERE described = ?", (described,)
            ).fetchone()[0]
            known = execute(
                "SELECT 1 FROM ranking WHERE settings = ? LIMIT 1", (self._settings,)
            ).fetchone()
        if earlier is None or known:
            return []
        was = json.loads(earlier[0])
        return [name for name, value in settings.items() if was.get(name) != value]

    def meet(self, id_: str, place: str) -> tuple[str, int] | None:
        """Note an id. Return where it was met first and how often, if it was met before."""
        with self._lock, self._reporting():
            met: tuple[str, int] | None = self._database.execute(
                "UPDATE met SET copies = copies + 1 WHERE id = ? RETURNING place, copies", (id_,)
            ).fetchone()
            if met is None:
                self._database.execute("INSERT INTO met (id, place) VALUES (?, ?)", (id_, place))
            return met

    def forget_ids(self) -> None:
        """Forget which ids were met, to begin again at the first README."""
        with self._lock, self._reporting():
            self._database.execute("DELETE FROM met")

    def ranking(self, text: bytes) -> Ranking | None:
        """Return what is known of the README whose text has this digest."""
        with self._lock, self._reporting():
            row = self._database.execute(
                "SELECT tags FROM ranking WHERE text = ? AND settings = ?", (text, self._settings)
            ).fetchone()
        if row is None:
            return None
        return tuple(
            GivenTag(id=id_, name=name, confidence=confidence)
            for id_, name, confidence in json.loads(row[0])
        )

    def keep(self, text: bytes, ranking: Ranking) -> None:
        """Keep a ranking; it outlives the process from here on."""
        tags = json.dumps([(tag.id, tag.name, tag.confidence) for tag in ranking])
        with self._lock, self._reporting():
            self._database.execute(
                "INSERT OR REPLACE INTO ranking VALUES (?, ?, ?)", (text, self._settings, tags)
            )

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """Turn SQLite's errors into ours."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0)
            if code == sqlite3.SQLITE_NOTADB:
                raise UsageError(f"{self._name} is not tagger's: name another output") from error
            if code == sqlite3.SQLITE_CORRUPT:
                raise UsageError(
                    f"{self._name} is damaged: pass --restart to do all of it again"
                ) from error
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise UsageError(f"{self._name} is in use by another tagger batch") from error
            raise OutputError(
                f"cannot write {self._name}, where the batch keeps what it has done ({error}): "
                "make room or give leave to write, and run the same command again"
            ) from error
