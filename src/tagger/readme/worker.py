"""Cleaning and rendering in a process of their own, which can be stopped whatever it does.

The text of a stranger goes through parsers that other people wrote. Those are known to be linear on
all input of `benchmarks/hostile.py`; for the rest there is a limit on time and memory, and a README
that reaches it costs an error, not the batch.
"""

import atexit
import logging
import os
import selectors
import signal
import subprocess
import sys
import threading
from typing import IO

from tagger.errors import ReadmeError
from tagger.readme import cleaning
from tagger.readme.cleaning import Task

CPU_SECONDS = 5.0
"""What one README may take. The slowest known one of 128 KiB takes a third of it."""

START_SECONDS = 30
"""How long the process may take to start."""

_TICK = 0.1
"""Seconds after which a signal is noticed at the latest."""

log = logging.getLogger(__name__)


class Worker:
    """Cleans READMEs in a process that is started at the first one, and again after a failure.

    Where no process can be started, cleaning goes on in this one, without limits.

    Args:
        cpu_seconds: what one README may take.
        task: what is done instead of cleaning. Its module, run as a program, must `serve` it.

    """

    def __init__(self, cpu_seconds: float = CPU_SECONDS, task: Task = cleaning.clean) -> None:
        self._cpu_seconds = cpu_seconds
        self._task = task
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._impossible = not sys.executable or getattr(sys, "frozen", False)

    def clean(self, text: str, suffix: str) -> str:
        """Return what the task makes of a text whose markup a file name's suffix tells.

        Raises:
            ReadmeError: it takes too much time or memory, or a parser fails at it.

        """
        with self._lock:
            process = self._running()
            if process is None:
                return self._task(text, suffix)
            requests, answers = _pipes(process)
            answer = None
            try:
                parts = (part.encode("utf-8", "surrogatepass") for part in (text, suffix))
                cleaning.send(requests, *parts)
                _wait(answers)
                answer = cleaning.receive(answers)
            except BrokenPipeError:  # it has just died
                pass
            finally:
                # After Ctrl-C too: the next README must not be given the answer to this one.
                if answer is None:
                    self.stop()
        if answer is None:
            raise ReadmeError(self._reason(process.returncode))
        status, words = answer[0], answer[1].decode("utf-8", "surrogatepass")
        if status != cleaning.WORDS:
            raise ReadmeError(f"cannot be turned into words ({words}); leave it out")
        return words

    @property
    def pid(self) -> int | None:
        """The id of the process, if one runs."""
        return self._process.pid if self._process else None

    def stop(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)

    def forget(self) -> None:
        """Leave the process to the one that this one was forked from."""
        self._lock = threading.Lock()  # a thread that is not here may hold the other
        process, self._process = self._process, None
        if process is not None:
            process.returncode = 0  # not ours to wait for
            _close(process)

    def _running(self) -> subprocess.Popen[bytes] | None:
        """Return the process, started if need be, or None where that is impossible."""
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.stop()
        if self._impossible:
            return None
        try:
            self._process = _started(self._cpu_seconds, self._task.__module__)
        except OSError as error:
            self._impossible = True
            log.warning(
                "READMEs are cleaned without a time limit: the helper process cannot be started "
                "(%s)",
                error,
            )
        return self._process

    def _reason(self, code: int) -> str:
        """Say why the process has died."""
        if code in (-signal.SIGPROF, -signal.SIGALRM):
            return (
                f"takes longer than {self._cpu_seconds:g} s to clean: it is malformed or crafted "
                "to be slow; leave it out"
            )
        return "cannot be cleaned: the helper process died, perhaps out of memory; leave it out"


def _started(cpu_seconds: float, module: str) -> subprocess.Popen[bytes]:
    """Start the process and wait until it is ready.

    Raises:
        OSError: it does not get there.

    """
    # Of its own session, so that Ctrl-C is for this process to handle. It ends when this one does,
    # which closes its standard input.
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", module, str(cpu_seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,  # no locks, which a fork could find taken
        start_new_session=True,
        # The modules are to be found where they are found here.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
    )
    timer = threading.Timer(START_SECONDS, process.kill)
    timer.start()
    ready = False
    try:
        ready = cleaning.receive(_pipes(process)[1]) == [cleaning.READY]
    finally:
        timer.cancel()
        if not ready:
            _end(process)
    if not ready:
        raise OSError(f"{sys.executable} ended with {process.returncode}")
    return process


def _wait(answers: IO[bytes]) -> None:
    """Wait for an answer in short steps: a signal just before a long read would not end it."""
    with selectors.DefaultSelector() as selector:
        selector.register(answers, selectors.EVENT_READ)
        while not selector.select(_TICK):
            pass


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    # Not by `wait`: a signal that was handled within `poll` may have left the lock of both taken.
    if process.returncode is None:
        try:
            _, status = os.waitpid(process.pid, 0)
        except ChildProcessError:  # SIGCHLD is ignored, and so the system has waited for it
            status = signal.SIGKILL
        process.returncode = os.waitstatus_to_exitcode(status)
    _close(process)


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in _pipes(process):
        pipe.close()


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    """Return where requests are written and where answers are read."""
    assert process.stdin is not None  # noqa: S101
    assert process.stdout is not None  # noqa: S101
    return process.stdin, process.stdout


def shared(worker: Worker) -> Worker:
    """Have a worker end with this process, and not be used by those forked from it."""
    atexit.register(worker.stop)
    os.register_at_fork(after_in_child=worker.forget)
    return worker


worker = shared(Worker())
