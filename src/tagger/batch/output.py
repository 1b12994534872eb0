"""The output file of a batch, which an earlier run may have begun."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tagger._util.closing import Closing
from tagger._util.files import check_own_file, is_filled, is_still, reporting
from tagger._util.paths import real
from tagger._util.text import printable
from tagger.errors import OutputError, UsageError


@dataclass(frozen=True)
class Place:
    """The files of an output: what was asked for, its JSON lines, and what the batch remembers."""

    output: Path
    lines: Path
    state: Path

    @classmethod
    def of(cls, output: Path) -> Self:
        """Derive the names of the other two.

        Raises:
            OutputError: a folder goes by the name, or there is no folder for it.
            UsageError: a device or a link goes by the name.

        """
        if not output.parent.is_dir():
            raise OutputError(f"there is no folder {printable(str(output.parent))} to write into")
        if output.is_dir():
            raise OutputError(f"{printable(str(output))} is a folder: name a file in it")
        if output.exists() and not output.is_file():
            raise UsageError(f"{printable(str(output))} is not a regular file: name one")
        lines = output
        if output.suffix.lower() == ".parquet":
            lines = output.with_name(f"{output.name}.jsonl")
        for path in (output, lines):
            check_own_file(path)
        return cls(output, lines, lines.with_name(f"{lines.name}.state"))

    @property
    def is_table(self) -> bool:
        """Whether the lines are to be made a Parquet table at the end."""
        return self.output != self.lines

    @property
    def files(self) -> frozenset[Path]:
        """The files themselves, wherever links lead."""
        return frozenset(real(path) for path in (self.output, self.lines, self.state))

    def check_ours(self) -> None:
        """Refuse to go on with a file that no batch has begun.

        Raises:
            UsageError: there is such a file.

        """
        for path in (self.output, self.lines):
            if is_filled(path) and not is_filled(self.state):
                raise UsageError(
                    f"{printable(str(path))} already exists, but is perhaps not the output "
                    f"of a batch ({printable(self.state.name)} is missing): choose another output, "
                    "or delete it"
                )


class LinesFile(Closing):
    """Lines in a file, which keeps what an earlier run wrote as far as it is written again.

    Nothing is touched while the lines are the same; at the first other one, such as a torn last
    line or a failure that has been resolved, the file is cut there and goes on from there.

    Args:
        path: the file; made if it is not there.
        restart: forget what an earlier run wrote.

    Raises:
        OutputError: it cannot be opened for writing.
        UsageError: it is a link, or has other names.

    """

    def __init__(self, path: Path, *, restart: bool = False) -> None:
        check_own_file(path)
        self._path = path
        self._name = printable(str(path))
        self._end = 0
        self._ahead = True
        """Whether lines of an earlier run may lie ahead."""
        with reporting(self._name):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
            self._file = os.fdopen(os.open(path, flags, 0o666), "r+b")
            if restart:
                self._file.truncate()

    def close(self) -> None:
        """Close the file. Raises `OutputError`."""
        with reporting(self._name):
            self._file.close()

    def write(self, line: str) -> None:
        """Write a line, or find it there, so that whoever watches can read it at once.

        Raises:
            OutputError: it cannot be written.

        """
        data = line.encode() + b"\n"
        with reporting(self._name):
            if self._ahead and self._file.read(len(data)) != data:
                self._cut()
            if not self._ahead:
                self._file.write(data)
                self._file.flush()
        self._end += len(data)

    def finish(self) -> int:
        """Cut off what is left of an earlier run, and have it all on disk.

        Returns:
            How many lines of the earlier run that were.

        Raises:
            OutputError: it cannot be written, or was removed.

        """
        with reporting(self._name):
            left = self._cut() if self._ahead else 0
            self._file.flush()
            os.fsync(self._file.fileno())
        if not is_still(self._path, os.fstat(self._file.fileno())):
            raise OutputError(
                f"{self._name} was removed or replaced while it was being written: run the same "
                "command again"
            )
        return left

    def _cut(self) -> int:
        """Cut the file where the new lines end; return how many lines that takes away."""
        self._file.seek(self._end)
        lines = sum(1 for _ in self._file)
        self._file.seek(self._end)
        self._file.truncate()
        self._ahead = False
        return lines
