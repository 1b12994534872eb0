"""An SQLite file that nobody is trusted with.

It may have been damaged, or may have come with somebody else's folder. So it is used only if its
tables are exactly those that are asked for, and only one process at a time uses it.
"""

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tagger._util.files import check_own_file, is_still, reporting
from tagger._util.text import printable
from tagger.errors import OutputError, UsageError

_MAGIC = b"SQLite format 3\0"
_SMALLEST = 512
"""Bytes of the smallest SQLite database."""

_LONGEST = 64 * 1024 * 1024
"""Bytes of the longest value that is read or written: what is longer was not written here."""

_HEAD = 64 * 1024
"""Bytes of a damaged file in which its marks are looked for."""

_CANNOT_WRITE = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}
"""What is the disk's fault, or the folder's. Every other error of SQLite is the file's content."""

RESTART = "start over with --restart"
"""What to do about a file that cannot be used."""

log = logging.getLogger(__name__)


class InUseError(UsageError):
    """Another process has the file."""


class _UnusableError(UsageError):
    """A ledger of ours that has to be begun again."""


class StateFile:
    """A database with given tables; safe to use from several threads.

    Args:
        path: its file; None keeps it in a temporary one that goes with the process.
        tables: the statements that make its tables, each ended by `;` and a line break.
        application: marks the file as ours, as SQLite's `application_id` is meant to.
        version: of the tables.
        restart: forget what it holds, also what another version wrote.
        remedy: what people are to do about a file that cannot be used.
        foreign: what they are to do about one that is not ours, or a link.
        user: what may have the file at the moment.
        durable: whether what is written outlives a power failure, and not only the process.

    Raises:
        OutputError: the file cannot be written.
        UsageError: the file is something else, damaged, of another version, or in use.
        InUseError: it is in use.

    """

    def __init__(
        self,
        path: Path | None,
        tables: str,
        application: int,
        version: int,
        *,
        restart: bool,
        remedy: str = RESTART,
        foreign: str = "",
        user: str = "another tagger batch",
        durable: bool = False,
    ) -> None:
        self._path = path
        self._user = user
        self._durable = durable
        self._remedy = remedy
        self._foreign = foreign
        self._statements = tables.strip().split(";\n")
        self._application = application
        self._version = version
        self._name = printable(str(path)) if path else "a temporary file"
        self._lock = threading.RLock()
        self._made = path is not None and not os.path.lexists(path)
        if path:
            for file in _files(path):
                check_own_file(file, foreign)
            if restart:
                self._remove(path)
        with self._reporting():
            self._open()

    @contextmanager
    def using(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to one thread at a time; SQLite's errors become ours."""
        with self._lock, self._reporting():
            yield self._database

    @property
    def name(self) -> str:
        """What messages call the file."""
        return self._name

    def damaged(self) -> UsageError:
        """Return the error for content that cannot be right."""
        return _UnusableError(f"{self._name} is damaged: {self._remedy}")

    def check_place(self) -> None:
        """Write the file again if somebody has removed it, and go on with that.

        Raises:
            OutputError: it cannot be written, or there is another one in its place.

        """
        with self._lock, self._reporting():
            if self._put_back():
                self._database.close()
                self._open()

    def close(self) -> None:
        """Close the file, and write it again if somebody has removed it."""
        with self._lock, closing(self._database), self._reporting():
            self._put_back()

    def discard(self) -> None:
        """Close the file, and remove it unless it was there before."""
        with self._lock:
            self._database.close()
            if self._made and self._path and self._opened and is_still(self._path, self._opened):
                with reporting(self._name):
                    self._path.unlink()

    def _open(self) -> None:
        path = self._path
        new = path is not None and not _size(path)
        if path and not new and os.path.lexists(f"{path}-journal"):
            # SQLite would obey it, even where it names files to remove; we never leave one.
            raise sqlite3.DatabaseError("a rollback journal lies beside it")
        self._database = sqlite3.connect(
            path or "", timeout=0.5, isolation_level=None, check_same_thread=False
        )
        self._database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
        try:
            self._prepare(new=new)
            self._opened = path.lstat() if path else None
        except BaseException:
            self._database.close()
            raise

    def _prepare(self, *, new: bool) -> None:
        """Make the tables of a new file; refuse one that is not as we make them."""
        execute = self._database.execute
        execute("PRAGMA trusted_schema = OFF")
        # Held until the process ends, however it ends: a second batch is kept out.
        execute("PRAGMA locking_mode = EXCLUSIVE")
        if new:
            execute("PRAGMA journal_mode = OFF")  # no journal is left if it ends here
        execute("PRAGMA journal_mode = WAL")
        execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
        execute("BEGIN EXCLUSIVE")
        (version,) = execute("PRAGMA user_version").fetchone()
        (mark,) = execute("PRAGMA application_id").fetchone()
        schema = _schema(self._database)
        if not (mark or version or schema):
            for statement in self._statements:
                execute(statement)
            execute(f"PRAGMA user_version = {self._version}")
            execute(f"PRAGMA application_id = {self._application}")
            execute("COMMIT")
            execute("PRAGMA wal_checkpoint")  # so that the file itself shows whose it is
            return
        if mark != self._application:
            raise sqlite3.DatabaseError("another program's, or its mark is damaged")
        if version != self._version:
            raise _UnusableError(
                f"{self._name} was written by another version of tagger (format {version}, "
                f"not {self._version}): use that version, or {self._remedy}"
            )
        with closing(sqlite3.connect("")) as model:
            for statement in self._statements:
                model.execute(statement)
            if schema != _schema(model):
                raise sqlite3.DatabaseError("its tables are not ours")
        execute("COMMIT")

    def _remove(self, path: Path) -> None:
        """Remove the file, unless it is somebody else's or in use."""
        if not _size(path):
            return
        try:
            with self._reporting():
                self._open()
            self._database.close()
        except _UnusableError as error:
            log.debug("%s cannot be used and is begun again", self._name, exc_info=error)
        with reporting(self._name):
            for file in _files(path):
                file.unlink(missing_ok=True)

    def _put_back(self) -> bool:
        """Write the file again if somebody has removed it: else nobody could go on.

        Returns:
            Whether that was so.

        """
        if self._path is None or self._opened is None or is_still(self._path, self._opened):
            return False
        if os.path.lexists(self._path):
            raise OutputError(
                f"{self._name} was replaced by another file while it was in use, and what was "
                "written since is lost: run the same command again"
            )
        with closing(sqlite3.connect(self._path)) as copy:
            self._database.backup(copy)
        log.warning("%s was removed while it was in use, and has been written again", self._name)
        return True

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """Turn SQLite's errors into ours."""
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter in a damaged schema
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest says more of the same
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise InUseError(f"{self._name} is in use by {self._user}") from error
            path = self._path
            if path is None or (
                code in _CANNOT_WRITE
                # A damaged header can make SQLite take the file for a read-only one.
                and not (code == sqlite3.SQLITE_READONLY and os.access(path, os.W_OK))
            ):
                raise OutputError(
                    f"cannot write {self._name}, where tagger keeps its progress "
                    f"({error}): make room or check its permissions, and run the same command again"
                ) from error
            if not self._is_ours(path):
                remedy = self._foreign or "choose another output, or delete it"
                raise UsageError(f"{self._name} is not a tagger file: {remedy}") from error
            raise self.damaged() from error

    def _is_ours(self, path: Path) -> bool:
        """Say whether a file that cannot be used is, or was, a ledger.

        Any of its marks will do, since any of them may be what is damaged. So will a piece too
        small for a database, of which nobody could make use.
        """
        with path.open("rb") as file:
            head = file.read(_HEAD)
        if len(head) < _SMALLEST:
            return head.startswith(_MAGIC) or _MAGIC.startswith(head)
        mark = int.from_bytes(head[68:72], "big")
        return mark == self._application or self._statements[0].encode() in head


def _files(path: Path) -> list[Path]:
    """Return all the files that SQLite may read or write for a database."""
    return [path, *(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal"))]


def _size(path: Path) -> int:
    """Return a file's size in bytes, 0 if it is not there; opening it tells of other trouble."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _schema(database: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """Return all that a database is made of: tables, indices, views and triggers."""
    return sorted(
        database.execute("SELECT name, type, tbl_name, sql FROM sqlite_master").fetchall(), key=str
    )
