"""Ctrl-C and SIGTERM: the first ends the program in order, the second ends it at once."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from tagger.cli.options import log

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR = b"\x1b[?25h"


def on_first(act: Callable[[int], None], *, in_order: bool = False) -> None:
    """Call `act` with the number of the first signal; the second kills the process.

    The second is left to the operating system, whose default action depends on nothing in this
    process: not on the interpreter, which a library may be keeping, nor on a thread that waits.
    A signal that was ignored when the program was started stays ignored, as for `tagger … &` in a
    script.

    Args:
        act: hears the number.
        in_order: whether `act` lets the program go on to a good end. Two signals in the same
            moment, such as `timeout` sends, then count as one.

    """

    def handle(number: int, _frame: object) -> None:
        for each in _handled():
            signal.signal(each, signal.SIG_DFL)
        if os.isatty(2):  # progress bars hide it, and a process that is killed restores nothing
            os.write(2, _SHOW_CURSOR)
        act(number)

    for each in _handled():
        signal.signal(each, handle)
        if not in_order:
            _reset_by_the_system(each)


def exit_despite_threads(code: int) -> None:
    """End the program at once where threads are still at work that nobody needs.

    At its end the interpreter waits for them, however long they take.
    """
    main = threading.main_thread()
    if any(each is not main and not each.daemon for each in threading.enumerate()):
        sys.stderr.flush()
        os._exit(code)


def end_at_once() -> None:
    """Have the first signal kill the process: with it nothing is lost."""
    for each in _handled():
        signal.signal(each, signal.SIG_DFL)


class Stoppable(Protocol):
    """Work on many READMEs."""

    @property
    def preparing(self) -> bool:
        """Whether no README is in hand yet."""

    def stop(self) -> None:
        """Let the work end after the READMEs in hand."""


@contextmanager
def finishing(work: Stoppable, doing: str = "finishing the READMEs in hand") -> Iterator[list[int]]:
    """Let the first Ctrl-C or SIGTERM end work in order; its number goes into the list.

    Args:
        work: what is ended.
        doing: what people are told meanwhile.

    """
    received: list[int] = []

    def stop(number: int) -> None:
        if work.preparing:
            leave(number)
        received.append(number)
        work.stop()
        log.warning("%s; Ctrl-C again stops at once", doing)

    on_first(stop, in_order=True)
    try:
        yield received
    finally:
        if not received:
            on_first(leave)


_signalled: list[int] = []
"""The number of a signal that `leave` has heard."""


def leave(number: int) -> None:
    """End the program by an exception, so that everything on the way out tidies up."""
    _signalled.append(number)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def leave_if_signalled() -> None:
    """Leave now if `leave` was called, and its exception got lost on the way.

    That happens in libraries that import others in C: the import fails, and all that is left of the
    signal is an error that tells of something else.
    """
    if _signalled:
        leave(_signalled[0])


def _reset_by_the_system(number: int) -> None:
    """Have the system itself go back to its default action when the signal comes.

    The interpreter does so only when it runs the handler, which waits for calls of libraries to
    return: loading PyTorch from a slow disk takes many seconds. With another C library than
    glibc, that has to do.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "sysv_signal"):
        for function in (libc.signal, libc.sysv_signal):
            function.argtypes, function.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
        libc.sysv_signal(number, libc.signal(number, None))


def _handled() -> list[signal.Signals]:
    return [each for each in _SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
