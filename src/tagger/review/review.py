"""`Review`: a curator goes through the output of a batch, and nothing that was decided is lost."""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tagger._util.closing import Closing
from tagger._util.text import printable
from tagger.batch.decisions import REVIEWED, SKIPPED
from tagger.errors import InputError, UsageError
from tagger.readme.readme import Readme
from tagger.readme.sources import Sources
from tagger.review import bulk, labels, steps
from tagger.review.items import Filter, Item, Order, State
from tagger.review.learner import Learner
from tagger.review.opening import Opened
from tagger.review.show import show
from tagger.review.statistics import Learned, Statistics, statistics_of
from tagger.review.texts import text_of
from tagger.types import Progress, no_progress
from tagger.vocabulary import Vocabulary

if TYPE_CHECKING:
    from tagger.methods.rank.rank import Rank

_ALL = Filter()

log = logging.getLogger(__name__)


class StaleError(UsageError):
    """The README was decided elsewhere, such as in another tab, since it was shown.

    Attributes:
        item: the README as it is now.

    """

    def __init__(self, item: Item) -> None:
        super().__init__(f"this README was decided elsewhere since it was shown here: {item.id!r}")
        self.item = item


class Review(Closing):
    """A review of an output; a context manager. Safe to use from several threads.

    What was decided is kept beside the output, in a file that ends in `.review`.

    Args:
        output: what a batch has written.
        vocabulary: its tags.
        sources: where its READMEs are; by default where the batch has found them, if that is in
            the output's folder or the current one.
        seed: of the random slice.
        rank: opens what ranks tags by the readings that the batch has kept, for the next best tags
            and to learn; None does without.
        progress: hears how many READMEs are read when an output is reviewed first.
        new: whether a review may be begun.

    Raises:
        InputError: the output cannot be read, or is not a batch's, or was not reviewed.
        UsageError: it has other tags; the store is of another output, or damaged.
        InUseError: another process has the store.
        OutputError: the store cannot be written.

    """

    def __init__(
        self,
        output: Path,
        vocabulary: Vocabulary,
        *,
        sources: Sources | None = None,
        seed: int = 0,
        rank: "Callable[[], Rank] | None" = None,
        progress: Progress = no_progress,
        new: bool = True,
    ) -> None:
        self._vocabulary = vocabulary
        self._lock = threading.RLock()
        self._opened = Opened(output, vocabulary, sources, seed, progress, new=new)
        self._store, self._work = self._opened.store, self._opened.work
        self._learner = Learner(self._opened, rank)
        for change in self._store.changes:
            log.warning("%s", change)

    @property
    def vocabulary(self) -> Vocabulary:
        """The tags."""
        return self._vocabulary

    @property
    def name(self) -> str:
        """The output's name, safe to print."""
        return printable(self._opened.place.output.name)

    def close(self) -> None:
        """Close the store."""
        self._opened.close()

    def prepare(self) -> None:
        """Open what ranks, if there is any, so that items have the next best tags as well.

        That its model is not here is only said: all else works without.

        Raises:
            ModelError: the model cannot be used.
            InputError: something that ranks cannot be used.

        """
        self._learner.prepare()

    def item(self, id: str, order: Order = "uncertain", filter: Filter = _ALL) -> Item:  # noqa: A002
        """Return a README, with its place in an order of work.

        Raises:
            InputError: the output has no such README, or the vocabulary no such tag.

        """
        with self._lock:
            return self._item(self._number(id), order, filter)

    def next(
        self,
        order: Order = "uncertain",
        filter: Filter = _ALL,  # noqa: A002
        after: str | None = None,
    ) -> Item | None:
        """Return the README that comes once another is answered, or first; None if none is left.

        At the end of an order it begins again. Without a filter, the first 50 READMEs that are
        decided, and then every fifth, are drawn at random, whatever the order; those that were
        passed over before new ones. Nothing changes by asking, so the same question has the same
        answer until something is decided.

        Raises:
            InputError: the output has no such README, or the vocabulary no such tag.

        """
        with self._lock:
            shown = None if after is None else self._number(after)
            number = self._work.next(order, filter, shown)
            return None if number is None else self._item(number, order, filter)

    def pass_over(
        self,
        id: str,  # noqa: A002
        order: Order = "uncertain",
        filter: Filter = _ALL,  # noqa: A002
    ) -> Item | None:
        """Leave a README as it is, and return the one that is shown next instead of it.

        If it was drawn at random, it counts as passed over until it is answered, and is drawn again
        before any other. Returns and raises as `next`.
        """
        with self._lock:
            shown = self._number(id)
            with self._store.writing() as database:
                self._reach(database, shown)
            number = self._work.pass_over(order, filter, shown)
            return None if number is None else self._item(number, order, filter)

    def previous(
        self,
        order: Order = "uncertain",
        filter: Filter = _ALL,  # noqa: A002
        before: str | None = None,
    ) -> Item | None:
        """Return the README that comes before another in an order; None at the start.

        Raises:
            InputError: the output has no such README, or the vocabulary no such tag.

        """
        with self._lock:
            queue = self._work.queue(order, filter)
            place = queue.place(None if before is None else self._number(before))
            passing = self._work.passing(queue, filter.state)
            number = queue.before(len(passing) if place is None else place, passing)
            return None if number is None else self._item(number, order, filter)

    def readme(self, id: str) -> Readme | None:  # noqa: A002
        """Return the text of a README as the review has met it, or None where it was not found.

        Raises:
            InputError: the output has no such README.

        """
        with self._store.reading() as database:
            row = database.execute(
                "SELECT id, source, content FROM text JOIN readme ON number = readme "
                "WHERE number = ?",
                (self._number(id),),
            ).fetchone()
            return text_of(row) if row else None

    def decide(self, id: str, tags: Iterable[str], revision: int) -> Item:  # noqa: A002
        """Note the tags of a README, none if none fits. It is on disk when this returns.

        Args:
            id: of the README.
            tags: ids of tags as text, the most defining first.
            revision: that of the item when it was shown.

        Raises:
            StaleError: it was decided elsewhere since.
            InputError: there is no such README or tag.
            OutputError: it cannot be written.

        """
        return self._decide(id, REVIEWED, list(map(self._tag, tags)), revision)

    def skip(self, id: str, revision: int) -> Item:  # noqa: A002
        """Leave a README undecided, and out of the open ones. Raises as `decide`."""
        return self._decide(id, SKIPPED, (), revision)

    def undo(self) -> Item | None:
        """Take back the last decision, skip or bulk step. Return its README, or one of them.

        None if nothing is left to take back.
        """
        with self._lock:
            numbers = steps.undo(self._store)
            self._work.load()
            return self._item(numbers[0]) if numbers else None

    def bulk_count(
        self,
        above: float,
        order: Order = "uncertain",
        filter: Filter = _ALL,  # noqa: A002
    ) -> int:
        """Return how many READMEs `bulk_accept` would decide."""
        with self._lock:
            return len(self._work.confident(above, order, filter))

    def bulk_accept(
        self,
        above: float,
        order: Order = "uncertain",
        filter: Filter = _ALL,  # noqa: A002
    ) -> int:
        """Accept the replies all of whose tags have at least this confidence. One step to undo.

        Of the READMEs of an order that pass the filter, the open ones are decided. Returns how
        many.
        """
        with self._lock:
            count = bulk.accept(self._store, self._work.confident(above, order, filter))
            self._work.load()
            return count

    def replace_count(
        self,
        old: str,
        order: Order = "uncertain",
        filter: Filter = _ALL,  # noqa: A002
    ) -> int:
        """Return how many READMEs `bulk_replace` would decide."""
        with self._lock:
            return len(bulk.with_tag(self._store, self._work, old, order, filter))

    def bulk_replace(
        self,
        old: str,
        new: str,
        order: Order = "uncertain",
        filter: Filter = _ALL,  # noqa: A002
    ) -> int:
        """Put a tag in the place of another that was decided or is suggested, by their ids.

        READMEs that were reviewed keep their other tags, and stay what they are: decided one by one
        or not. Open ones keep the other tags of their reply, and count as bulk decisions. One step
        to undo. Returns how many READMEs were decided.

        Raises:
            InputError: there is no such tag.

        """
        with self._lock:
            numbers = bulk.with_tag(self._store, self._work, old, order, filter)
            bulk.replace(self._store, self._work, numbers, old, self._tag(new))
            self._work.load()
            return len(numbers)

    def states(self) -> Mapping[State, int]:
        """Return how many READMEs of the output are open, reviewed and skipped."""
        with self._lock:
            return self._work.states()

    def statistics(self) -> Statistics:
        """Return how far the review is, and what the random slice says."""
        with self._lock:
            return statistics_of(self._store, self._vocabulary, self._work)

    def learn(self, progress: Progress = no_progress, head: Path | None = None) -> Learned:
        """Learn a head from what is reviewed, and suggest tags anew for all other READMEs.

        Bulk decisions weigh less. What the batch has kept of READMEs is not read again. A head that
        is not better is neither written nor used; `Learned.why_not` says in what.

        Args:
            progress: hears what is under way.
            head: where the head is written; by default beside the output, in a file that ends in
                `.head.safetensors`.

        Raises:
            UsageError: nothing ranks tags here, or it already learns.
            HeadError: too few READMEs are reviewed, or all have the same tags.
            ModelError: the model is needed and cannot be used.
            OutputError: the head cannot be written.

        """
        learned = self._learner.learn(self._work.reached, progress, head)
        with self._lock:
            self._work.load()
        return learned

    def export(self, path: Path) -> int:
        """Write what was decided as label rows. Return how many there are.

        A file that is there is overwritten only if it is as an export of this review has left it.

        Raises:
            UsageError: there is another file, or a link, or one that is read here.
            OutputError: it cannot be written.

        """
        return labels.export(self._store, self._work.reached, path, self._opened.used)

    def _number(self, id_: str) -> int:
        with self._store.reading() as database:
            row = database.execute("SELECT number FROM readme WHERE id = ?", (id_,)).fetchone()
        if row is None:
            raise InputError(f"the output has no README with the id {id_!r}")
        return int(row[0])

    def _tag(self, id_: str) -> int:
        if id_ not in self._store.numbers:
            raise InputError(f"there is no tag with the id {id_!r}")
        return self._store.numbers[id_]

    def _decide(self, id_: str, state: int, tags: Sequence[int], revision: int) -> Item:
        with self._lock:
            number = self._number(id_)
            with self._store.writing() as database:
                (now,) = database.execute(
                    "SELECT revision FROM readme WHERE number = ?", (number,)
                ).fetchone()
                stale = now != revision
                if not stale:
                    steps.decide(database, [steps.Entry(number, state, tags)])
                    self._reach(database, number)
            if stale:
                raise StaleError(self._item(number))
            self._work.decided(number, state)
            return self._item(number)

    def _reach(self, database: sqlite3.Connection, number: int) -> None:
        """Let the random slice go on to a README that was answered or passed over."""
        database.execute(
            "INSERT OR REPLACE INTO setting VALUES ('reached', ?)",
            (str(self._work.reach(number)),),
        )

    def _item(self, number: int, order: Order = "uncertain", chosen: Filter = _ALL) -> Item:
        return show(
            self._store, self._work, self._opened.ledger, number, order, chosen, self._learner.best
        )
