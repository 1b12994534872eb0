"""Fit to a corpus of one's own.

Unlabelled READMEs give the background: what the model says of every tag of a README of this
corpus, on average. Labels give what a confidence is here: how much of the prior is subtracted, the
slope and the intercept of the logistic function over the evidence (Platt 1999, "Probabilistic
Outputs for Support Vector Machines"), and the threshold. The weights of the kinds of evidence
among themselves stay as they are shipped: so few labels could not tell them apart.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tagger.choice import Choice
from tagger.errors import CalibrationError
from tagger.evaluate import Floats, Judged, Label, chosen, judge, measure
from tagger.methods.answers import Answers
from tagger.methods.calibration import Calibration
from tagger.scores import Scores
from tagger.vocabulary import Vocabulary

NEEDED_READMES = 10
"""Different READMEs that a background takes."""

NEEDED_LABELS = 30
"""Labels of different READMEs, with a tag, that confidences take."""

FOLDS = 5

_RANKING = ("first strict", "first acceptable", "hit@3", "recall@3", "F1 (given)")
"""What a strength of the prior is judged by."""

_STRENGTHS = [round(0.1 * step, 1) for step in range(4, 11)]
_THRESHOLDS = [round(0.01 * step, 2) for step in range(5, 91)]


def check_readmes(count: int) -> None:
    """Make sure that there are READMEs enough for a background. Raises `CalibrationError`."""
    if count < NEEDED_READMES:
        raise CalibrationError(
            f"a background takes {NEEDED_READMES} different READMEs, and here {_are(count)}: add "
            "more"
        )


def check_labels(labels: Sequence[Label]) -> None:
    """Make sure that confidences can be fitted to labels.

    Raises:
        CalibrationError: too few, or all of them with the same tags.

    """
    count = len({label.readme for label in labels if label.tags})
    if count < NEEDED_LABELS:
        raise CalibrationError(
            f"confidences take {NEEDED_LABELS} labels of different READMEs, with a tag each, and "
            f"here {_are(count)}: label more, or give READMEs without --labels"
        )
    if len({frozenset(label.tags) for label in labels if label.tags}) == 1:
        raise CalibrationError(
            "all labels hold the same tags, from which nothing can be learnt: label READMEs of "
            "several kinds"
        )


def background(answers: Answers) -> Answers:
    """Return the mean over READMEs of what the model says.

    Args:
        answers: [READMEs, branches, tags] in nats.

    Returns:
        [branches, tags] in nats.

    """
    return Answers(answers.names.mean(dim=0), answers.starts.mean(dim=0))


def fit(scores: Scores, vocabulary: Vocabulary, start: Calibration) -> Calibration:
    """Fit strength, confidence and threshold to labels.

    Args:
        scores: of the labelled READMEs.
        vocabulary: their tags.
        start: weights of the evidence, and the background.

    Raises:
        CalibrationError: the labels contradict the model through and through.

    """
    scaled = [
        _scaled(scores, vocabulary, replace(start, strength=strength)) for strength in _STRENGTHS
    ]
    candidates = [candidate for candidate in scaled if candidate.answers > 0]
    if not candidates:
        raise CalibrationError(
            "by these labels the tags that the model is surest of are the wrong ones: check them"
        )
    return best(scores, vocabulary, candidates)


def cross_validated(scores: Scores, vocabulary: Vocabulary, start: Calibration) -> Judged:
    """Return what calibrations make of labelled READMEs that they were not fitted on."""
    from sklearn.model_selection import KFold

    parts = []
    for train, test in KFold(FOLDS, shuffle=True, random_state=0).split(scores.labels):
        fitted = fit(scores.take(train), vocabulary, start)
        parts.append(judged(scores.take(test), vocabulary, fitted))
    return Judged.cat(parts)


def judged(scores: Scores, vocabulary: Vocabulary, calibration: Calibration) -> Judged:
    """Return what a calibration makes of labelled READMEs."""
    stated = scores.confidences(calibration)
    given = chosen(stated, Choice(), calibration.threshold)
    return judge(scores.labels, vocabulary, stated, given)


def best(
    scores: Scores, vocabulary: Vocabulary, candidates: Sequence[Calibration], lose: float = 0.0
) -> Calibration:
    """Return the candidate that ranks best, with the threshold that suits it.

    On few READMEs the best number alone is luck, so a candidate is judged together with those next
    to it, and a threshold with those nearby.

    Args:
        scores: of labelled READMEs.
        vocabulary: their tags.
        candidates: calibrations in the order of what they differ in.
        lose: F1 of given tags that may be lost for a higher threshold, which gives fewer tags and
            surer ones.

    """
    found = [judged(scores, vocabulary, candidate) for candidate in candidates]
    measures = [measure(one) for one in found]
    quality = np.array([np.mean([one[name] for name in _RANKING]) for one in measures])
    index = int(_smooth(quality, min(3, len(quality))).argmax())

    def f1(threshold: float) -> float:
        given = chosen(found[index].confidences, Choice(), threshold)
        return measure(replace(found[index], given=given))["F1 (given)"]

    qualities = _smooth(np.array([f1(threshold) for threshold in _THRESHOLDS]), 15)
    place = int(np.flatnonzero(qualities >= qualities.max() - lose).max())
    return replace(candidates[index], threshold=_THRESHOLDS[place])


def _scaled(scores: Scores, vocabulary: Vocabulary, calibration: Calibration) -> Calibration:
    """Fit slope and intercept of the confidence, over all READMEs and tags."""
    from sklearn.linear_model import LogisticRegression

    logits = scores.logits(calibration).double().numpy()
    nothing = np.zeros(logits.shape, dtype=bool)
    right = judge(scores.labels, vocabulary, nothing.astype(float), nothing).accepted
    # No penalty to speak of: two numbers are fitted to thousands of pairs.
    model = LogisticRegression(C=1e6, max_iter=1000).fit(logits.reshape(-1, 1), right.ravel())
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    return replace(
        calibration,
        answers=slope * calibration.answers,
        mentions=slope * calibration.mentions,
        lead=slope * calibration.lead,
        moved=slope * calibration.moved,
        intercept=slope * calibration.intercept + intercept,
    )


def _smooth(values: Floats, width: int) -> NDArray[np.float64]:
    """Return the mean of each value and its neighbours, `width` of them where there are so many."""
    ones = np.ones(width)
    sums = np.convolve(values, ones, "same")
    return np.asarray(sums / np.convolve(np.ones(len(values)), ones, "same"))


def _are(count: int) -> str:
    return "is one" if count == 1 else f"are {count}"
