"""A README's markup to words, and the process in which that is done with limits.

`worker.py` starts this module as a program: see there. It imports little, so that it starts fast.
"""

import contextlib
import signal
import struct
import sys
from collections.abc import Callable
from typing import IO, Literal

from tagger.readme.asciidoc import plain_asciidoc
from tagger.readme.markdown import plain_text

CLEANING_VERSION = "1"
"""Bump when the same README would be cleaned differently."""

WALL_SECONDS = 60
"""The limit where no CPU time passes; a busy computer must not reach it."""

MEMORY_BYTES = 1 << 30
"""Address space of the worker: ten times what the largest README needs."""

READY = b"+"
WORDS = b"w"
FAILED = b"f"

Markup = Literal["markdown", "rst", "asciidoc"]
"""How a README is marked up."""

Task = Callable[[str, str], str]
"""Makes something of a README's text and the suffix of its name."""

_RST = {".rst", ".rest"}
_ASCIIDOC = {".adoc", ".asciidoc", ".asc"}

_SIZE = struct.Struct("!I")


def markup_of(suffix: str) -> Markup:
    """Return the markup that a file name's suffix tells; Markdown by default."""
    if suffix in _RST:
        return "rst"
    return "asciidoc" if suffix in _ASCIIDOC else "markdown"


def clean(text: str, suffix: str) -> str:
    """Return the words of a text whose markup a file name's suffix tells."""
    match markup_of(suffix):
        case "rst":
            # Here, not above: docutils takes as long to import as all the rest.
            from tagger.readme.rst import plain_rst

            return plain_rst(text)
        case "asciidoc":
            return plain_asciidoc(text)
        case "markdown":
            return plain_text(text)


def send(file: IO[bytes], *parts: bytes) -> None:
    """Write a message of several parts."""
    message = memoryview(
        _SIZE.pack(len(parts)) + b"".join(_SIZE.pack(len(part)) + part for part in parts)
    )
    while message:
        message = message[file.write(message) :]
    file.flush()


def receive(file: IO[bytes]) -> list[bytes] | None:
    """Read a message; None where the other side has gone."""

    def exactly(size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            if not (more := file.read(size - len(data))):
                raise EOFError
            data += more
        return bytes(data)

    def number() -> int:
        return int(_SIZE.unpack(exactly(_SIZE.size))[0])

    try:
        return [exactly(number()) for _ in range(number())]
    except EOFError:
        return None


def serve(cpu_seconds: float, task: Task) -> None:
    """Do a task to what comes by standard input until that is closed.

    A README that takes too long ends the process: a signal whose default is to kill stops even
    a regular expression, which Python could not interrupt.
    """
    _limit_memory()
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # nothing that a library prints is an answer
    send(answers, READY)
    while (request := receive(requests)) is not None:
        text, suffix = (part.decode("utf-8", "surrogatepass") for part in request)
        _set_timers(cpu_seconds, WALL_SECONDS)
        try:
            status, answer = WORDS, task(text, suffix)
        except Exception as error:
            status, answer = FAILED, f"{type(error).__name__}: {error}"
        _set_timers(0, 0)
        send(answers, status, answer.encode("utf-8", "surrogatepass"))


def _set_timers(cpu: float, wall: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, cpu)
    signal.setitimer(signal.ITIMER_REAL, wall)


def _limit_memory() -> None:
    import resource

    # macOS has no such limit.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


if __name__ == "__main__":
    serve(float(sys.argv[1]), clean)
