"""Where tags go wrong: by tag, by threshold, by README."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tagger.evaluation.labels import Label
from tagger.evaluation.measures import (
    Judged,
    measure,
    select,
)
from tagger.selection import Selection
from tagger.vocabulary import Vocabulary

_STEPS = 50
"""Thresholds from 0 to 1 at which precision and recall are taken."""


@dataclass(frozen=True)
class TagRow:
    """How one tag fares.

    Attributes:
        name: the tag.
        support: READMEs whose label holds it.
        given: READMEs that were given it.
        precision: the share of these whose label holds or accepts it; None if there are none.
        recall: the share of the label's that were given it; None if there are none.
        confused: the tag it changes places with most often: it was missed where that was given
            wrongly, or the other way round; empty if with none.
        times: how often.

    """

    name: str
    support: int
    given: int
    precision: float | None
    recall: float | None
    confused: str
    times: int


@dataclass(frozen=True)
class Point:
    """What a threshold makes of precision and recall; not a number where no tag is given."""

    threshold: float
    precision: float
    recall: float


@dataclass(frozen=True)
class Miss:
    """A README that was given a wrong tag, or none of the right ones.

    Attributes:
        id: its id.
        wanted: the label's tags.
        accepted: further ones that would be accepted.
        given: the tags that were given, each with its confidence and whether that is right.
        ranked: the place of the best of the label's tags in the ranking, from 1.
        read: what was read of it.

    """

    id: str
    wanted: tuple[str, ...]
    accepted: tuple[str, ...]
    given: tuple[tuple[str, float, bool], ...]
    ranked: int | None
    read: str


def by_tag(judged: Judged, vocabulary: Vocabulary) -> list[TagRow]:
    """Return a row for each tag that a label holds or a README was given, the commonest first."""
    names = [tag.label for tag in vocabulary]
    missed, wrong = judged.gold & ~judged.given, judged.given & ~judged.accepted
    swaps = missed.T.astype(int) @ wrong.astype(int)
    swaps = swaps + swaps.T
    rows = []
    for index, name in enumerate(names):
        support, given = int(judged.gold[:, index].sum()), int(judged.given[:, index].sum())
        if not support and not given:
            continue
        right = int((judged.given & judged.accepted)[:, index].sum())
        found = int((judged.given & judged.gold)[:, index].sum())
        other = int(swaps[index].argmax())
        times = int(swaps[index, other])
        rows.append(
            TagRow(
                name=name,
                support=support,
                given=given,
                precision=right / given if given else None,
                recall=found / support if support else None,
                confused=names[other] if times else "",
                times=times,
            )
        )
    return sorted(rows, key=lambda row: (-row.support, -row.given, row.name))


def by_threshold(judged: Judged, selection: Selection) -> list[Point]:
    """Return precision and recall of the given tags at thresholds from 0 to 1."""
    points = []
    for step in range(_STEPS + 1):
        threshold = step / _STEPS
        given = select(judged.confidences, replace(selection, threshold=threshold), threshold)
        found = measure(replace(judged, given=given))
        shares = (found.get(name, math.nan) for name in ("precision_given", "recall_given"))
        points.append(Point(threshold, *shares))
    return points


def misses(
    judged: Judged, labels: Sequence[Label], vocabulary: Vocabulary, read: Sequence[str], most: int
) -> list[Miss]:
    """Return the worst misses: wrong tags of much more confidence than the right ones have."""
    names = [tag.label for tag in vocabulary]
    wrong = judged.given & ~judged.accepted
    surest = np.where(wrong, judged.confidences, 0.0).max(axis=1)
    hoped = np.where(judged.gold, judged.confidences, 0.0).max(axis=1)
    missed = judged.gold.any(axis=1) & ~(judged.given & judged.gold).any(axis=1)
    lost = np.flatnonzero(wrong.any(axis=1) | missed)
    rows = lost[np.argsort((hoped - surest)[lost], kind="stable")][:most]
    return [_miss(judged, labels[row], names, read[row], row) for row in rows.tolist()]


def _miss(judged: Judged, label: Label, names: Sequence[str], read: str, row: int) -> Miss:
    order = np.argsort(-judged.confidences[row], kind="stable")
    places = np.flatnonzero(judged.gold[row][order])
    return Miss(
        id=label.id,
        wanted=label.tags,
        accepted=label.acceptable,
        given=tuple(
            (names[tag], float(judged.confidences[row, tag]), bool(judged.accepted[row, tag]))
            for tag in order
            if judged.given[row, tag]
        ),
        ranked=int(places[0]) + 1 if len(places) else None,
        read=read,
    )
