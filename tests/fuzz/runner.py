"""Runs cases in child processes, so that a hang, a crash or a flood of memory is a finding."""

import contextlib
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, Self

LIMIT = 5.0
"""Seconds that a check may take."""

_GRACE = 2.0
"""Seconds after the limit in which a check may still end by itself, before it is killed."""

_START = 180.0
"""Seconds for a child to start, import PyTorch and make its case."""

_MEMORY = 12 * 1024**3
"""Bytes of address space for a child: PyTorch alone takes several GB of it."""


@dataclass(frozen=True)
class Kind:
    """A kind of input.

    Attributes:
        make: makes an input from a random source, and from nothing else.
        check: raises unless what must hold for the input holds.
        prepare: does what the first check would else be slow for.
        granted: extra seconds, for work to which the product sets a time limit of its own.

    """

    make: Callable[[Random], Any]
    check: Callable[[Any], None]
    prepare: Callable[[], object] | None = None
    granted: float = 0.0


class Failure(NamedTuple):
    """What went wrong with a case.

    Attributes:
        number: the case's.
        what: an exception's name, `hung`, `slow` or `died`.
        where: the innermost function of the package, or of the harness, that was running.
        message: the exception's.
        details: its traceback, if it has one.

    """

    number: int
    what: str
    where: str = ""
    message: str = ""
    details: str = ""


class Outcome(NamedTuple):
    """How a case ended: its seconds, its process's greatest resident MB so far, and its failure."""

    seconds: float
    resident: float
    failure: Failure | None


@dataclass
class Summary:
    """What became of the cases of one kind.

    Attributes:
        seconds: how long each check took, by number.
        failures: those that went wrong.
        resident: the greatest resident memory of a process, in MB.
        wall: how long it took altogether, in seconds.

    """

    seconds: dict[int, float] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    resident: float = 0.0
    wall: float = 0.0

    @property
    def slowest(self) -> tuple[float, int]:
        """The longest check, in seconds, and its number."""
        return max((seconds, number) for number, seconds in self.seconds.items())

    def percentile(self, share: float) -> float:
        """Return the seconds that this share of the checks stayed within."""
        ordered = sorted(self.seconds.values())
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Runner:
    """Child processes that check cases.

    Args:
        seed: what all cases are made from, beside their kind and number.
        kinds: the kinds by name; their functions travel by their names.
        jobs: how many processes.
        limit: seconds that a check may take.
        quiet: throw away what the children print.

    """

    def __init__(
        self,
        seed: str,
        kinds: dict[str, Kind],
        *,
        jobs: int = 1,
        limit: float = LIMIT,
        quiet: bool = True,
    ) -> None:
        # Killed processes leave files behind.
        self._scratch = tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True)
        self._start = partial(_Child, seed, kinds, limit, self._scratch.name, quiet=quiet)
        self._children = [self._start() for _ in range(jobs)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.end()
        self._scratch.cleanup()

    def run(
        self,
        kind: str,
        numbers: Iterable[int],
        *,
        enough: int | None = None,
        progress: Callable[[Summary], None] | None = None,
    ) -> Summary:
        """Check cases.

        Args:
            kind: of which kind.
            numbers: and which of them.
            enough: failures after which no other case is begun.
            progress: is told after each case how it stands.

        """
        summary, start = Summary(), time.monotonic()
        numbers = takewhile(lambda _: enough is None or len(summary.failures) < enough, numbers)
        for number, outcome in self._outcomes(kind, numbers):
            summary.seconds[number] = outcome.seconds
            summary.resident = max(summary.resident, outcome.resident)
            summary.wall = time.monotonic() - start
            if outcome.failure:
                summary.failures.append(outcome.failure)
            if progress:
                progress(summary)
        summary.failures.sort()
        return summary

    def _outcomes(self, kind: str, numbers: Iterator[int]) -> Iterator[tuple[int, Outcome]]:
        while True:
            for place, child in enumerate(self._children):
                if child.number is None and (number := next(numbers, None)) is not None:
                    if child.dead:
                        self._children[place] = child = self._start()
                    child.begin(kind, number)
            busy = [child for child in self._children if child.number is not None]
            if not busy:
                return
            wait([child.pipe for child in busy], max(0.0, min(c.deadline for c in busy) - _now()))
            for child in busy:
                number = child.number
                if number is not None and (outcome := child.outcome()):
                    yield number, outcome


class _Child:
    """One process, and the case that it has in hand."""

    def __init__(
        self, seed: str, kinds: dict[str, Kind], limit: float, scratch: str, *, quiet: bool
    ) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        # No daemon, since those may have no children, and what is checked may want some.
        self._process = spawn.Process(
            target=_serve, args=(theirs, seed, kinds, limit, scratch, quiet)
        )
        self._process.start()
        theirs.close()
        self._kinds = kinds
        self._limit = self._seconds = limit
        self.number: int | None = None
        self.deadline = 0.0
        self.dead = False

    def begin(self, kind: str, number: int) -> None:
        self.number, self.deadline = number, _now() + _START
        self._seconds = self._limit + self._kinds[kind].granted
        self.pipe.send((kind, number))

    def outcome(self) -> Outcome | None:
        """Return how the case in hand ended, or None while it has not."""
        assert self.number is not None
        if self.pipe.poll():
            try:
                message = self.pipe.recv()
            except (EOFError, OSError):
                self._process.join(_GRACE)
                self.kill()
                how = f"exit code {self._process.exitcode}"
                return self._ended(Failure(self.number, "died", message=how))
            if message is None:  # made, and now being checked
                self.deadline = _now() + self._seconds + _GRACE
                return None
            self.number = None
            return Outcome(*message)
        if _now() > self.deadline:
            self.kill()
            return self._ended(Failure(self.number, "hung", message=f"over {self._seconds} s"))
        return None

    def end(self) -> None:
        """End an idle process, which takes a closed pipe for the end, and kill one that is not."""
        if self.number is None and not self.dead:
            self.pipe.close()
            self._process.join(_GRACE)
        self.kill()

    def kill(self) -> None:
        """End the process and whatever it has started."""
        self.dead = True
        if self._process.is_alive():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid or 0, signal.SIGKILL)
            self._process.kill()
        self._process.join()
        self.pipe.close()

    def _ended(self, failure: Failure) -> Outcome:
        self.number = None
        return Outcome(self._seconds + _GRACE, 0.0, failure)


def _now() -> float:
    return time.monotonic()


def _serve(
    pipe: "Connection[Any, Any]",
    seed: str,
    kinds: dict[str, Kind],
    limit: float,
    scratch: str,
    quiet: bool,
) -> None:
    """Check the cases that come through a pipe, until it is closed."""
    os.setsid()  # so that the parent can kill all of it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _keep_apart(scratch)
    if quiet:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
    prepared = set()
    with contextlib.suppress(EOFError):
        while True:
            name, number = pipe.recv()
            kind = kinds[name]
            if kind.prepare and name not in prepared:
                kind.prepare()
                prepared.add(name)
            start, failure = time.monotonic(), None
            try:
                made = kind.make(random_of(seed, name, number))
                pipe.send(None)
                start = time.monotonic()
                kind.check(made)
            except BaseException as error:  # Rust's panics, too, and sys.exit
                failure = _failure(number, error)
            seconds = time.monotonic() - start
            if failure is None and seconds > limit + kind.granted:
                failure = Failure(number, "slow", message=f"{seconds:.1f} s")
            pipe.send((seconds, _resident(), failure))


def _keep_apart(scratch: str) -> None:
    """Keep the user's settings, caches and network away from this process, and their place too."""
    for name in [name for name in os.environ if name.startswith("TAGGER_")]:
        del os.environ[name]
    os.environ |= {"HF_HUB_OFFLINE": "1", "NO_PROXY": "127.0.0.1", "TMPDIR": scratch}
    os.environ["TAGGER_HOME"] = tempfile.mkdtemp(prefix="home-", dir=scratch)
    tempfile.tempdir = scratch
    os.chdir(scratch)


def random_of(seed: str, kind: str, number: int) -> Random:
    """Return the random source of a case."""
    return Random(f"{seed}/{kind}/{number}")


def _resident() -> float:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    most = max(resource.getrusage(kind).ru_maxrss for kind in kinds)
    return most / (1024**2 if sys.platform == "darwin" else 1024)


def _failure(number: int, error: BaseException) -> Failure:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if {"tagger", "fuzz"} & set(Path(frame.filename).parts)]
    inner = (own or frames)[-1]
    message = " ".join(str(error).split())[:300]
    details = "".join(traceback.format_exception(error, limit=-30))
    where = f"{Path(inner.filename).name}:{inner.name}"
    return Failure(number, type(error).__name__, where, message, details[-8_000:])
