"""What the random slice says of the suggestions, and how far the review is."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from tagger.batch.decisions import REVIEWED, Decisions
from tagger.evaluation.measures import Judged, agresti_coull, interval_of_pairs, reliability
from tagger.review.items import State
from tagger.review.order import Work
from tagger.vocabulary import Tag, Vocabulary

if TYPE_CHECKING:
    from tagger.learning.learn import Lesson


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

    @classmethod
    def count(cls, outcomes: Iterable[bool]) -> Self | None:
        """Return the share of outcomes that are right, with the interval of `agresti_coull`."""
        counted = Counter(outcomes)
        right, of = counted[True], counted.total()
        return cls(right, of, *agresti_coull(right / of, of)) if of else None

    @classmethod
    def of_pairs(cls, outcomes: Sequence[Sequence[bool]]) -> Self | None:
        """Return the share of outcomes that are right, where those of one README go together.

        The interval is that of `interval_of_pairs`.
        """
        right, of = [sum(each) for each in outcomes], [len(each) for each in outcomes]
        if not sum(of):
            return None
        return cls(sum(right), sum(of), *interval_of_pairs(np.array(right), np.array(of)))

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
        skipped: READMEs of the random slice that were skipped.
        passed_over: READMEs of the random slice without an answer; see `Counts.passed_over`.
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
    skipped: int
    passed_over: int
    first: Rate | None
    given: Rate | None
    calibration: tuple[tuple[float, float, int], ...]
    tags: tuple[TagStatistics, ...]


@dataclass(frozen=True)
class Learned:
    """What came of learning from a review. Rates are None where nothing is known.

    Attributes:
        lesson: what was learned, and how good it is on all reviewed READMEs.
        bulk: how many READMEs were decided together with others, and so weighed less.
        before: how often the first tag that the output has is right, in the random slice.
        after: the same for a head that was learned without the README.
        f1_before: F1 of the output's tags in the slice, over all pairs of README and tag.
        f1_after: the same for that head.
        ranked: how many READMEs have new suggestions; 0 if the head is not better.
        unread: how many have none because the model would have to read them.
        head: the file with the head; None if it is not better.
        why_not: in what it is not better, for people; empty if it is.

    """

    lesson: "Lesson"
    bulk: int
    before: Rate | None
    after: Rate | None
    f1_before: float | None
    f1_after: float | None
    ranked: int
    unread: int
    head: Path | None
    why_not: str = ""


@dataclass(frozen=True)
class Judgement:
    """What was suggested for a README of the random slice, and what was decided.

    Attributes:
        number: of the README.
        given: the ids of the tags that its reply has, with confidences, the first one first.
        right: the ids of the tags that it has.
        headless: whether the first tag of the reply has left the vocabulary.

    """

    number: int
    given: tuple[tuple[str, float | None], ...]
    right: frozenset[str]
    headless: bool = False


def slice_of(store: Decisions, reached: int) -> list[Judgement]:
    """Return the reviewed READMEs of the random slice, in its order.

    Tags that have left the vocabulary can be neither right nor wrong: they are left out, and so are
    READMEs that nothing is left of, by their replies or by what was decided.

    Args:
        store: what is reviewed.
        reached: how far the slice goes.

    """
    judged: list[Judgement] = []
    with store.reading() as database:
        numbers = database.execute(
            "SELECT number FROM readme WHERE place IS NOT NULL AND chance <= ? AND state = ? "
            "AND NOT bulk ORDER BY chance",
            (reached, REVIEWED),
        ).fetchall()
        for (number,) in numbers:
            tags = database.execute("SELECT tag FROM decided WHERE readme = ?", (number,))
            right = store.known(tag for (tag,) in tags)
            given = [
                (store.tags[tag], confidence)
                for tag, confidence in database.execute(
                    "SELECT tag, confidence FROM suggestion WHERE readme = ? AND origin = 0 "
                    "AND given ORDER BY place",
                    (number,),
                )
            ]
            left: dict[str, float | None] = {}
            for tag, confidence in given:
                if tag is not None:
                    left.setdefault(str(tag.id), confidence)
            if right is not None and left:
                ids = frozenset(str(tag.id) for tag in right)
                judged.append(Judgement(number, tuple(left.items()), ids, given[0][0] is None))
    return judged


def first_right(judged: Sequence[Judgement]) -> Rate | None:
    """Return how often the first tag is right, where it is in the vocabulary still."""
    return Rate.count(
        bool(each.given) and each.given[0][0] in each.right for each in judged if not each.headless
    )


def f1(judged: Sequence[Judgement]) -> float | None:
    """Return the harmonic mean of precision and recall of given tags, over all pairs."""
    given = sum(len(each.given) for each in judged)
    right = sum(len(each.right) for each in judged)
    hits = sum(tag in each.right for each in judged for tag, _ in each.given)
    return 2 * hits / (given + right) if given + right else None


def statistics_of(store: Decisions, vocabulary: Vocabulary, work: Work) -> Statistics:
    """Return how far a review is, and what its random slice says."""
    judged, counts = slice_of(store, work.reached), work.count()
    with store.reading() as database:
        execute = database.execute
        suggested = _by_tag(
            store,
            execute("SELECT tag, count(*) FROM suggestion WHERE given AND origin = 0 GROUP BY tag"),
        )
        decided = _by_tag(store, execute("SELECT tag, count(*) FROM decided GROUP BY tag"))
    return Statistics(
        states=counts.states,
        bulk=counts.bulk,
        failed=counts.failed,
        suspicious=counts.suspicious,
        sampled=len(judged),
        skipped=counts.skipped,
        passed_over=counts.passed_over,
        first=first_right(judged),
        given=Rate.of_pairs([[tag in each.right for tag, _ in each.given] for each in judged]),
        calibration=_calibration(judged),
        tags=tuple(
            TagStatistics(
                tag,
                suggested[id_],
                decided[id_],
                Rate.count(id_ in each.right for each in judged if id_ in dict(each.given)),
                Rate.count(id_ in dict(each.given) for each in judged if id_ in each.right),
            )
            for tag in vocabulary
            if suggested[id_ := str(tag.id)] or decided[id_]
        ),
    )


def _by_tag(store: Decisions, rows: Iterable[tuple[int, int]]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for number, count in rows:
        if meant := store.tags[number]:
            counted[str(meant.id)] += count
    return counted


def _calibration(judged: Sequence[Judgement]) -> tuple[tuple[float, float, int], ...]:
    pairs = [
        (confidence, tag in each.right)
        for each in judged
        for tag, confidence in each.given
        if confidence is not None
    ]
    if not pairs:
        return ()
    confidences = np.array([[confidence] for confidence, _ in pairs])
    right = np.array([[hit] for _, hit in pairs])
    return tuple(reliability(Judged(confidences, np.ones_like(right), right, right)))
