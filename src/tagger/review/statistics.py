"""What the random slice says of the suggestions, and how far the review is."""

from collections.abc import Mapping
from dataclasses import dataclass

from tagger.review.items import State
from tagger.vocabulary import Tag


@dataclass(frozen=True)
class Rate:
    """A share with its 95 % interval.

    Attributes:
        right: how many were right.
        of: of how many.
        low: the lower limit.
        high: the upper limit.

    """

    right: int
    of: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """How many of them were right, from 0 to 1."""
        return self.right / self.of


@dataclass(frozen=True)
class TagStatistics:
    """What is known of one tag.

    Attributes:
        tag: of the vocabulary.
        suggested: READMEs whose reply has it.
        decided: reviewed READMEs that were given it, bulk decisions among them.
        precision: how often it was right where it was suggested, in the random slice.
        recall: how often it was suggested where it was right, in the random slice.

    """

    tag: Tag
    suggested: int
    decided: int
    precision: Rate | None
    recall: Rate | None


@dataclass(frozen=True)
class Statistics:
    """How far a review is, and what its random slice says. Rates are None where nothing is known.

    Attributes:
        states: how many READMEs are open, reviewed and skipped.
        bulk: how many of the reviewed ones were decided together with others.
        failed: how many READMEs could not be tagged.
        suspicious: how many READMEs address whoever tags them.
        sampled: READMEs of the random slice that were reviewed.
        unanswered: READMEs of the random slice that were skipped.
        first: how often the first tag of a reply is right.
        given: how many of the tags of replies are right.
        calibration: mean confidence, share of right tags and number of tags, in bins.
        tags: of every tag that is suggested or decided, in the vocabulary's order.

    """

    states: Mapping[State, int]
    bulk: int
    failed: int
    suspicious: int
    sampled: int
    unanswered: int
    first: Rate | None
    given: Rate | None
    calibration: tuple[tuple[float, float, int], ...]
    tags: tuple[TagStatistics, ...]
