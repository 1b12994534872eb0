"""A `Rank` that serves many clients at a time.

The model reads READMEs and questions in the order in which they were cleaned. On a CPU each has a
pass of its own. On a GPU READMEs that wait one behind the other share a pass, as many as fit.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from tagger.errors import OutOfMemoryError
from tagger.methods.rank.choice import Choice, OptionProbabilities
from tagger.methods.rank.rank import Encoded, Rank
from tagger.readme.readme import Readme
from tagger.serve.failures import busy
from tagger.serve.metrics import Metrics
from tagger.serve.scorer_cache import ScorerCache
from tagger.serve.work_queue import WorkQueue
from tagger.tagging import Ranking

_WEIGHT = 0.1
"""How much the last pass counts in the mean time of an item."""

LOADING = busy("the model is being loaded", 5.0, status=503)
"""The refusal of everything until the model is there."""

_LATEST = 60.0
"""Seconds after which a client should ask again at the latest."""

Question = tuple[Choice, str]
"""A question and the text that it is about."""

T = TypeVar("T")
log = logging.getLogger(__name__)


class Engine:
    """Runs a `Rank` for many clients.

    Args:
        rank: the method.
        most: READMEs and questions that may wait; a request that comes when nothing waits may
            bring more.
        metrics: counts what the model does.

    Attributes:
        rank: the method.
        ready: whether the model is loaded.

    """

    def __init__(self, rank: Rank, most: int, metrics: Metrics) -> None:
        self.rank = rank
        self._accepted = 0
        self.ready = False
        self._metrics = metrics
        self._most = most
        self._seconds = 1.0
        self._scorers = ScorerCache(rank.model)
        self._cleaning: WorkQueue[Readme] = WorkQueue(
            lambda readmes: [rank.encode(each) for each in readmes]
        )
        self._model: WorkQueue[Encoded | Question] = WorkQueue(self._work, self._share)

    async def run(self) -> None:
        """Load the model, and then work until the task is cancelled.

        Raises:
            ModelError: the model cannot be loaded.

        """
        await self._model.first(self._load)
        self.ready = True
        log.info("the model is loaded")
        await asyncio.gather(self._cleaning.run(), self._model.run())

    def close(self) -> None:
        """End the threads, without waiting for a pass that nobody waits for any more."""
        self._cleaning.close()
        self._model.close()

    @property
    def waiting(self) -> int:
        """READMEs and questions that are accepted and not answered.

        What the model has begun counts until it is done, even if its client has disconnected:
        a pass is not interrupted.
        """
        return self._accepted + self._cleaning.abandoned + self._model.abandoned

    @contextmanager
    def accepted(self, count: int) -> Iterator[None]:
        """Count READMEs or questions as waiting while the block runs.

        Raises:
            Refusal: the model is not loaded, or too many wait already.

        """
        if not self.ready:
            raise LOADING
        if self.waiting and self.waiting + count > self._most:
            raise busy(
                f"{self.waiting:,} READMEs and questions wait already: ask again later",
                min(_LATEST, self.waiting * self._seconds),
            )
        self._accepted += count
        try:
            yield
        finally:
            self._accepted -= count

    async def ranking(self, readme: Readme) -> Ranking:
        """Return the best tags of a README. Raises as `Rank.encode` and `Rank.read`."""
        ranking: Ranking = await self._model.put(await self._cleaning.put(readme))
        return ranking

    async def probabilities(self, choice: Choice, text: str) -> OptionProbabilities:
        """Return how likely each option is for a text. Raises as `ScorerCache.probabilities`."""
        found: OptionProbabilities = await self._model.put((choice, text))
        return found

    def _load(self) -> None:
        self.rank.model.load()
        self.rank.prepare()

    def _share(self, before: Sequence[Encoded | Question], item: Encoded | Question) -> bool:
        """Say whether a README shares the pass of those before it."""
        capacity = self.rank.capacity
        readmes = [each for each in (*before, item) if isinstance(each, Encoded)]
        if capacity.tokens is None or len(readmes) <= len(before):
            return False
        longest = max(readme.length for readme in readmes)
        return len(readmes) * (longest + capacity.overhead) <= capacity.tokens

    def _work(self, items: Sequence[Encoded | Question]) -> Sequence[object]:
        """Read READMEs together, or answer a question."""
        start = time.monotonic()
        outcomes: list[object] = []
        readmes = [item for item in items if isinstance(item, Encoded)]
        if readmes:
            outcomes += self._rankings(readmes)
        for item in items:
            if not isinstance(item, Encoded):
                outcomes.append(self._scorers.probabilities(*item))
                self._metrics.asked()
        took = (time.monotonic() - start) / len(items)
        self._seconds += _WEIGHT * (took - self._seconds)
        return outcomes

    def _rankings(self, readmes: Sequence[Encoded]) -> Sequence[object]:
        """Read READMEs in one pass; where memory runs out, in smaller ones."""
        try:
            rankings = self.rank.rank(self.rank.read(readmes))
        except OutOfMemoryError as error:
            if len(readmes) == 1:
                return [error]
        else:
            self._metrics.read(len(readmes))
            return rankings
        # Outside the handler, where the error no longer holds on to the memory of the pass.
        middle = len(readmes) // 2
        return [*self._rankings(readmes[:middle]), *self._rankings(readmes[middle:])]


async def in_order(answers: Sequence[Awaitable[T]]) -> list[T]:
    """Return all answers; if one fails or nobody waits any more, drop the others."""
    tasks = [asyncio.ensure_future(answer) for answer in answers]
    try:
        return [await task for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
