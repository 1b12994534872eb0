"""Items that a thread of its own takes in advance."""

import contextlib
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

_TICK = 0.1
"""Seconds after which a thread that waits looks whether it should end."""

T = TypeVar("T")


@dataclass(frozen=True)
class _End:
    """What comes after the last item: nothing, or what went wrong."""

    error: BaseException | None = None


def ahead(items: Iterator[T], size: int, stopped: threading.Event) -> Iterator[list[T]]:
    """Yield items that a thread of their own takes, as many at a time as are ready.

    Ends early when `stopped` is set. What the items raise is raised here.

    Args:
        items: taken up to `size` in advance.
        size: the most that are ready at a time.
        stopped: ends it.

    """
    ready: queue.Queue[T | _End] = queue.Queue(size)
    closed = threading.Event()

    def put(entry: T | _End) -> bool:
        while not closed.is_set():
            try:
                ready.put(entry, timeout=_TICK)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(item):
                    return
        except BaseException as error:
            put(_End(error))
        else:
            put(_End())

    # A daemon, because a reader that waits for standard input must not hold up the end.
    threading.Thread(target=work, name="tagger-reader", daemon=True).start()
    try:
        while not stopped.is_set():
            try:
                entries = [ready.get(timeout=_TICK)]
            except queue.Empty:
                continue
            with contextlib.suppress(queue.Empty):
                while len(entries) < size:
                    entries.append(ready.get_nowait())
            yield [entry for entry in entries if not isinstance(entry, _End)]
            if isinstance(end := entries[-1], _End):
                if end.error:
                    raise end.error
                return
    finally:
        closed.set()
