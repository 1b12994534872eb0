"""A line of items that wait for one thread."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


@dataclass(eq=False)
class _Waiting(Generic[Item]):
    item: Item
    future: "asyncio.Future[Any]"


class Line(Generic[Item]):
    """Hands items to a thread of its own, in the order in which they came.

    An item that nobody waits for any more leaves the line at once, so that clients who go away
    leave nothing behind.

    Args:
        work: takes items, in the thread, and returns what each has come to; an error is raised to
            whoever waits for the item.
        joins: says whether an item is handed over together with those that stand before it.

    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Sequence[object]],
        joins: Callable[[Sequence[Item], Item], bool] = lambda _before, _item: False,
    ) -> None:
        self._work = work
        self._joins = joins
        self._items: deque[_Waiting[Item]] = deque()
        self._taken: list[_Waiting[Item]] = []
        self._more = asyncio.Event()
        self._thread = ThreadPoolExecutor(1)

    def __len__(self) -> int:
        """Return how many items stand in the line, without those in the thread."""
        return len(self._items)

    @property
    def abandoned(self) -> int:
        """How many items are in the thread that nobody waits for any more."""
        return sum(each.future.done() for each in self._taken)

    async def put(self, item: Item) -> Any:
        """Return what an item has come to; raises what its work has raised."""
        waiting = _Waiting(item, asyncio.get_running_loop().create_future())
        self._items.append(waiting)
        self._more.set()
        try:
            return await waiting.future
        finally:
            if waiting in self._items:
                self._items.remove(waiting)

    async def first(self, call: Callable[[], object]) -> None:
        """Make a call in the thread, before `run`; raises what it raises."""
        await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def run(self) -> None:
        """Work until the task is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            while not self._items:
                self._more.clear()
                await self._more.wait()
            taken = self._taken = [self._items.popleft()]
            while self._items and self._joins([each.item for each in taken], self._items[0].item):
                taken.append(self._items.popleft())
            items = [each.item for each in taken]
            outcomes = await loop.run_in_executor(self._thread, self._outcomes, items)
            self._taken = []
            for each, outcome in zip(taken, outcomes, strict=True):
                if each.future.done():
                    continue
                if isinstance(outcome, Exception):
                    each.future.set_exception(outcome)
                else:
                    each.future.set_result(outcome)

    def close(self) -> None:
        """End the thread, once what it does is done."""
        self._thread.shutdown(cancel_futures=True)

    def _outcomes(self, items: Sequence[Item]) -> Sequence[object]:
        try:
            return self._work(items)
        except Exception as error:
            return [error for _ in items]
