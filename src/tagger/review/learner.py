"""What learns from a review: opened when it is first wanted, once at a time."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tagger.errors import ModelMissingError, UsageError
from tagger.review.opening import Opened
from tagger.review.show import Best
from tagger.review.statistics import Learned
from tagger.types import Progress

if TYPE_CHECKING:
    from tagger.methods.rank.rank import Rank
    from tagger.review.relearn import Ranker

log = logging.getLogger(__name__)


class Learner:
    """Ranks tags for a review, and learns from it. Safe to use from several threads.

    Args:
        opened: what is reviewed.
        rank: opens what ranks; None if nothing does.

    """

    def __init__(self, opened: Opened, rank: "Callable[[], Rank] | None") -> None:
        self._opened = opened
        self._open_rank = rank
        self._ranker: Ranker | None = None
        self._opening = threading.Lock()
        self._learning = threading.Lock()

    @property
    def best(self) -> Best | None:
        """Finds the next best tags, once that is prepared."""
        return self._ranker.best if self._ranker else None

    def prepare(self) -> None:
        """Open what ranks; see `Review.prepare`."""
        if self._open_rank is None:
            return
        try:
            self._prepared(self._open_rank)
        except ModelMissingError as error:
            log.warning(
                "no next best tags are shown, and nothing can be learned, without the model that "
                "learns (%s)",
                error,
            )

    def learn(self, reached: int, progress: Progress, head: Path | None) -> Learned:
        """Learn a head; see `Review.learn`. `reached` is how far the random slice goes."""
        if self._open_rank is None:
            raise UsageError("nothing can be learned without a model that runs here")
        if not self._learning.acquire(blocking=False):
            raise UsageError("learning is already under way")
        try:
            ranker = self._prepared(self._open_rank)
            from tagger.review.relearn import relearn

            store, selection = self._opened.store, self._opened.selection
            lines = self._opened.place.lines
            path = head or lines.with_name(f"{lines.name}.head.safetensors")
            return relearn(store, ranker, selection, reached, path, progress)
        finally:
            self._learning.release()

    def _prepared(self, opener: "Callable[[], Rank]") -> "Ranker":
        with self._opening:
            if self._ranker is None:
                from tagger.review.relearn import Ranker  # which imports PyTorch

                self._ranker = Ranker(opener(), self._opened.ledger)
            return self._ranker
