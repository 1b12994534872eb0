"""Where many READMEs come from: folders, files, JSON Lines and Parquet.

A source is walked without reading the READMEs in it; each `Item` knows how to read its own. What
is wrong with one README is raised when that one is read, so that the others are not lost.
"""

import json
import logging
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath
from typing import BinaryIO, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from tagger._util.paths import real
from tagger._util.text import printable, storable
from tagger.errors import InputError, ReadmeError, UsageError
from tagger.readme import parquet
from tagger.readme.readme import MAX_BYTES, STDIN, Readme

MARKUP = ("md", "markdown", "mdown", "mkd", "rst", "adoc", "asciidoc", "org", "txt")
"""Endings of the usual README names, beside none at all."""

MAX_LINE = 8 * 1024 * 1024
"""Bytes of a JSON line; a longer one is skipped unread and reported. At worst, one of this length
takes 250 MB once it is parsed."""

MAX_ID = 4096
"""Characters of an id in a dump, as many as a path may have bytes."""

IdFrom = Literal["relative", "path", "stem", "parent"]
"""What names a README of a folder: its path within the folder, its whole path, its file name
without the ending, or the name of the folder that holds it."""


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Item:
    """One README that was found.

    Attributes:
        id: what its row will be called.
        place: where it was found, for messages.
        read: reads it; raises ReadmeError.
        sound: false where finding it already showed that it cannot be read.

    """

    id: str
    place: str
    read: Callable[[], Readme]
    sound: bool = True


class _Named(BaseModel):
    """How sources were named."""

    model_config = ConfigDict(extra="forbid", strict=True)

    paths: tuple[str, ...]
    globs: tuple[str, ...]
    id_from: IdFrom
    id_field: str
    readme_field: str
    follow_links: bool
    folder: str


@dataclass(frozen=True)
class Sources:
    """Sources in the order they were named; iterating yields an `Item` for each README.

    Attributes:
        paths: folders, README files, `.jsonl` or `.parquet` files, or `-` for JSON Lines on
            standard input.
        globs: names to look for in folders; none means the usual README names.
        id_from: what names the READMEs of folders; files given by name keep their path.
        id_field: the field or column that holds the id.
        readme_field: the field or column that holds the README.
        own: files that are never taken for READMEs, such as the output.
        follow_links: read links to files that lead out of the folder they lie in; they are left
            out otherwise, with a warning.
        folder: what relative paths are relative to; None is the current folder.

    Raises:
        InputError: a source that is not there, or not what it is called.

    """

    paths: tuple[str, ...]
    globs: tuple[str, ...] = ()
    id_from: IdFrom = "relative"
    id_field: str = "id"
    readme_field: str = "readme"
    own: frozenset[Path] = frozenset()
    follow_links: bool = False
    folder: Path | None = None
    _warned: set[str] = field(default_factory=set, init=False, repr=False, compare=False)
    """Folders of whose links a warning has been given."""

    def __post_init__(self) -> None:
        if self.paths.count(STDIN) > 1:
            raise UsageError("- (standard input) can be read only once")
        for path in self.paths:
            if path == STDIN:
                continue
            try:
                mode = self.located(path).stat().st_mode
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise InputError(f"{printable(path)}: {reason}") from error
            if real(self.located(path)) in self.own:
                raise UsageError(f"{printable(path)} is both read and written: name another output")
            if stat.S_ISREG(mode) and _ending(path) == "parquet":
                parquet.check(str(self.located(path)), self.id_field, self.readme_field)

    def located(self, path: str) -> Path:
        """Return where one of the paths leads from the current folder."""
        return Path(path) if self.folder is None else self.folder / path

    def to_json(self, beside: Path) -> str:
        """Return how the sources were named, for `from_json`.

        Args:
            beside: a folder to which they are put in relation, so that they are found from any
                other one, also after both were moved.

        """
        said = {name: getattr(self, name) for name in _Named.model_fields}
        relative = any(path != STDIN and not Path(path).is_absolute() for path in self.paths)
        here = real(self.folder or Path.cwd())
        said["folder"] = os.path.relpath(here, real(beside)) if relative else ""
        return json.dumps(said, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, beside: Path) -> Self:
        """Return sources by what `to_json` has written.

        Args:
            text: what it has written.
            beside: the same folder, wherever it is now.

        Raises:
            ValueError: it is something else.
            InputError: a source is not there any more.

        """
        try:
            said = _Named.model_validate_json(text)
        except ValidationError as error:
            raise ValueError("not sources") from error
        return cls(**said.model_dump(exclude={"folder"}), folder=real(beside) / said.folder)

    @property
    def rereadable(self) -> bool:
        """Whether the sources can be walked twice: no pipe is among them."""
        return all(path != STDIN and _is_lasting(self.located(path)) for path in self.paths)

    def __iter__(self) -> Iterator[Item]:
        for path in self.paths:
            if path == STDIN:
                yield from self._standard_input()
            elif self.located(path).is_dir():
                yield from self._folder(path)
            elif _ending(path) == "jsonl":
                yield from self._json_lines_of(path)
            elif _ending(path) == "parquet":
                yield from self._parquet(path)
            else:
                id_, found = storable(path), str(self.located(path))
                yield Item(id_, printable(found), partial(Readme.read, found, id_))

    def readable(self, failures: list[ReadmeError]) -> Iterator[Readme]:
        """Yield the READMEs that can be read; errors of the others go into a list."""
        for item in self:
            try:
                yield item.read()
            except ReadmeError as error:
                failures.append(error)

    def nothing_found(self) -> InputError:
        """Return the error for sources without a README."""
        names = ", ".join(map(printable, self.paths))
        if any(path != STDIN and self.located(path).is_dir() for path in self.paths):
            looked = " or ".join(self.globs) or "README, README.md and the like"
            return InputError(
                f"no READMEs in {names}: looked for {looked}; try a glob such as '*.md'"
            )
        return InputError(f"no READMEs in {names}")

    def _folder(self, folder: str) -> Iterator[Item]:
        outside: list[Path] = []
        located = self.located(folder)
        home = real(located)
        for path in _files(str(located)):
            if isinstance(path, Item):
                yield path
            elif not self._wanted(path.relative_to(located)) or real(path) in self.own:
                continue
            elif not self.follow_links and not real(path).is_relative_to(home):
                outside.append(path)
            else:
                id_ = storable(self._id(path, Path(folder), path.relative_to(located)))
                yield Item(id_, printable(str(path)), partial(_read_found, path, id_))
        if outside and folder not in self._warned:
            self._warned.add(folder)
            log.warning(
                "links that lead out of %s are not followed: %d, the first: %s",
                printable(folder),
                len(outside),
                printable(str(outside[0])),
            )

    def _wanted(self, relative: Path) -> bool:
        if self.globs:
            return any(relative.match(glob) for glob in self.globs)
        stem, dot, ending = relative.name.lower().partition(".")
        return stem == "readme" and (not dot or ending in MARKUP)

    def _id(self, path: Path, folder: Path, relative: Path) -> str:
        if self.id_from == "parent":
            return path.parent.resolve().name
        if self.id_from == "stem":
            return path.stem
        return str(folder / relative if self.id_from == "path" else relative)

    def _standard_input(self) -> Iterator[Item]:
        if sys.stdin is None:
            raise InputError("standard input: is closed")
        # A file of its own: Python could not end while a thread waits with the lock of sys.stdin.
        with open(0, "rb", closefd=False) as file:
            yield from self._json_lines(file, STDIN, "standard input")

    def _json_lines_of(self, path: str) -> Iterator[Item]:
        try:
            with self.located(path).open("rb") as file:
                yield from self._json_lines(file, storable(path), printable(path))
        except OSError as error:
            raise InputError(f"{printable(path)}: {error.strerror}") from error

    def _json_lines(self, file: BinaryIO, name: str, source: str) -> Iterator[Item]:
        number = 0
        while line := file.readline(MAX_LINE):
            number += 1
            place, fallback = f"{source}, line {number}", f"{name}:{number}"
            if len(line) == MAX_LINE and not line.endswith(b"\n"):
                while (rest := file.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                    pass
                yield _faulty(fallback, place, f"is longer than {MAX_LINE:,} bytes")
            elif line.strip():
                yield self._row(_json(line), fallback, place)

    def _row(self, row: object, fallback: str, place: str) -> Item:
        """Return the item of a row, which is a dictionary or else the reason why it is none."""
        if not isinstance(row, dict):
            return _faulty(fallback, place, str(row))
        id_, text = row.get(self.id_field), row.get(self.readme_field)
        if self.id_field not in row:
            return _faulty(fallback, place, f"has no id field {self.id_field!r}")
        if isinstance(id_, bool) or not isinstance(id_, str | int):
            reason = f"the field {self.id_field!r} is neither text nor a whole number"
            return _faulty(fallback, place, reason)
        name = storable(str(id_))
        if len(name) > MAX_ID:
            reason = f"the field {self.id_field!r} is longer than {MAX_ID:,} characters"
            return _faulty(fallback, place, reason)
        if not name.strip():
            return _faulty(fallback, place, f"the field {self.id_field!r} is empty")
        if self.readme_field not in row:
            reason = f"has no README field {self.readme_field!r}"
            return _faulty(name, place, reason)
        if not isinstance(text, str):
            return _faulty(name, place, f"the field {self.readme_field!r} is not text")
        return Item(name, place, partial(Readme.from_text, text, name, place))

    def _parquet(self, path: str) -> Iterator[Item]:
        # A little more than is read of a README, so that it is seen where there is more.
        columns = [self.id_field, self.readme_field]
        rows = parquet.read(str(self.located(path)), columns, MAX_BYTES + 4)
        for number, row in enumerate(rows, start=1):
            place = f"{printable(path)}, row {number}"
            yield self._row(row, f"{storable(path)}:{number}", place)


def _ending(path: str) -> str:
    ending = PurePath(path).suffix.lower()
    return {".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}.get(ending, "")


def _is_lasting(path: Path) -> bool:
    return path.is_dir() or path.is_file()


def _read_found(path: Path, id_: str) -> Readme:
    """Read a file that a walk has met; unlike a pipe given by name, one met there is passed by."""
    try:
        special = not stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        raise ReadmeError(f"{printable(str(path))}: {error.strerror}") from error
    if special:
        raise ReadmeError(f"{printable(str(path))}: is not a file but a device or a pipe")
    return Readme.read(path, id_)


def _faulty(id_: str, place: str, reason: str) -> Item:
    def read() -> Readme:
        raise ReadmeError(f"{place}: {printable(reason)}")

    return Item(id_, place, read, sound=False)


def _files(folder: str) -> Iterator[Path | Item]:
    """Yield the files of a folder, sorted, then those of the folders in it; no recursion.

    A folder that cannot be listed is an item that says so when it is read. Links to folders are not
    followed: they may lead around in a circle.
    """
    waiting = [folder]
    while waiting:
        parent = waiting.pop()
        try:
            with os.scandir(parent) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            reason = f"cannot list this folder: {error.strerror}"
            yield _faulty(storable(parent), printable(parent), reason)
            continue
        folders: list[str] = []
        for entry in found:
            if not _is_folder(entry):
                yield Path(parent, entry.name)
            elif not entry.is_symlink():
                folders.append(entry.path)
        waiting += reversed(folders)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _json(line: bytes) -> object:
    """Return a line's object, or the reason why it has none."""
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return "is not UTF-8"
    except RecursionError:
        return "is JSON nested too deeply"
    except json.JSONDecodeError as error:
        return f"is not JSON from character {error.pos + 1} on: correct the line"
    except ValueError:
        return "holds a number that is too long"
    return row if isinstance(row, dict) else "is not a JSON object"
