"""The queue in front of a thread."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence

import pytest

from tagger.serve.work_queue import WorkQueue

Items = Sequence[int]


def run(queue: WorkQueue[int], scene: Callable[[], Awaitable[None]]) -> None:
    """Play a scene while a queue is worked through."""

    async def play() -> None:
        working = asyncio.create_task(queue.run())
        try:
            await scene()
        finally:
            working.cancel()
            queue.close()

    asyncio.run(play())


def test_items_are_handed_over_one_by_one_in_their_order() -> None:
    seen: list[Items] = []

    def work(items: Items) -> Items:
        seen.append(items)
        return [10 * item for item in items]

    async def scene() -> None:
        assert await asyncio.gather(*map(queue.put, range(5))) == [0, 10, 20, 30, 40]

    queue = WorkQueue(work)
    run(queue, scene)
    assert seen == [[0], [1], [2], [3], [4]]


def test_items_that_join_are_handed_over_together() -> None:
    seen: list[Items] = []

    def work(items: Items) -> Items:
        seen.append(items)
        return items

    async def scene() -> None:
        await asyncio.gather(*map(queue.put, range(7)))

    queue = WorkQueue(work, lambda before, _: len(before) < 3)
    run(queue, scene)
    assert seen == [[0, 1, 2], [3, 4, 5], [6]]


def test_an_error_is_raised_to_whoever_waits_for_its_item() -> None:
    def work(items: Items) -> Sequence[object]:
        if items == [1]:
            raise KeyError(1)
        return [ValueError(item) if item == 2 else item for item in items]

    async def scene() -> None:
        outcomes = await asyncio.gather(*map(queue.put, range(4)), return_exceptions=True)
        assert [type(each) for each in outcomes] == [int, KeyError, ValueError, int]

    queue = WorkQueue(work)
    run(queue, scene)


def test_cancelled_items_leave_the_queue() -> None:
    seen: list[Items] = []
    begun, go_on = threading.Event(), threading.Event()

    def work(items: Items) -> Items:
        seen.append(items)
        begun.set()
        go_on.wait(10)
        return items

    async def scene() -> None:
        first, *others = (asyncio.create_task(queue.put(item)) for item in range(100))
        await asyncio.to_thread(begun.wait, 10)
        assert len(queue) == 99
        for other in others[:-1]:
            other.cancel()
        first.cancel()
        await asyncio.wait([first, *others[:-1]])
        assert len(queue) == 1
        go_on.set()
        assert await others[-1] == 99

    queue = WorkQueue(work)
    run(queue, scene)
    assert seen == [[0], [99]]


def test_what_comes_first_in_the_thread_may_fail() -> None:
    async def scene() -> None:
        with pytest.raises(ZeroDivisionError):
            await queue.first(lambda: 1 / 0)

    queue: WorkQueue[int] = WorkQueue(lambda items: items)
    run(queue, scene)
