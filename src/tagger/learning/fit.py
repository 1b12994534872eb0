"""Fit a head to examples, and find out what it is worth.

Ridge regressions of the tags on a README's features are fitted in the dual, so that a few hundred
READMEs take milliseconds. Their out-of-fold scores (Wolpert 1992, "Stacked Generalization") then
become one more input of the logistic function that gives confidences. That is fitted with a
Gaussian prior around the zero-shot calibration: few labels move it little.

Whether labels have taught anything is asked of READMEs that the fit has not seen. If their
log-likelihood is not higher by more than its standard error would allow, the head counts for
nothing, and tags are ranked as without it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tagger.evaluation.labels import Label
from tagger.evaluation.measures import Bools, Floats, Judged, judge, of_given, select
from tagger.methods.rank.calibration import Calibration, prior_shift
from tagger.methods.rank.evidence import Evidence
from tagger.selection import Selection
from tagger.vocabulary import Vocabulary

FOLDS = 8

RIDGE = 0.3
"""The penalty of the ridge regressions, where features have a mean square sum of one."""

PRIOR = 0.3
"""Standard deviation of the logistic function's numbers around the zero-shot ones, for inputs of
unit variance."""

GAIN = 2.0
"""Standard errors by which the log-likelihood of unseen READMEs must be higher."""

PSEUDO_READMES = 60
"""READMEs that the zero-shot threshold counts for, beside those that are labelled."""

_THRESHOLDS = np.arange(0.05, 0.91, 0.01)
_SMOOTHED = 15


@dataclass(frozen=True)
class Examples:
    """Labelled READMEs as they are learnt from.

    Attributes:
        evidence: with features.
        gold: [READMEs, tags] which tags the labels have.
        accepted: [READMEs, tags] which tags they have or accept.

    """

    evidence: Evidence
    gold: Bools
    accepted: Bools

    @classmethod
    def of(cls, evidence: Evidence, labels: Sequence[Label], vocabulary: Vocabulary) -> Self:
        """Put the evidence for READMEs and their labels together."""
        none = np.zeros((len(labels), len(vocabulary)), dtype=bool)
        judged = judge(labels, vocabulary, none.astype(float), none)
        return cls(evidence, judged.gold, judged.accepted)

    def take(self, rows: NDArray[np.int64]) -> Self:
        """Return some of the READMEs."""
        return replace(
            self,
            evidence=self.evidence.select(rows.tolist()),
            gold=self.gold[rows],
            accepted=self.accepted[rows],
        )

    def __len__(self) -> int:
        return len(self.gold)

    @cached_property
    def features(self) -> Floats:
        """[READMEs, width] hidden states."""
        if self.evidence.features is None:
            raise ValueError("evidence without features")
        return self.evidence.features.flatten(1).double().numpy()

    @cached_property
    def targets(self) -> Floats:
        """[READMEs, tags] 1 for the label's tags, 1/2 for those that it accepts."""
        return 0.5 * self.gold + 0.5 * self.accepted


@dataclass(frozen=True)
class Ridge:
    """Ridge regressions of the tags on standardised features.

    Attributes:
        rows: [tags, width] weights.
        mean: [width] what is subtracted from features.
        scale: [width] what they are multiplied with.

    """

    rows: Floats
    mean: Floats
    scale: Floats

    @classmethod
    def fit(cls, features: Floats, targets: Floats, penalty: float = RIDGE) -> Self:
        """Solve the dual: as many equations as READMEs. Scores are deviations from base rates."""
        mean = features.mean(axis=0)
        scale = 1 / (np.sqrt(features.shape[1]) * np.maximum(features.std(axis=0), 1e-6))
        standard = (features - mean) * scale
        gram = standard @ standard.T + penalty * np.eye(len(standard))
        dual = np.linalg.solve(gram, targets - targets.mean(axis=0))
        return cls((standard.T @ dual).T, mean, scale)

    def scores(self, features: Floats) -> Floats:
        """Return how far features speak for each tag, [READMEs, tags]."""
        scores: Floats = ((features - self.mean) * self.scale) @ self.rows.T
        return scores


def folds(size: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return rows to fit and rows to judge, for each fold; the rows are in a random order."""
    parts = [np.arange(start, size, FOLDS) for start in range(min(FOLDS, size))]
    return [(np.setdiff1d(np.arange(size), part), part) for part in parts]


def out_of_fold(examples: Examples) -> Floats:
    """Return the scores of each README by regressions that have not seen it, [READMEs, tags]."""
    scores = np.zeros(examples.gold.shape)
    for fit, unseen in folds(len(examples)):
        part = examples.take(fit)
        scores[unseen] = Ridge.fit(part.features, part.targets).scores(examples.features[unseen])
    return scores


@dataclass(frozen=True)
class Learnt:
    """A calibration with which a head's scores become confidences.

    Attributes:
        calibration: its numbers, with the threshold.
        weight: of the head's scores.

    """

    calibration: Calibration
    weight: float

    @classmethod
    def fit(cls, examples: Examples, scores: Floats, start: Calibration) -> Self:
        """Fit the logistic function and the threshold to out-of-fold scores.

        Every pair of README and tag counts alike, so that confidences stay true.
        """
        inputs = inputs_of(examples, scores, start)
        spread = inputs.std(axis=(0, 1)) + 1e-9
        spread[-1] = 1.0
        offset = start.logits(examples.evidence).double().numpy()
        moved = _logistic(inputs / spread, examples.accepted, offset) / spread
        margin = max(start.margin + float(moved[0]), 0.0)
        calibration = replace(
            start,
            margin=margin,
            mentions=start.mentions + float(moved[1]),
            lead=start.lead + float(moved[2]),
            shift=start.shift + float(moved[3]),
            intercept=start.intercept + float(moved[5]),
        )
        learnt = cls(calibration, max(float(moved[4]), 0.0))
        confidences = sigmoid(learnt.logits(examples, scores))
        found = best_threshold(confidences, examples)
        size = len(examples)
        threshold = (size * found + PSEUDO_READMES * start.threshold) / (size + PSEUDO_READMES)
        return replace(learnt, calibration=replace(calibration, threshold=round(threshold, 3)))

    def logits(self, examples: Examples, scores: Floats) -> Floats:
        """Return the logits of confidences, [READMEs, tags]."""
        logits: Floats = self.calibration.logits(examples.evidence).double().numpy()
        return logits + self.weight * scores

    def judged(self, examples: Examples, scores: Floats) -> Judged:
        """Judge the replies to READMEs."""
        confidences = sigmoid(self.logits(examples, scores))
        given = select(confidences, Selection(), self.calibration.threshold)
        return Judged(confidences, given, examples.gold, examples.accepted)


@dataclass(frozen=True)
class Outcome:
    """What was learnt, and how good it is by READMEs that the fit has not seen.

    Attributes:
        ridge: the regressions.
        learnt: from scores to confidences; its weight is 0 if the labels have taught nothing.
        before: the READMEs as they are ranked without a head.
        after: each README as it is ranked by a head that was learnt from the others.

    """

    ridge: Ridge
    learnt: Learnt
    before: Judged
    after: Judged


def fit(examples: Examples, start: Calibration) -> Outcome:
    """Learn from examples, and judge by nested cross-validation what that is worth."""
    nothing = np.zeros(examples.gold.shape)
    zero = Learnt(start, 0.0)
    before = zero.judged(examples, nothing)
    parts, order, gains = [], [], []
    for rows, unseen in folds(len(examples)):
        part, test = examples.take(rows), examples.take(unseen)
        learnt = Learnt.fit(part, out_of_fold(part), start)
        scores = Ridge.fit(part.features, part.targets).scores(test.features)
        plain = Learnt.fit(part, np.zeros(part.gold.shape), start)
        gains.append(
            _log_likelihood(learnt.logits(test, scores), test)
            - _log_likelihood(plain.logits(test, np.zeros(test.gold.shape)), test)
        )
        parts.append(learnt.judged(test, scores))
        order.append(unseen)
    after = Judged.cat(parts).take(np.argsort(np.concatenate(order)))
    ridge = Ridge.fit(examples.features, examples.targets)
    nothing_learnt = Outcome(ridge, zero, before, before)
    gain = np.concatenate(gains)
    if gain.mean() < GAIN * gain.std() / np.sqrt(len(gain)):
        return nothing_learnt
    learnt = Learnt.fit(examples, out_of_fold(examples), start)
    return Outcome(ridge, learnt, before, after) if learnt.weight else nothing_learnt


def inputs_of(examples: Examples, scores: Floats, start: Calibration) -> Floats:
    """Return the inputs of the logistic function, [READMEs, tags, 6]."""
    evidence = examples.evidence
    margins = start.margins(evidence).double().numpy()
    mentions = evidence.mentions.double().numpy()
    shift = prior_shift(evidence.log_probs.first, evidence.prior.first).log().double().numpy()
    return np.stack(
        [
            margins,
            mentions[..., 0],
            mentions[..., 1],
            np.broadcast_to(shift[:, None], margins.shape),
            scores,
            np.ones(margins.shape),
        ],
        axis=-1,
    )


def best_threshold(confidences: Floats, examples: Examples) -> float:
    """Return the threshold with the highest F1, averaged with that of nearby ones."""

    def f1(threshold: float) -> float:
        given = select(confidences, Selection(), threshold)
        judged = Judged(confidences, given, examples.gold, examples.accepted)
        return of_given(judged)[2]

    values = np.array([f1(threshold) for threshold in _THRESHOLDS])
    return float(_THRESHOLDS[moving_average(values, _SMOOTHED).argmax()])


def moving_average(values: Floats, width: int) -> Floats:
    """Return the moving average over `width` values, fewer at both ends."""
    ones = np.ones(width)
    sums = np.convolve(values, ones, "same")
    return np.asarray(sums / np.convolve(np.ones(len(values)), ones, "same"))


def sigmoid(logits: Floats) -> Floats:
    """Return probabilities."""
    probabilities: Floats = 1 / (1 + np.exp(-np.clip(logits, -50, 50)))
    return probabilities


def _logistic(inputs: Floats, right: Bools, offset: Floats) -> Floats:
    """Return the weights of a logistic regression that starts from an offset, [inputs].

    Those of the highest posterior probability, by a Gaussian prior around zero whose standard
    deviation is `PRIOR`.
    """
    from scipy.optimize import minimize

    flat, target = inputs.reshape(-1, inputs.shape[-1]), right.ravel().astype(float)
    signs, start = np.where(target, 1.0, -1.0), offset.ravel()

    def loss(weights: Floats) -> tuple[float, Floats]:
        logits = start + flat @ weights
        value = np.logaddexp(0, -signs * logits).sum() + (weights @ weights) / (2 * PRIOR**2)
        gradient = flat.T @ (sigmoid(logits) - target) + weights / PRIOR**2
        return float(value), gradient

    found = minimize(loss, np.zeros(flat.shape[1]), jac=True, method="L-BFGS-B")
    weights: Floats = found.x
    return weights


def _log_likelihood(logits: Floats, examples: Examples) -> Floats:
    """Return the log-likelihood of each README's labels, [READMEs]."""
    signs = np.where(examples.accepted, 1.0, -1.0)
    per_pair: Floats = -np.logaddexp(0, -signs * logits)
    summed: Floats = per_pair.sum(axis=1)
    return summed
