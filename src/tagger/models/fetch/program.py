"""Programs that work for this one: they show how far they are, and end when it does."""

import errno
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")

Show = Callable[[int, int], None]
"""Shows that so many bytes of so many are done."""


def run(
    command: Sequence[object], environment: Mapping[str, str], scratch: Path, show: Show
) -> tuple[int, str]:
    """Run a Python module that prints ``Progress N of M``; return its exit status and its stderr.

    The program ends when this function does, also by an interrupt.

    Args:
        command: the module's name and its arguments.
        environment: what to add to this program's.
        scratch: a folder for what it prints.
        show: hears its progress.

    Raises:
        OSError: the program found no room on the disk.

    """
    with (
        tempfile.TemporaryFile("w+", dir=scratch, encoding="utf-8", errors="replace") as stderr,
        subprocess.Popen(
            # -P: a file of the same name in the current folder must not take the module's place.
            [sys.executable, "-P", "-m", *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, **environment},
        ) as program,
    ):
        try:
            for line in program.stdout or ():
                if found := _PROGRESS.match(line):
                    show(int(found[1]), int(found[2]))
            status = program.wait()
        except BaseException:
            program.terminate()
            program.wait()
            raise
        stderr.seek(0)
        complaint = stderr.read()
    if status and os.strerror(errno.ENOSPC) in complaint:
        raise no_space()
    return status, complaint


def ending(status: int, complaint: str) -> str:
    """Say in one line what a program died of."""
    if status < 0:
        return f"the converter was killed by {signal.Signals(-status).name}"
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or [f"exit status {status}"])[-1]


def no_space() -> OSError:
    """Return the error of a full disk."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
