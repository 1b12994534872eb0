"""How good tags are: measures of rankings and replies, with intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tagger.errors import LabelsError
from tagger.evaluation.labels import Label
from tagger.selection import Selection
from tagger.vocabulary import Vocabulary, fold

BINS = 10
"""Bins of equal mass, of the expected calibration error and the reliability table."""

GIVEN = 3
"""The most tags of a README that recall asks for."""

RESAMPLES = 1000
_SEED = 0

_NORMAL = 1.959963984540054
"""Standard deviations around the mean that hold 95 % of a normal distribution."""

MEASURES = {
    "precision_at_1_strict": ("precision@1 strict", "the first tag is one of the label's"),
    "precision_at_1_lenient": ("precision@1 lenient", "the label has or accepts the first tag"),
    "hit_at_3": ("hit@3", "one of the three best tags is one of the label's"),
    "recall_at_3": ("recall@3", "share of the label's tags, at most 3, among the three best"),
    "recall_at_5": ("recall@5", "share of the label's tags, at most 5, among the five best"),
    "precision_given": ("precision (given)", "share of given tags that a label has or accepts"),
    "recall_given": ("recall (given)", "share of the label's tags, at most 3, that are given"),
    "f1_given": ("F1 (given)", "harmonic mean of precision (given) and recall (given)"),
    "micro_precision_strict": ("micro precision strict", "share of given tags that a label has"),
    "micro_precision_lenient": ("micro precision lenient", "the same as precision (given)"),
    "micro_recall": ("micro recall", "share of all labels' tags that are given"),
    "micro_f1_strict": (
        "micro F1 strict",
        "harmonic mean of micro precision strict and recall",
    ),
    "micro_f1_lenient": (
        "micro F1 lenient",
        "harmonic mean of micro precision lenient and (strict) micro recall",
    ),
    "tags_per_readme": ("tags per README", "how many tags are given"),
    "ece": ("ECE", "expected calibration error of given tags, ten bins of equal mass"),
    "confidence_bias": (
        "confidence bias",
        "mean confidence of given tags minus the share right",
    ),
    "brier": ("Brier score", "mean squared difference of confidence and being right"),
}
"""The title of each measure, and what it is. Right is what a label has or accepts; precision and
confidence are about the tags that are given, the measures at k about the whole ranking."""

_YES_OR_NO = ("precision_at_1_strict", "precision_at_1_lenient", "hit_at_3")
"""Measures of which each labelled README has either 0 or 1."""

_MEANS = ("tags_per_readme", "confidence_bias")
"""Measures that are not shares."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Judged:
    """Rankings and replies beside the labels; all arrays are [READMEs, tags].

    Attributes:
        confidences: what the tags are ranked by.
        given: which tags the reply has.
        gold: which tags the label has.
        accepted: which tags the label has or accepts.
        sure: whether the confidences are probabilities; those of a written reply only give the
            order of its tags, and are 0 for all others.

    """

    confidences: Floats
    given: Bools
    gold: Bools
    accepted: Bools
    sure: bool = True

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """Concatenate the READMEs of several parts."""
        return cls(
            confidences=np.concatenate([part.confidences for part in parts]),
            given=np.concatenate([part.given for part in parts]),
            gold=np.concatenate([part.gold for part in parts]),
            accepted=np.concatenate([part.accepted for part in parts]),
            sure=all(part.sure for part in parts),
        )

    def best_first(self) -> Self:
        """Return the same with the tags of each README in the order of its ranking."""
        order = np.argsort(-self.confidences, axis=1, kind="stable")
        return replace(
            self,
            confidences=np.take_along_axis(self.confidences, order, axis=1),
            given=np.take_along_axis(self.given, order, axis=1),
            gold=np.take_along_axis(self.gold, order, axis=1),
            accepted=np.take_along_axis(self.accepted, order, axis=1),
        )

    def take(self, rows: Rows) -> Self:
        """Return some of the READMEs; rows may repeat."""
        return replace(
            self,
            confidences=self.confidences[rows],
            given=self.given[rows],
            gold=self.gold[rows],
            accepted=self.accepted[rows],
        )


def judge(
    labels: Sequence[Label], vocabulary: Vocabulary, confidences: Floats, given: Bools
) -> Judged:
    """Compare [READMEs, tags] confidences and replies with labels.

    Raises:
        LabelsError: a label has a tag that is not in the vocabulary.

    """
    index_of = {fold(tag.name): index for index, tag in enumerate(vocabulary)}
    for label in labels:
        for tag in (*label.tags, *label.acceptable):
            if fold(tag) not in index_of:
                raise LabelsError(
                    f"{label.id!r} has the tag {tag!r}, which is not in the vocabulary"
                )
    gold = np.zeros(confidences.shape, dtype=bool)
    accepted = np.zeros(confidences.shape, dtype=bool)
    for row, label in enumerate(labels):
        gold[row, [index_of[fold(tag)] for tag in label.tags]] = True
        accepted[row, [index_of[fold(tag)] for tag in (*label.tags, *label.acceptable)]] = True
    return Judged(confidences, given, gold, accepted)


def judge_written(
    labels: Sequence[Label], vocabulary: Vocabulary, replies: Sequence[Sequence[str]]
) -> Judged:
    """Compare replies with labels: each is the names of its tags in order, none for a failure."""
    index_of = {fold(tag.name): index for index, tag in enumerate(vocabulary)}
    order = np.zeros((len(replies), len(vocabulary)))
    for row, names in enumerate(replies):
        for rank, name in enumerate(names, start=1):
            order[row, index_of[fold(name)]] = 1 / rank
    return replace(judge(labels, vocabulary, order, order > 0), sure=False)


def select(confidences: Floats, selection: Selection, threshold: float) -> Bools:
    """Return which tags the replies have, [READMEs, tags].

    Args:
        confidences: [READMEs, tags].
        selection: how many tags are given, and from which confidence on.
        threshold: the confidence that applies if the selection has none.

    """
    return given_at(confidences, places(confidences), selection, threshold)


def places(confidences: Floats) -> Rows:
    """Return the place of each tag in the README's ranking, from 0, [READMEs, tags]."""
    return np.argsort(np.argsort(-confidences, axis=1, kind="stable"), axis=1)


def given_at(confidences: Floats, place: Rows, selection: Selection, threshold: float) -> Bools:
    """Return what `select` does for tags whose `places` are known."""
    least = threshold if selection.threshold is None else selection.threshold
    sure = (confidences >= least) & (place < selection.max_tags)
    given: Bools = sure | (place < selection.min_tags)
    return given


def measure(judged: Judged) -> dict[str, float]:
    """Return the measures, by the names of `MEASURES`.

    Those of the label's tags are means over the READMEs that have any, and are missing if none has;
    precision and the measures of confidences are missing if no tag is given.
    """
    return _measure(judged.best_first())


def _measure(judged: Judged) -> dict[str, float]:
    """Return the measures of READMEs whose tags are in the order of the ranking."""
    labelled = judged.take(np.flatnonzero(judged.gold.any(axis=1)))
    measures = _of_the_ranking(labelled) if len(labelled.gold) else {}
    confidences, right = judged.confidences[judged.given], judged.accepted[judged.given]
    precision, recall, f1 = of_given(judged)
    if len(right):
        measures["precision_given"] = precision
    if len(labelled.gold):
        measures["recall_given"] = recall
        measures["f1_given"] = f1
        measures |= _micro(judged)
    measures["tags_per_readme"] = float(judged.given.sum(axis=1).mean())
    if len(right) and judged.sure:
        measures["ece"] = calibration_error(confidences, right, BINS)
        measures["confidence_bias"] = float((confidences - right).mean())
        measures["brier"] = float(((confidences - right) ** 2).mean())
    return {name: measures[name] for name in MEASURES if name in measures}


def _micro(judged: Judged) -> dict[str, float]:
    """Return precision, recall and F1 over all pairs of README and tag, strict and lenient."""
    given, hits = judged.given.sum(), (judged.given & judged.gold).sum()
    recall = float(hits / judged.gold.sum())
    measures: dict[str, float] = {}
    for kind, right in (("strict", hits), ("lenient", (judged.given & judged.accepted).sum())):
        precision = float(right / max(given, 1))
        measures |= {f"micro_precision_{kind}": precision} if given else {}
        measures |= {
            f"micro_f1_{kind}": 2 * precision * recall / max(precision + recall, 1e-12),
        }
    return measures | {"micro_recall": recall}


def of_given(judged: Judged) -> tuple[float, float, float]:
    """Return precision, recall and F1 of the given tags; 0 where there is nothing to measure."""
    right = (judged.given & judged.accepted).sum()
    precision = float(right / max(judged.given.sum(), 1))
    support = judged.gold.sum(axis=1)
    hits = (judged.gold & judged.given).sum(axis=1)[support > 0]
    shares = hits / np.minimum(GIVEN, support[support > 0])
    recall = float(shares.mean()) if len(shares) else 0.0
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-12)


def _of_the_ranking(judged: Judged) -> dict[str, float]:
    # A written reply of two tags has no third one, whatever the order of the rest.
    in_reply = judged.confidences > 0
    gold, accepted = judged.gold & in_reply, judged.accepted & in_reply
    support = judged.gold.sum(axis=1)
    return {
        "precision_at_1_strict": float(gold[:, 0].mean()),
        "precision_at_1_lenient": float(accepted[:, 0].mean()),
        "hit_at_3": float(gold[:, :3].any(axis=1).mean()),
        "recall_at_3": float((gold[:, :3].sum(axis=1) / np.minimum(3, support)).mean()),
        "recall_at_5": float((gold[:, :5].sum(axis=1) / np.minimum(5, support)).mean()),
    }


def calibration_error(confidences: Floats, right: Bools, bins: int) -> float:
    """Return the expected calibration error in bins of equal mass (Guo et al. 2017)."""
    if not len(confidences):
        return 0.0
    parts = np.array_split(np.argsort(confidences, kind="stable"), bins)
    gaps = [
        len(part) * abs(confidences[part].mean() - right[part].mean())
        for part in parts
        if len(part)
    ]
    return float(sum(gaps) / len(confidences))


def error_by_chance(judged: Judged) -> float:
    """Return the expected calibration error that perfect confidences would show by chance.

    The mean over simulations in which each given tag is right with the probability that its
    confidence states.
    """
    confidences = judged.confidences[judged.given]
    draw = np.random.default_rng(_SEED)
    simulated = draw.random((RESAMPLES, len(confidences))) < confidences
    return float(np.mean([calibration_error(confidences, one, BINS) for one in simulated]))


def intervals(judged: Judged, resamples: int = RESAMPLES) -> dict[str, tuple[float, float]]:
    """Return 95 % intervals of the measures.

    The bootstrap over READMEs gives a standard error (Efron 1979). That of a mean becomes an
    interval by Student's t. That of a share becomes the interval of Agresti and Coull (1998) for as
    many trials as it stands for, because percentiles would say of 60 hits in 60 that the truth is
    1; where a README is right or wrong, the READMEs are the trials. The calibration error has no
    interval, because resampling only adds to it; `error_by_chance` stands beside it. One README has
    no intervals, and samples that lack a measure are left out of its interval.
    """
    size = len(judged.gold)
    if size < 2:
        return {}
    draw = np.random.default_rng(_SEED)
    ranked = judged.best_first()
    samples = [_measure(ranked.take(draw.integers(0, size, size))) for _ in range(resamples)]
    labelled = int(judged.gold.any(axis=1).sum())
    limits = {}
    for name, value in _measure(ranked).items():
        values = [sample[name] for sample in samples if name in sample] or [value]
        error = float(np.std(values)) * math.sqrt(size / (size - 1))
        if name in _MEANS:
            half = _student(size - 1) * error
            limits[name] = (value - half, value + half)
        elif name in _YES_OR_NO:
            limits[name] = agresti_coull(value, labelled)
        elif name != "ece":
            limits[name] = _of_share(value, error, size)
    return limits


def interval_of_pairs(right: Rows, pairs: Rows) -> tuple[float, float]:
    """Return the 95 % interval of a share of pairs of README and tag, as `intervals` does.

    Args:
        right: how many pairs of each README are right, [READMEs].
        pairs: of how many; of at least one README more than none.

    """
    size, value = len(pairs), float(right.sum() / pairs.sum())
    if size < 2:
        return agresti_coull(value, size)
    draw = np.random.default_rng(_SEED)
    samples = [draw.integers(0, size, size) for _ in range(RESAMPLES)]
    shares = [right[each].sum() / of for each in samples if (of := pairs[each].sum())]
    return _of_share(value, float(np.std(shares)) * math.sqrt(size / (size - 1)), size)


def _of_share(share: float, error: float, size: int) -> tuple[float, float]:
    """Return the 95 % interval of a share by its standard error, measured on so many READMEs."""
    trials = _trials(share, error, size) * (_NORMAL / _student(size - 1)) ** 2
    return agresti_coull(share, trials)


def _trials(share: float, error: float, size: int) -> float:
    """Return how many trials a share stands for that was measured on so many READMEs.

    They are counted as if there were one README more, of which a half is right: where nearly all
    are right, the standard error that a sample shows is too small more often than not.
    """
    smoothed = (share * size + 0.5) / (size + 1)
    variance = error**2 + ((0.5 - share) / size) ** 2
    return smoothed * (1 - smoothed) / variance if variance else size


def agresti_coull(share: float, trials: float) -> tuple[float, float]:
    """Return the 95 % interval of a share that was seen in a number of trials.

    That of Wilson (1927), which has the same centre, is too short where nearly all is right.

    Source: Agresti and Coull 1998, "Approximate is better than exact".
    """
    more = trials + _NORMAL**2
    centre = (share * trials + _NORMAL**2 / 2) / more
    half = _NORMAL * math.sqrt(centre * (1 - centre) / more)
    # A share of 0 or 1 is its own limit, but for rounding.
    return min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share)


def _student(freedom: int) -> float:
    """Return the quantile .975 of Student's t (Abramowitz and Stegun 1964, 26.7.5)."""
    z = _NORMAL
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )


def reliability(judged: Judged) -> list[tuple[float, float, int]]:
    """Return mean confidence, share of right tags and number of given tags for each bin."""
    confidences, right = judged.confidences[judged.given], judged.accepted[judged.given]
    parts = np.array_split(np.argsort(confidences, kind="stable"), BINS)
    return [
        (float(confidences[part].mean()), float(right[part].mean()), len(part))
        for part in parts
        if len(part)
    ]
