"""Fit a head to examples, and find out what it is worth.

Ridge regressions of the tags on a README's features take milliseconds for a few hundred READMEs:
they are fitted in the dual, unless there are more READMEs than features. Their out-of-fold scores
(Wolpert 1992, "Stacked Generalization") then become one more input of the logistic function that
gives confidences. That is fitted with a Gaussian prior around the zero-shot calibration: few labels
move it little. READMEs of one group, such as near-duplicates, stay in one fold: what is said of one
must not help to guess the other. The regressions also see some texts that say nothing, for which no
tag is right.

Whether labels have taught anything is asked of READMEs that the fit has not seen. If their
log-likelihood is not higher by more than its standard error would allow, the head counts for
nothing, and tags are ranked as without it. Labels that contradict the zero-shot evidence have to
be surer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import numpy as np

from tagger.evaluation.labels import Label
from tagger.evaluation.measures import (
    Bools,
    Floats,
    Judged,
    Rows,
    given_at,
    judge,
    of_given,
    places,
    select,
)
from tagger.methods.rank.calibration import Calibration, prior_shift
from tagger.methods.rank.evidence import Evidence
from tagger.methods.rank.head import blended_threshold
from tagger.selection import Selection
from tagger.vocabulary import Vocabulary

FOLDS = 8

RIDGE = 0.3
"""The penalty of the ridge regressions, where features have a mean square sum of one."""

VOID_SHARE = 0.25
"""What texts that say nothing weigh in the regressions, all together, where all READMEs weigh 1."""

PRIOR = 0.3
"""Standard deviation of the logistic function's numbers around the zero-shot ones, for inputs of
unit variance."""

GAIN = 2.0
"""Standard errors by which the log-likelihood of unseen READMEs must be higher."""

BORNE_OUT = 0.5
"""Share of its weight that the zero-shot margin keeps in a fit to sound labels: from .57 on where
30 to 120 labels were drawn from four sets, and .25 at most where they were shuffled."""

PSEUDO_READMES = 60
"""READMEs that the zero-shot threshold counts for, beside those that are labelled."""

BRIEF_FROM = 120
"""READMEs with a tag from which on heads are brief: as good by then, and worse with fewer."""

ROUNDS = 3
"""How often it is estimated which tags incomplete labels lack, by what was learned before."""

PSEUDO_LABELS = 5
"""Labels of a tag that the share of right tags which labels have, over all tags, counts for."""

BULK = 0.25
"""What the label of a README that nobody has looked at weighs, where others weigh 1."""

_THRESHOLDS = [round(0.01 * step, 2) for step in range(5, 91)]
_SMOOTHED = 15


@dataclass(frozen=True)
class Examples:
    """Labelled READMEs as they are learned from.

    Attributes:
        evidence: with features.
        gold: [READMEs, tags] which tags the labels have.
        accepted: [READMEs, tags] which tags they have or accept.
        groups: [READMEs] which of them belong together.
        weights: [READMEs] how much each counts in the regressions.
        void: [texts, width] features of texts that say nothing.
        brief: whether a brief head is learned; see `Head`.
        incomplete: whether labels may lack tags that are right.
        missing: [READMEs, tags] the probability that a tag is right that the label neither has nor
            accepts; see `fill_in`. None where it is zero.
        share: [tags] the share of right tags that labels have or accept; None where it is one.
        trust: [READMEs] how much each counts in the fit of confidences; None where all count alike.
        selection: how many tags are given in the replies that are judged.

    """

    evidence: Evidence
    gold: Bools
    accepted: Bools
    groups: Rows
    weights: Floats
    void: Floats
    brief: bool
    incomplete: bool = False
    missing: Floats | None = None
    share: Floats | None = None
    trust: Floats | None = None
    selection: Selection = field(default_factory=Selection)

    @classmethod
    def of(
        cls,
        evidence: Evidence,
        labels: Sequence[Label],
        vocabulary: Vocabulary,
        void: Evidence,
        groups: Rows | None = None,
        weights: Floats | None = None,
    ) -> Self:
        """Put the evidence for READMEs and their labels together, each a group of its own."""
        none = np.zeros((len(labels), len(vocabulary)), dtype=bool)
        judged = judge(labels, vocabulary, none.astype(float), none)
        return cls(
            evidence,
            judged.gold,
            judged.accepted,
            np.arange(len(labels)) if groups is None else groups,
            np.ones(len(labels)) if weights is None else weights,
            features_of(void),
            is_brief(judged.gold),
        )

    def take(self, rows: Rows) -> Self:
        """Return some of the READMEs."""
        return replace(
            self,
            evidence=self.evidence.select(rows.tolist()),
            gold=self.gold[rows],
            accepted=self.accepted[rows],
            groups=self.groups[rows],
            weights=self.weights[rows],
            missing=None if self.missing is None else self.missing[rows],
            trust=None if self.trust is None else self.trust[rows],
        )

    def shuffled(self) -> Self:
        """Return the READMEs in an order that is always the same, and random."""
        return self.take(shuffled(len(self)))

    def __len__(self) -> int:
        return len(self.gold)

    @cached_property
    def features(self) -> Floats:
        """[READMEs, width] hidden states."""
        return features_of(self.evidence)

    @cached_property
    def known(self) -> Bools:
        """[tags] which tags some label has or accepts."""
        return np.asarray(self.accepted.any(axis=0))

    @cached_property
    def chances(self) -> Floats:
        """[READMEs, tags] the probability that a tag is acceptable, by the label."""
        return np.where(self.accepted, 1.0, 0.0 if self.missing is None else self.missing)

    @cached_property
    def targets(self) -> Floats:
        """[READMEs, tags] 1 for the label's tags, 1/2 for those that it accepts."""
        return 0.5 * self.gold + 0.5 * self.accepted


def shuffled(size: int) -> Rows:
    """Return the places of so many READMEs in an order that is always the same, and random."""
    return np.random.default_rng(0).permutation(size)


def is_brief(gold: Bools) -> bool:
    """Return whether a head that is learned from labels, [READMEs, tags], is brief; see `Head`."""
    return int(gold.any(axis=1).sum()) >= BRIEF_FROM


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
    def fit(cls, examples: Examples) -> Self:
        """Solve the dual or the primal equations: as many as texts, or as the features are wide.

        Scores are deviations from base rates.
        """
        features = np.concatenate([examples.features, examples.void])
        nothing = np.zeros((len(examples.void), examples.targets.shape[1]))
        targets = np.concatenate([examples.targets, nothing])
        weights = _weights(examples)
        mean = np.average(features, axis=0, weights=weights)
        deviation = np.sqrt(np.average((features - mean) ** 2, axis=0, weights=weights))
        scale = 1 / (np.sqrt(len(mean)) * np.maximum(deviation, 1e-6))
        standard = (features - mean) * scale
        targets = targets - np.average(targets, axis=0, weights=weights)
        if len(standard) <= len(mean):
            gram = standard @ standard.T + np.diag(RIDGE / weights)
            rows = (standard.T @ np.linalg.solve(gram, targets)).T
        else:
            weighted = standard.T * weights
            covariance = weighted @ standard + RIDGE * np.eye(len(mean))
            rows = np.linalg.solve(covariance, weighted @ targets).T
        return cls(rows, mean, scale)

    def scores(self, features: Floats) -> Floats:
        """Return how far features speak for each tag, [READMEs, tags]."""
        scores: Floats = ((features - self.mean) * self.scale) @ self.rows.T
        return scores


def features_of(evidence: Evidence) -> Floats:
    """Return the features that heads use, [READMEs, width]."""
    if evidence.features is None:
        raise ValueError("evidence without features")
    return evidence.features[:, -1].double().numpy()


def _weights(examples: Examples) -> Floats:
    """Return the weights of READMEs and of texts that say nothing, 1 on average."""
    void = np.full(len(examples.void), VOID_SHARE / max(len(examples.void), 1))
    weights = np.concatenate([examples.weights / examples.weights.sum(), void])
    relative: Floats = weights / weights.mean()
    return relative


def folds(groups: Rows) -> list[tuple[Rows, Rows]]:
    """Return rows to fit and rows to judge, for each fold; the rows are in a random order.

    No group is in two folds.
    """
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    place = np.argsort(np.argsort(first))[group]
    fold = place % min(FOLDS, len(first))
    return [
        (np.flatnonzero(fold != number), np.flatnonzero(fold == number))
        for number in range(fold.max() + 1)
    ]


def out_of_fold(examples: Examples) -> Floats:
    """Return the scores of each README by regressions that have not seen it, [READMEs, tags]."""
    scores = np.zeros(examples.gold.shape)
    for rows, unseen in folds(examples.groups):
        scores[unseen] = Ridge.fit(examples.take(rows)).scores(examples.features[unseen])
    return scores


@dataclass(frozen=True)
class Learned:
    """A calibration with which a head's scores become confidences.

    Attributes:
        start: the zero-shot calibration, which tags keep that no label has or accepts.
        calibration: the numbers for the other tags, with the threshold.
        weight: of the head's scores.
        known: [tags] which tags the labels have or accept.
        brief: whether the head is brief; see `Head`.

    """

    start: Calibration
    calibration: Calibration
    weight: float
    known: Bools
    brief: bool

    @classmethod
    def nothing(cls, start: Calibration, tags: int) -> Self:
        """Return what ranks so many tags as without a head."""
        return cls(start, start, 0.0, np.zeros(tags, dtype=bool), brief=False)

    @classmethod
    def fit(cls, examples: Examples, scores: Floats, start: Calibration) -> Self:
        """Fit the logistic function to out-of-fold scores; the threshold stays.

        Every pair of README and known tag counts alike, so that confidences stay true.
        """
        evidence, suited = examples.evidence, start
        if examples.brief:
            evidence, suited = evidence.of_last_question(), start.of_last_question()
        calibration, weight = _calibrate(examples, evidence, scores, suited)
        calibration = replace(calibration, background=start.background)
        return cls(start, calibration, weight, examples.known, examples.brief)

    def with_threshold(self, examples: Examples, scores: Floats) -> Self:
        """Return it with the threshold that suits out-of-fold scores.

        Incomplete labels cannot tell: with them it stays.
        """
        if examples.incomplete:
            return self
        confidences = sigmoid(self.logits(examples, scores))
        found = best_threshold(confidences, examples.gold, examples.accepted)
        size, before = len(examples), self.start.threshold
        threshold = (size * found + PSEUDO_READMES * before) / (size + PSEUDO_READMES)
        return replace(self, calibration=replace(self.calibration, threshold=round(threshold, 3)))

    def logits(self, examples: Examples, scores: Floats) -> Floats:
        """Return the logits of confidences, [READMEs, tags]."""
        evidence, calibration = examples.evidence, self.calibration
        before = self.start.logits(evidence).double().numpy()
        if self.brief:
            evidence, calibration = evidence.of_last_question(), calibration.of_last_question()
        logits = calibration.logits(evidence).double().numpy()
        return np.where(self.known, logits + self.weight * scores, before)

    def judged(self, examples: Examples, scores: Floats) -> Judged:
        """Judge the replies to READMEs."""
        confidences = sigmoid(self.logits(examples, scores))
        share = float(self.known.mean())
        threshold = blended_threshold(self.start, self.calibration, share)
        given = select(confidences, examples.selection, threshold)
        return Judged(confidences, given, examples.gold, examples.accepted)


@dataclass(frozen=True)
class Outcome:
    """What was learned, and how good it is by READMEs that the fit has not seen.

    Attributes:
        ridge: the regressions.
        learned: from scores to confidences; its weight is 0 if the labels have taught nothing.
        before: the READMEs as they are ranked without a head.
        after: each README as it is ranked by a head that was learned from the others.

    """

    ridge: Ridge
    learned: Learned
    before: Judged
    after: Judged


def fill_in(examples: Examples, start: Calibration) -> Examples:
    """Estimate what incomplete labels lack: a tag that is not there may still be right.

    How much its absence counts is found as by Elkan and Noto (2008), "Learning classifiers from
    only positive and unlabeled data". With the probability p that a tag is right, by what is known
    without its label, and the share c of right tags that labels have, a tag that a label lacks is
    right with the probability p (1 - c) / (1 - p c). The regressions take no notice: where labels
    lack right tags at random, their scores are lower, but in the same order.
    """
    learned, scores = Learned.nothing(start, examples.gold.shape[1]), out_of_fold(examples)
    labelled = examples.accepted.sum(axis=0)
    for _ in range(ROUNDS):
        right = sigmoid(learned.logits(examples, scores))
        expected = right.sum(axis=0)
        overall = min(labelled.sum() / expected.sum(), 1.0)
        share = (labelled + PSEUDO_LABELS * overall) / (expected + PSEUDO_LABELS)
        share = np.clip(share, 0.0, 1.0)
        missing = right * (1 - share) / np.maximum(1 - right * share, 1e-9)
        examples = replace(examples, missing=missing, share=share)
        learned = Learned.fit(examples, scores, start)
    return examples


def fit(examples: Examples, start: Calibration) -> Outcome:
    """Learn from examples, and judge by nested cross-validation what that is worth."""
    zero = Learned.nothing(start, examples.gold.shape[1])
    before = zero.judged(examples, np.zeros(examples.gold.shape))
    parts, order, gains = [], [], []
    for rows, unseen in folds(examples.groups):
        part, test = _filled(examples.take(rows), start), examples.take(unseen)
        ridge, learned = _fit(part, out_of_fold(part), start)
        scores = ridge.scores(test.features)
        gains.append(
            _log_likelihood(learned.logits(test, scores), test, part.share)
            - _log_likelihood(_without_head(part, test, start), test, part.share)
        )
        parts.append(learned.judged(test, scores))
        order.append(unseen)
    after = Judged.cat(parts).take(np.argsort(np.concatenate(order)))
    examples = _filled(examples, start)
    scores = out_of_fold(examples)
    ridge, learned = _fit(examples, scores, start)
    gain = np.concatenate(gains)
    error = gain.std() / np.sqrt(len(gain))
    if not learned.weight or gain.mean() < _needed(examples, scores, start) * error:
        return Outcome(ridge, zero, before, before)
    return Outcome(ridge, learned, before, after)


def _filled(examples: Examples, start: Calibration) -> Examples:
    return fill_in(examples, start) if examples.incomplete else examples


def _needed(examples: Examples, scores: Floats, start: Calibration) -> float:
    """Return the standard errors of gain that labels need to count.

    Where they contradict what the model makes of the READMEs, they are more likely to be wrong than
    it is, and need twice as many.
    """
    calibration, _ = _calibrate(examples, examples.evidence, scores, start)
    borne_out = calibration.margin >= BORNE_OUT * start.margin
    return GAIN if borne_out else 2 * GAIN


def _fit(examples: Examples, scores: Floats, start: Calibration) -> tuple[Ridge, Learned]:
    """Fit to examples and to their out-of-fold scores."""
    learned = Learned.fit(examples, scores, start).with_threshold(examples, scores)
    return Ridge.fit(examples), learned


def _without_head(part: Examples, test: Examples, start: Calibration) -> Floats:
    """Return the logits of READMEs without a head, by a calibration that was fitted to others."""
    nothing = np.zeros(part.gold.shape)
    calibration, _ = _calibrate(part, part.evidence, nothing, start)
    before, after = (each.logits(test.evidence).double().numpy() for each in (start, calibration))
    return np.where(part.known, after, before)


def _calibrate(
    examples: Examples, evidence: Evidence, scores: Floats, start: Calibration
) -> tuple[Calibration, float]:
    """Fit the logistic function to evidence and out-of-fold scores.

    Returns:
        The calibration, whose threshold stays, and the weight of the scores.

    """
    known = examples.known
    inputs = inputs_of(evidence, scores, start)[:, known]
    spread = inputs.std(axis=(0, 1)) + 1e-9
    spread[-1] = 1.0
    offset = start.logits(evidence).double().numpy()[:, known]
    moved = logistic(inputs / spread, examples.chances[:, known], offset, examples.trust) / spread
    calibration = replace(
        start,
        margin=max(start.margin + float(moved[0]), 0.0),
        mentions=start.mentions + float(moved[1]),
        lead=start.lead + float(moved[2]),
        shift=start.shift + float(moved[3]),
        intercept=start.intercept + float(moved[5]),
    )
    return calibration, max(float(moved[4]), 0.0)


def inputs_of(evidence: Evidence, scores: Floats, start: Calibration) -> Floats:
    """Return the inputs of the logistic function, [READMEs, tags, 6]."""
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


def best_threshold(confidences: Floats, gold: Bools, accepted: Bools, lose: float = 0.0) -> float:
    """Return the threshold with the highest F1 of given tags, averaged with that of nearby ones.

    Args:
        confidences: [READMEs, tags].
        gold: [READMEs, tags] which tags the label has.
        accepted: [READMEs, tags] which tags the label has or accepts.
        lose: how much F1 may be lost for a higher threshold, which gives fewer but more certain
            tags.

    """
    place, selection = places(confidences), Selection()

    def f1(threshold: float) -> float:
        given = given_at(confidences, place, selection, threshold)
        return of_given(Judged(confidences, given, gold, accepted))[2]

    values = moving_average(np.array([f1(threshold) for threshold in _THRESHOLDS]), _SMOOTHED)
    good = values >= values.max() - lose
    return _THRESHOLDS[int(np.flatnonzero(good).max() if lose else good.argmax())]


def moving_average(values: Floats, width: int) -> Floats:
    """Return the moving average over `width` values, fewer at both ends."""
    ones = np.ones(width)
    sums = np.convolve(values, ones, "same")
    return np.asarray(sums / np.convolve(np.ones(len(values)), ones, "same"))


def sigmoid(logits: Floats) -> Floats:
    """Return probabilities."""
    probabilities: Floats = 1 / (1 + np.exp(-np.clip(logits, -50, 50)))
    return probabilities


def logistic(
    inputs: Floats, right: Floats, offset: Floats, weights: Floats | None = None
) -> Floats:
    """Return the weights of a logistic regression that starts from an offset, [inputs].

    Those of the highest posterior probability, by a Gaussian prior around zero whose standard
    deviation is `PRIOR`.

    Args:
        inputs: [READMEs, tags, inputs].
        right: [READMEs, tags] the probability that a tag is right.
        offset: [READMEs, tags] logits to start from.
        weights: [READMEs] how much each counts; 1 by default.

    """
    from scipy.optimize import minimize

    flat, target = inputs.reshape(-1, inputs.shape[-1]), right.ravel()
    start = offset.ravel()
    counts = 1.0 if weights is None else np.repeat(weights, right.shape[1])

    def loss(numbers: Floats) -> tuple[float, Floats]:
        logits = start + flat @ numbers
        value = (counts * (np.logaddexp(0, logits) - target * logits)).sum()
        value += (numbers @ numbers) / (2 * PRIOR**2)
        gradient = flat.T @ (counts * (sigmoid(logits) - target)) + numbers / PRIOR**2
        return float(value), gradient

    found = minimize(loss, np.zeros(flat.shape[1]), jac=True, method="L-BFGS-B")
    numbers: Floats = found.x
    return numbers


def _log_likelihood(logits: Floats, examples: Examples, share: Floats | None) -> Floats:
    """Return the log-likelihood of each README's labels, [READMEs].

    Args:
        logits: [READMEs, tags] of what is right.
        examples: the READMEs.
        share: [tags] the share of right tags that labels have; None for all of them.

    """
    kept = np.ones(logits.shape[1]) if share is None else share
    with np.errstate(divide="ignore"):
        there = np.log(kept) - np.logaddexp(0, -logits)
        absent = np.logaddexp(0, logits + np.log(1 - kept)) - np.logaddexp(0, logits)
    summed: Floats = np.where(examples.accepted, there, absent).sum(axis=1)
    return summed
