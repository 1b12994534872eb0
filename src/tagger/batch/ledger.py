"""What a batch remembers: every ranking it has computed, and every id it has met.

It lives in an SQLite file beside the output, so that a batch of any size takes no more memory than
a small one, and one that was killed goes on where it was. A ranking is kept under the digest of
the README's text and of everything else it depends on, so that none is ever used for another.

The file may have been damaged, or may have come with somebody else's folder. So it is used only if
its tables are exactly those below, and a row only if it carries the right seal, a checksum.
"""

import hashlib
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tagger._util.files import check_own_file, is_still, reporting
from tagger._util.hashing import digest
from tagger._util.text import printable
from tagger.errors import OutputError, UsageError
from tagger.tagging import GivenTag, Ranking

FORMAT = 2
"""Raised whenever the tables below change: a ledger of another format is refused."""

_APPLICATION = 0x7A66E2
"""Marks the file as a ledger of ours, as SQLite's `application_id` is meant to."""

_TABLES = """
CREATE TABLE made_with (
    what TEXT PRIMARY KEY, digest TEXT NOT NULL, shown TEXT NOT NULL, seal BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE settings (number INTEGER PRIMARY KEY, described TEXT NOT NULL UNIQUE);
CREATE TABLE ranking (
    text BLOB, settings INTEGER, tags TEXT NOT NULL, seal BLOB NOT NULL,
    PRIMARY KEY (text, settings)
) WITHOUT ROWID;
CREATE TABLE met (
    id TEXT PRIMARY KEY, place TEXT NOT NULL, copies INTEGER NOT NULL DEFAULT 1
) WITHOUT ROWID;
"""

_MAGIC = b"SQLite format 3\0"
_SMALLEST = 512
"""Bytes of the smallest SQLite database."""

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

log = logging.getLogger(__name__)


class _UnusableError(UsageError):
    """A ledger of ours that has to be begun again."""


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
        self._path = path
        self._name = printable(str(path)) if path else "a temporary file"
        self._lock = threading.Lock()
        if path:
            for file in _files(path):
                check_own_file(file)
            if restart:
                self._remove(path)
        with self._reporting():
            self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock, closing(self._database), self._reporting():
            self._put_back()

    def _open(self) -> None:
        path = self._path
        new = path is not None and not _size(path)
        if path and not new and os.path.lexists(f"{path}-journal"):
            # SQLite would obey it, even where it names files to remove; we never leave one.
            raise sqlite3.DatabaseError("a rollback journal lies beside it")
        self._database = sqlite3.connect(
            path or "", timeout=0.5, isolation_level=None, check_same_thread=False
        )
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
        execute("PRAGMA synchronous = NORMAL")
        execute("BEGIN EXCLUSIVE")
        (version,) = execute("PRAGMA user_version").fetchone()
        (mark,) = execute("PRAGMA application_id").fetchone()
        schema = _schema(self._database)
        if not (mark or version or schema):
            for statement in _statements():
                execute(statement)
            execute(f"PRAGMA user_version = {FORMAT}")
            execute(f"PRAGMA application_id = {_APPLICATION}")
            execute("COMMIT")
            execute("PRAGMA wal_checkpoint")  # so that the file itself shows whose it is
            return
        if mark != _APPLICATION:
            raise sqlite3.DatabaseError("another program's, or its mark is damaged")
        if version != FORMAT:
            raise _UnusableError(
                f"{self._name} is of another version of tagger (format {version}, this one "
                f"writes {FORMAT}): go on with that version, or pass --restart to do all of it "
                "again"
            )
        with closing(sqlite3.connect("")) as model:
            for statement in _statements():
                model.execute(statement)
            if schema != _schema(model):
                raise sqlite3.DatabaseError("its tables are not ours")
        execute("DELETE FROM met")
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

    def _put_back(self) -> None:
        """Write the file again if somebody has removed it: else nobody could go on."""
        if self._path is None or self._opened is None or is_still(self._path, self._opened):
            return
        if self._path.exists():
            raise OutputError(
                f"{self._name} was replaced while the batch ran, perhaps by another batch: run "
                "the same command again"
            )
        with closing(sqlite3.connect(self._path)) as copy:
            self._database.backup(copy)
        log.warning("%s was removed while the batch ran, and has been written again", self._name)

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
        seal = _seal(what, name_of_it, shown)
        with self._lock, self._reporting():
            self._database.execute(
                "INSERT OR IGNORE INTO made_with VALUES (?, ?, ?, ?)",
                (what, name_of_it, shown, seal),
            )
            was, name, sealed = self._one(
                "SELECT digest, shown, seal FROM made_with WHERE what = ?", what
            )
            if sealed != _seal(what, was, name):
                raise sqlite3.DatabaseError("a row of made_with has another seal")
        if was != name_of_it:
            raise UsageError(
                f"this output was begun with another {what} ({printable(name)}): name another "
                "output, or pass --restart to do all of it again"
            )

    def use(
        self, settings: dict[str, str | int], tags: Collection[tuple[int | str, str]] | None = None
    ) -> list[str]:
        """Read and write rankings under these settings from now on.

        Args:
            settings: everything that a ranking depends on beside the README.
            tags: id and name of those that a ranking may hold; None takes any.

        Returns:
            The names of the settings that have changed since rankings were last added; empty if
            there are rankings under these.

        Raises:
            UsageError: the file is damaged.
            OutputError: it cannot be written.

        """
        self._described = json.dumps(settings, sort_keys=True)
        self._tags = None if tags is None else frozenset(tags)
        with self._lock, self._reporting():
            execute = self._database.execute
            earlier = execute("SELECT described FROM settings ORDER BY number DESC").fetchone()
            execute("INSERT OR IGNORE INTO settings (described) VALUES (?)", (self._described,))
            (self._settings,) = self._one(
                "SELECT number FROM settings WHERE described = ?", self._described
            )
            known = execute(
                "SELECT 1 FROM ranking WHERE settings = ? LIMIT 1", (self._settings,)
            ).fetchone()
            if earlier is None or known:
                return []
            with _judging():
                was = dict(json.loads(earlier[0]))
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
        """Return what is known of the README that has this digest.

        Raises:
            UsageError: the file is damaged.

        """
        with self._lock, self._reporting():
            row = self._database.execute(
                "SELECT tags, seal FROM ranking WHERE text = ? AND settings = ?",
                (text, self._settings),
            ).fetchone()
            if row is None:
                return None
            tags, seal = row
            if seal != _seal(text, self._described, tags):
                raise sqlite3.DatabaseError("a ranking has another seal")
            with _judging():
                ranking = tuple(
                    GivenTag(id=id_, name=name, confidence=confidence)
                    for id_, name, confidence in json.loads(tags)
                )
            if self._tags is not None and any(
                (tag.id, tag.name) not in self._tags for tag in ranking
            ):
                raise sqlite3.DatabaseError("a ranking holds a tag of another vocabulary")
            return ranking

    def keep(self, text: bytes, ranking: Ranking) -> None:
        """Keep a ranking; it outlives the process from here on."""
        tags = json.dumps([(tag.id, tag.name, tag.confidence) for tag in ranking])
        with self._lock, self._reporting():
            self._database.execute(
                "INSERT OR REPLACE INTO ranking VALUES (?, ?, ?, ?)",
                (text, self._settings, tags, _seal(text, self._described, tags)),
            )

    def _one(self, query: str, value: str) -> tuple[Any, ...]:
        """Return the row that must be there."""
        row: tuple[Any, ...] | None = self._database.execute(query, (value,)).fetchone()
        if row is None:
            raise sqlite3.DatabaseError("a row cannot be found that was written")
        return row

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """Turn SQLite's errors into ours."""
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter in a damaged schema
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest says more of the same
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise UsageError(f"{self._name} is in use by another tagger batch") from error
            path = self._path
            if path is None or (
                code in _CANNOT_WRITE
                # A damaged header can make SQLite take the file for a read-only one.
                and not (code == sqlite3.SQLITE_READONLY and os.access(path, os.W_OK))
            ):
                raise OutputError(
                    f"cannot write {self._name}, where the batch keeps what it has done "
                    f"({error}): make room or give leave to write, and run the same command again"
                ) from error
            if not _is_ours(path):
                raise UsageError(
                    f"{self._name} is not tagger's: name another output, or remove it"
                ) from error
            raise _UnusableError(
                f"{self._name} is damaged: pass --restart to do all of it again"
            ) from error


def _files(path: Path) -> list[Path]:
    """Return all the files that SQLite may read or write for a database."""
    return [path, *(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal"))]


def _size(path: Path) -> int:
    """Return a file's size in bytes, 0 if it is not there; opening it tells of other trouble."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _statements() -> list[str]:
    return _TABLES.strip().split(";\n")


def _schema(database: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """Return all that a database is made of: tables, indices, views and triggers."""
    return sorted(
        database.execute("SELECT name, type, tbl_name, sql FROM sqlite_master").fetchall(), key=str
    )


def _seal(*values: object) -> bytes:
    """Return a checksum of a row. It tells damage, not forgery."""
    return hashlib.sha256(repr(values).encode("utf-8", "surrogatepass")).digest()[:8]


@contextmanager
def _judging() -> Iterator[None]:
    """Turn whatever is wrong with values of the file into SQLite's error for damage."""
    try:
        yield
    except (ValueError, TypeError, RecursionError) as error:
        raise sqlite3.DatabaseError("a row does not hold what it should") from error


def _is_ours(path: Path) -> bool:
    """Say whether a file that cannot be used is, or was, a ledger.

    Any of its marks will do, since any of them may be what is damaged. So will a piece too small
    for a database, of which nobody could make use.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if len(head) < _SMALLEST:
        return head.startswith(_MAGIC) or _MAGIC.startswith(head)
    mark = int.from_bytes(head[68:72], "big")
    return mark == _APPLICATION or _statements()[0].encode() in head
