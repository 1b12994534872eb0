"""`Review`: a curator goes through the output of a batch, and nothing that was decided is lost."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tagger._util.closing import Closing
from tagger.errors import UsageError
from tagger.readme.readme import Readme
from tagger.readme.sources import Sources
from tagger.review.items import Filter, Item, Order
from tagger.review.statistics import Rate, Statistics
from tagger.types import Progress, no_progress
from tagger.vocabulary import Vocabulary


class StaleError(UsageError):
    """The README was decided elsewhere, such as in another tab, since it was shown.

    Attributes:
        item: the README as it is now.

    """

    def __init__(self, item: Item) -> None:
        super().__init__(f"{item.id!r} was decided elsewhere since it was shown here")
        self.item = item


@dataclass(frozen=True)
class Learned:
    """What came of learning from a review.

    Attributes:
        readmes: how many READMEs it was learned from.
        bulk: how many of them were decided together with others.
        before: how often the first tag is right in the random slice, as suggested until now.
        after: the same for a head that has not seen the README; cross-validated.
        f1_before: F1 of the tags that are given in the slice.
        f1_after: the same for that head.
        ranked: how many READMEs have new suggestions; 0 if the head is not better.
        head: the file with the head; None if it is not better.

    """

    readmes: int
    bulk: int
    before: Rate | None
    after: Rate | None
    f1_before: float | None
    f1_after: float | None
    ranked: int
    head: Path | None


class Review(Closing):
    """A review of an output; a context manager. Safe to use from several threads.

    What was decided is kept beside the output, in a file that ends in `.review`.

    Args:
        output: the JSON Lines that a batch has written.
        vocabulary: its tags.
        sources: where its READMEs are; by default where the batch found them.
        seed: of the random slice.
        rank: opens what ranks tags by readings, for the next best tags and to learn; None does
            without.
        progress: hears how many READMEs are indexed when an output is opened first.

    Raises:
        InputError: the output cannot be read, or is not a batch's.
        UsageError: it has other tags; the store is of another output, damaged, or in use.
        OutputError: the store cannot be written.

    """

    def __init__(
        self,
        output: Path,
        vocabulary: Vocabulary,
        *,
        sources: Sources | None = None,
        seed: int = 0,
        rank: Callable[[], Any] | None = None,
        progress: Progress = no_progress,
    ) -> None:
        raise NotImplementedError

    @property
    def vocabulary(self) -> Vocabulary:
        """The tags."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """The output's name, safe to print."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the store."""
        raise NotImplementedError

    def item(
        self, id: str, order: Order = "uncertain", filter: Filter = Filter()  # noqa: A002, B008
    ) -> Item:
        """Return a README, with its place in an order of work.

        Raises:
            InputError: the output has no such README.

        """
        raise NotImplementedError

    def next(
        self,
        order: Order = "uncertain",
        filter: Filter = Filter(),  # noqa: A002, B008
        after: str | None = None,
    ) -> Item | None:
        """Return the README that comes after another, or first; None at the end.

        The first 50 READMEs that are shown, and then every fifth, are drawn at random, whatever
        the order, as long as the filter asks for open READMEs.
        """
        raise NotImplementedError

    def previous(
        self,
        order: Order = "uncertain",
        filter: Filter = Filter(),  # noqa: A002, B008
        before: str | None = None,
    ) -> Item | None:
        """Return the README that was shown before another, or comes before it; None at the start."""
        raise NotImplementedError

    def readme(self, id: str) -> Readme | None:  # noqa: A002
        """Return the text of a README, or None where it was not found."""
        raise NotImplementedError

    def decide(self, id: str, tags: Iterable[str], revision: int) -> Item:  # noqa: A002
        """Note the tags of a README, none if none fits. It is on disk when this returns.

        Args:
            id: of the README.
            tags: ids of tags as text, the most defining first.
            revision: that of the item when it was shown.

        Raises:
            StaleError: it was decided elsewhere since.
            InputError: there is no such README or tag.

        """
        raise NotImplementedError

    def skip(self, id: str, revision: int) -> Item:  # noqa: A002
        """Leave a README undecided, and out of the open ones. Raises as `decide`."""
        raise NotImplementedError

    def undo(self) -> Item | None:
        """Take back the last decision, skip or bulk step; return (one of) its READMEs.

        None if nothing is left to take back.
        """
        raise NotImplementedError

    def bulk_count(self, above: float, filter: Filter = Filter()) -> int:  # noqa: A002, B008
        """Return how many open READMEs `bulk_accept` would decide."""
        raise NotImplementedError

    def bulk_accept(self, above: float, filter: Filter = Filter()) -> int:  # noqa: A002, B008
        """Accept the replies all of whose tags have at least this confidence. One step to undo.

        Only open READMEs of the filter are decided. Returns how many.
        """
        raise NotImplementedError

    def replace_count(self, old: str, filter: Filter = Filter()) -> int:  # noqa: A002, B008
        """Return how many READMEs `bulk_replace` would decide."""
        raise NotImplementedError

    def bulk_replace(self, old: str, new: str, filter: Filter = Filter()) -> int:  # noqa: A002, B008
        """Put a tag in the place of another wherever it is suggested or decided, by their ids.

        READMEs that were reviewed keep their other tags, and open ones those of their reply. One
        step to undo. Returns how many READMEs were decided.
        """
        raise NotImplementedError

    def statistics(self) -> Statistics:
        """Return how far the review is, and what the random slice says."""
        raise NotImplementedError

    def learn(self, progress: Progress = no_progress) -> Learned:
        """Learn a head from what is reviewed, and suggest tags anew for open READMEs.

        Bulk decisions weigh less. Readings that the batch has kept are used.

        Raises:
            UsageError: nothing ranks tags here.
            HeadError: too few READMEs are reviewed.
            ModelError: the model is needed and cannot be used.

        """
        raise NotImplementedError
