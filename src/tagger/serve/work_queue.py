"""A queue of items that one thread works through."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


@dataclass(eq=False)
class _Queued(Generic[Item]):
    item: Item
    future: "asyncio.Future[Any]"


class WorkQueue(Generic[Item]):
    """Hands items to a thread of its own, in the order in which they came.

    An item that nobody waits for any more leaves the queue at once, so that clients that disconnect
    leave nothing behind.

    Args:
        work: takes items, in the thread, and returns the result of each; an error is raised to
            whoever waits for the item.
        joins: says whether an item is handed over together with those before it.

    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Sequence[object]],
        joins: Callable[[Sequence[Item], Item], bool] = lambda _before, _item: False,
    ) -> None:
        self._work = work
        self._joins = joins
        self._items: deque[_Queued[Item]] = deque()
        self._taken: list[_Queued[Item]] = []
        self._more = asyncio.Event()
        self._thread = ThreadPoolExecutor(1)

    def __len__(self) -> int:
        """Return how many items are queued, without those in the thread."""
        return len(self._items)

    @property
    def abandoned(self) -> int:
        """How many items are in the thread that nobody waits for any more."""
        return sum(each.future.done() for each in self._taken)

    async def put(self, item: Item) -> Any:
        """Return the result of an item; raises what its work has raised."""
        queued = _Queued(item, asyncio.get_running_loop().create_future())
        self._items.append(queued)
        self._more.set()
        try:
            return await queued.future
        finally:
            if queued in self._items:
                self._items.remove(queued)

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
            results = await loop.run_in_executor(self._thread, self._results, items)
            self._taken = []
            for each, result in zip(taken, results, strict=True):
                if each.future.done():
                    continue
                if isinstance(result, Exception):
                    each.future.set_exception(result)
                else:
                    each.future.set_result(result)

    def close(self) -> None:
        """End the thread, without waiting for what it does: the results have no taker any more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _results(self, items: Sequence[Item]) -> Sequence[object]:
        try:
            return self._work(items)
        except Exception as error:
            return [error for _ in items]
