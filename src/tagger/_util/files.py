"""Writing files: whole or not at all, through no link, and with errors that say what to do."""

import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tagger._util.text import printable
from tagger.errors import OutputError, UsageError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new, empty file beside `path` that takes its place at the end, unless anything fails.

    A link that goes by the name `path` is replaced, never followed. The new file's name cannot be
    foreseen and it did not exist before, so no link can lie in wait for it either. Its permissions
    are those that the user's umask gives to new files.

    Raises:
        OSError: the folder cannot be written. Whatever `path` was is then as it was.

    """
    part = path.with_name(f".tagger-{secrets.token_hex(8)}.part")
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Write a file that is either whole or not there, whoever else writes it.

    Raises:
        OSError: the folder cannot be written.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def check_own_file(path: Path, remedy: str = "") -> None:
    """Make sure that what is written to `path` changes no file of another name.

    Links can come with a clone or an archive. Links among the folders above the file are the
    user's own choice.

    Args:
        path: the file.
        remedy: what people are to do about a link, where the file is not one that they have named.

    Raises:
        UsageError: a symbolic link goes by the name, or a file that has other names as well.

    """
    name = printable(str(path))
    try:
        found = path.lstat()
    except OSError:  # not there, or opening it will tell
        return
    if stat.S_ISLNK(found.st_mode):
        remedy = remedy or "name the file that it leads to, or remove the link"
        raise UsageError(f"{name} is a symbolic link: {remedy}")
    if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
        raise UsageError(
            f"{name} has other hard links, and writing to it would change those files too: "
            f"{remedy or 'name another output, or remove it'}"
        )


def is_still(path: Path, opened: os.stat_result) -> bool:
    """Say whether a path names the file that was opened by it."""
    try:
        return os.path.samestat(path.lstat(), opened)
    except OSError:
        return False


def check_target(path: Path, ours: Callable[[], bool], what: str) -> None:
    """Make sure, before anything is computed, that a file can be written.

    Args:
        path: the file.
        ours: says of a file that is there whether it is one that may be overwritten.
        what: what such a file is, for people.

    Raises:
        OutputError: it cannot be written.
        UsageError: there is another file.

    """
    name = printable(str(path))
    with reporting(name):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder: name a file in it")
        # A pipe or a device would be read without end.
        if name == "-" or (path.exists() and not path.is_file()):
            raise UsageError(f"{name} is not a regular file: name a regular file")
        if not path.exists():
            with tempfile.TemporaryFile(dir=path.parent):
                return
        if path.stat().st_size and not ours():
            raise UsageError(
                f"{name}: is not a {what}, so it is not overwritten: choose another file"
            )


@contextmanager
def reporting(name: str) -> Iterator[None]:
    """Turn errors of writing to `name` into ours; a reader that went away is none."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = "; make room and run the same command again" if full else ""
        raise OutputError(f"cannot write {name}: {error.strerror or error}{remedy}") from error


def is_filled(path: Path) -> bool:
    """Say whether a file is there and not empty, as a crash or a full disk may leave one."""
    return path.is_file() and path.stat().st_size > 0
