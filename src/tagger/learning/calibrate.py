"""Fit a calibration to the user's own corpus.

Unlabelled READMEs give the background: the mean log-probability of every tag over READMEs of this
corpus. Labels give the prior weight, the slope and intercept of the logistic function of the
evidence (Platt 1999, "Probabilistic Outputs for Support Vector Machines"), and the threshold. The
relative weights of the kinds of evidence stay as shipped: so few labels could not determine them.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from tagger._util.extras import need
from tagger.errors import CalibrationError
from tagger.evaluation.label import Label, PlacedLabel, counted, once, say_merged
from tagger.evaluation.measures import (
    Judged,
    error_by_chance,
    judge,
    measure,
    select,
)
from tagger.evaluation.scores import Scores, score
from tagger.learning.fit import best_threshold, moving_average
from tagger.learning.sample import draw
from tagger.methods.rank.calibration import Calibration, Origin
from tagger.methods.rank.rank import Rank
from tagger.readme.sources import Sources
from tagger.selection import Selection
from tagger.types import Progress, no_progress
from tagger.vocabulary import Vocabulary

NEEDED_READMES = 10
"""How many different READMEs a background takes at least."""

NEEDED_LABELS = 30
"""How many different READMEs, labelled with a tag, confidences take at least."""

FOLDS = 5

_RANKING = (
    "precision_at_1_strict",
    "precision_at_1_lenient",
    "hit_at_3",
    "recall_at_3",
    "f1_given",
)
"""Measures whose mean is maximised over the prior weights."""

_PRIOR_WEIGHTS = [round(0.1 * step, 1) for step in range(4, 11)]

SAMPLE = 100
"""READMEs of a corpus that are read by default."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Corpus:
    """What a calibration is made from, checked before a model is loaded.

    Attributes:
        readmes: READMEs of the corpus, with or without tags: these give the background.
        labels: READMEs with their right tags: these give confidences and threshold; may be empty.
            READMEs that come twice are merged; see `once`.

    Raises:
        CalibrationError: there are too few of either, or the labels teach nothing.

    """

    readmes: tuple[Label, ...]
    labels: tuple[Label, ...] = ()

    def __post_init__(self) -> None:
        check_readmes(len({label.readme for label in self.readmes}))
        if self.labels:
            need("learn")
            object.__setattr__(self, "labels", tuple(check_labels(self.labels)))

    @classmethod
    def draw(
        cls, sources: Sources | None, labels: Sequence[Label] = (), sample: int = SAMPLE
    ) -> Self:
        """Draw READMEs from sources; without any, those of the labels are the corpus.

        Args:
            sources: where the READMEs are.
            labels: READMEs with their right tags.
            sample: the most that are drawn; see `draw`.

        Raises:
            InputError: there are no READMEs.
            CalibrationError: there are too few.

        """
        if sources is None:
            return cls(tuple({label.readme: label for label in labels}.values()), tuple(labels))
        drawn = tuple(
            PlacedLabel(id=readme.id, readme=readme.text, tags=(), place=readme.source)
            for readme in draw(sources, sample)
        )
        return cls(drawn, tuple(labels))


@dataclass(frozen=True)
class Fitted:
    """A calibration, and what it does for labels that it was not fitted to.

    Attributes:
        calibration: the calibration.
        before: the measures without it; empty without labels.
        after: the measures in five folds, each with a calibration fitted to the others.
        by_chance: the calibration error that perfect confidences would show in these folds.

    """

    calibration: Calibration
    before: dict[str, float]
    after: dict[str, float]
    by_chance: float = 0.0


def calibrate(rank: Rank, corpus: Corpus, progress: Progress = no_progress) -> Fitted:
    """Fit a calibration for a model, prompt and vocabulary.

    Args:
        rank: scores the READMEs; its own calibration is not used.
        corpus: READMEs and labels.
        progress: hears how many READMEs are done.

    Raises:
        CalibrationError: the labels contradict the model at every prior weight.
        ModelError: as `Rank.read`.

    """
    texts = {label.readme: label for label in (*corpus.labels, *corpus.readmes)}
    places = {text: place for place, text in enumerate(texts)}
    scores = score(rank, list(texts.values()), progress)

    def of(labels: Sequence[Label]) -> Scores:
        rows = np.array([places[label.readme] for label in labels])
        return replace(scores.take(rows), labels=tuple(labels))

    start = Calibration.shipped(rank.model.name)
    background = of(corpus.readmes).evidence.log_probs.mean()
    fitted = replace(
        start,
        background=background,
        origin=Origin(
            rank.model.name, rank.scoring_identity, len(corpus.readmes), len(corpus.labels)
        ),
    )
    if not corpus.labels:
        return Fitted(fitted, {}, {})
    examples = of(corpus.labels)
    before = measure(judged(examples, rank.vocabulary, start))
    unseen = cross_validated(examples, rank.vocabulary, fitted)
    calibration = fit(examples, rank.vocabulary, fitted)
    return Fitted(calibration, before, measure(unseen), error_by_chance(unseen))


def check_readmes(count: int) -> None:
    """Check that there are enough READMEs for a background. Raises `CalibrationError`."""
    if count < NEEDED_READMES:
        raise CalibrationError(
            f"a calibration needs {NEEDED_READMES} different READMEs, but there {_are(count)}: add "
            "more"
        )


def check_labels(labels: Sequence[Label]) -> list[Label]:
    """Return labels as confidences are fitted to them: each README once; see `once`.

    Raises:
        CalibrationError: there are too few, or all have the same tags.

    """
    readmes = once(labels)
    tagged = [label for label in readmes if label.tags]
    if len(tagged) < NEEDED_LABELS:
        raise CalibrationError(
            f"fitting confidences needs {NEEDED_LABELS} different READMEs with at least one tag, "
            f"but there {counted(labels, readmes)}: label more, or calibrate on READMEs without "
            "labels"
        )
    if len({frozenset(label.tags) for label in tagged}) == 1:
        raise CalibrationError(
            "all labels hold the same tags, from which nothing can be learned: label READMEs of "
            "several kinds"
        )
    say_merged(labels, readmes)
    return readmes


def fit(scores: Scores, vocabulary: Vocabulary, start: Calibration) -> Calibration:
    """Fit the prior weight, the confidences and the threshold to labels.

    Args:
        scores: the labelled READMEs.
        vocabulary: their tags.
        start: has the relative weights of the evidence, and the background.

    Raises:
        CalibrationError: the labels contradict the model at every prior weight.

    """
    scaled = [
        _scaled(scores, vocabulary, replace(start, prior_weight=weight))
        for weight in _PRIOR_WEIGHTS
    ]
    candidates = [candidate for candidate in scaled if candidate.margin > 0]
    if not candidates:
        raise CalibrationError(
            "the labels contradict the tags that the model is most confident of: check the labels"
        )
    return best(scores, vocabulary, candidates)


def cross_validated(scores: Scores, vocabulary: Vocabulary, start: Calibration) -> Judged:
    """Judge labelled READMEs in five folds, each with a calibration fitted on the others."""
    from sklearn.model_selection import KFold

    parts = []
    for train, test in KFold(FOLDS, shuffle=True, random_state=0).split(scores.labels):
        fitted = fit(scores.take(train), vocabulary, start)
        parts.append(judged(scores.take(test), vocabulary, fitted))
    return Judged.cat(parts)


def judged(scores: Scores, vocabulary: Vocabulary, calibration: Calibration) -> Judged:
    """Judge labelled READMEs with a calibration."""
    confidences = scores.confidences(calibration)
    given = select(confidences, Selection(), calibration.threshold)
    return judge(scores.labels, vocabulary, confidences, given)


def best(
    scores: Scores, vocabulary: Vocabulary, candidates: Sequence[Calibration], lose: float = 0.0
) -> Calibration:
    """Return the candidate that ranks best, with the threshold that suits it.

    On few READMEs a single best number is luck, so the quality of a candidate is averaged with that
    of its neighbours, and the quality of a threshold with that of nearby ones.

    Args:
        scores: labelled READMEs.
        vocabulary: their tags.
        candidates: calibrations in the order of the number in which they differ.
        lose: see `best_threshold`.

    """
    results = [judged(scores, vocabulary, candidate) for candidate in candidates]
    measures = [measure(result) for result in results]
    quality = np.array([np.mean([values[name] for name in _RANKING]) for values in measures])
    index = int(moving_average(quality, min(3, len(quality))).argmax())
    result = results[index]
    threshold = best_threshold(result.confidences, result.gold, result.accepted, lose)
    return replace(candidates[index], threshold=threshold)


def _scaled(scores: Scores, vocabulary: Vocabulary, calibration: Calibration) -> Calibration:
    """Fit the slope and intercept of the confidences, over all READMEs and tags."""
    from sklearn.linear_model import LogisticRegression

    logits = scores.logits(calibration).double().numpy()
    none = np.zeros(logits.shape, dtype=bool)
    accepted = judge(scores.labels, vocabulary, none.astype(float), none).accepted
    # Practically no penalty: two numbers are fitted to thousands of pairs.
    model = LogisticRegression(C=1e6, max_iter=1000).fit(logits.reshape(-1, 1), accepted.ravel())
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    return replace(
        calibration,
        margin=slope * calibration.margin,
        mentions=slope * calibration.mentions,
        lead=slope * calibration.lead,
        shift=slope * calibration.shift,
        intercept=slope * calibration.intercept + intercept,
    )


def _are(count: int) -> str:
    return "is one" if count == 1 else f"are {count}"
