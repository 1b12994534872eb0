"""A README: its id, its text and where it came from."""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO, Self

from tagger._util.text import printable, storable
from tagger.errors import ReadmeError
from tagger.readme.cleaning import Markup, markup_of
from tagger.readme.decode import decode
from tagger.readme.worker import worker

MAX_BYTES = 128 * 1024
"""What is read of a file. The token budget is spent long before; the rest stays unread."""

STDIN = "-"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Readme:
    """One README.

    Attributes:
        id: what the reply calls it.
        text: the text as it was found, at most its first `MAX_BYTES` bytes.
        source: where it came from, for messages.

    """

    id: str
    text: str
    source: str = "text"

    @classmethod
    def read(cls, path: str | Path, id: str | None = None) -> Self:  # noqa: A002
        """Read a README from a file, or from standard input for `-`.

        Args:
            path: the file, or `-`.
            id: what the reply is to call it; the path by default.

        Raises:
            ReadmeError: missing, a folder, unreadable, empty, binary, or in no known encoding.

        """
        if not str(path):
            raise ReadmeError("an empty file name; name a README")
        source = "standard input" if str(path) == STDIN else printable(str(path))
        try:
            if str(path) == STDIN:
                if sys.stdin is None:
                    raise ReadmeError("standard input: is closed")
                data = _head(sys.stdin.buffer)
            else:
                with Path(path).open("rb") as file:
                    data = _head(file)
        except FileNotFoundError as error:
            raise ReadmeError(f"{source}: no such file: check the path") from error
        except IsADirectoryError as error:
            raise ReadmeError(f"{source}: is a folder; name the README file in it") from error
        except OSError as error:
            raise ReadmeError(f"{source}: {error.strerror}") from error
        except ValueError as error:  # a path that holds a NUL
            raise ReadmeError(f"{source}: not a file name ({error})") from error
        name = storable(str(path)) if id is None else id
        return cls(id=name, text=_decode(data, source), source=source)

    @classmethod
    def from_text(cls, text: str, id: str, source: str) -> Self:  # noqa: A002
        """Take a text that was found elsewhere for a README, and as much of it as of a file.

        Raises:
            ReadmeError: empty or binary.

        """
        data = text[:MAX_BYTES].encode("utf-8", "replace")[:MAX_BYTES]
        read = data.decode("utf-8-sig", "ignore")
        if "\0" in read:
            raise ReadmeError(f"{source}: has zero characters, so it is binary and no README")
        return cls(id=id, text=_filled(read, source), source=source)

    @property
    def markup(self) -> Markup:
        """How the text is marked up: Markdown, unless the source's name says otherwise."""
        return markup_of(self._suffix)

    @property
    def plain_text(self) -> str:
        """The text without markup, as the model reads it.

        Markdown, unless the source's name says otherwise. A process of its own makes it, with
        limits on time and memory.

        Raises:
            ReadmeError: it takes too much of either, or is too odd for its parser.

        """
        try:
            return worker.clean(self.text[:MAX_BYTES], self._suffix)
        except ReadmeError as error:
            raise ReadmeError(f"{self.source}: {error}") from error

    @property
    def _suffix(self) -> str:
        return PurePath(self.source).suffix.lower()


def _head(file: BinaryIO) -> bytes:
    """Read up to `MAX_BYTES`, also from a pipe that delivers less at a time."""
    chunks = []
    left = MAX_BYTES
    while left and (chunk := file.read(left)):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)


def _decode(data: bytes, source: str) -> str:
    """Return bytes as text; a character cut in two at `MAX_BYTES` is left out."""
    text, encoding = decode(data, source, whole=len(data) < MAX_BYTES)
    if encoding != "utf-8":
        log.info("%s: is not UTF-8, and is read as %s", source, encoding)
    return _filled(text, source)


def _filled(text: str, source: str) -> str:
    """Return a text, if there is one."""
    if not text.strip():
        raise ReadmeError(f"{source}: is empty; there is nothing to tag")
    return text
