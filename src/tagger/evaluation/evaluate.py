"""Measure a tagger against labelled READMEs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from tagger.errors import AllFittedError, TaggerError
from tagger.evaluation.label import Label, once, say_merged
from tagger.evaluation.measures import (
    Judged,
    Rows,
    error_by_chance,
    intervals,
    judge,
    judge_written,
    measure,
    reliability,
    select,
)
from tagger.evaluation.scores import Scores, score
from tagger.methods.base import E
from tagger.methods.rank.evidence import Evidence
from tagger.methods.rank.head import Confidence, Head
from tagger.methods.rank.rank import Rank
from tagger.selection import Selection
from tagger.tagger import Tagger
from tagger.types import Progress, no_progress
from tagger.vocabulary import Vocabulary

_CHARS_PER_TOKEN = 4
"""About what English Markdown has; what a server's model has read is not known here."""


@dataclass(frozen=True)
class Evaluation:
    """What came of labelled READMEs.

    Attributes:
        labels: the READMEs and their right tags.
        vocabulary: the tags.
        selection: how many tags were given.
        judged: rankings and replies beside the labels.
        read: about what the model has read of each README.
        threshold: the confidence from which tags were given; None without confidences.
        scores: the scores that the rankings were made of; None for written replies.
        failed: how many replies could not be used.
        left_out: how many READMEs were left out because the head was fitted to them.

    """

    labels: Sequence[Label]
    vocabulary: Vocabulary
    selection: Selection
    judged: Judged
    read: Sequence[str]
    threshold: float | None = None
    scores: Scores | None = None
    failed: int = 0
    left_out: int = 0

    @classmethod
    def of_scores(
        cls, scores: Scores, vocabulary: Vocabulary, confidence: Confidence, selection: Selection
    ) -> Self:
        """Rank by scores and judge the replies."""
        threshold = selection.threshold
        return cls(
            scores.labels,
            vocabulary,
            selection,
            judge_ranking(confidence, scores.evidence, scores.labels, vocabulary, selection),
            scores.read,
            confidence.threshold if threshold is None else threshold,
            scores,
        )

    @property
    def measures(self) -> dict[str, float]:
        """The measures, by name; see `measure`."""
        return measure(self.judged)

    def to_dict(self) -> dict[str, Any]:
        """Return the measures with 95 % intervals, and how far confidences hold."""
        limits = intervals(self.judged)
        described: dict[str, Any] = {
            "readmes": len(self.labels),
            "measures": {
                name: _with_interval(value, limits.get(name))
                for name, value in self.measures.items()
            },
        }
        if "ece" in described["measures"]:
            described["measures"]["ece"]["by_chance"] = error_by_chance(self.judged)
        if self.judged.sure:
            described["reliability"] = [
                {"confidence": stated, "right": right, "tags": count}
                for stated, right, count in reliability(self.judged)
            ]
        return described


def judge_ranking(
    confidence: Confidence,
    evidence: Evidence,
    labels: Sequence[Label],
    vocabulary: Vocabulary,
    selection: Selection,
) -> Judged:
    """Judge READMEs as their evidence is ranked."""
    confidences = confidence.logits(evidence).sigmoid().double().numpy()
    given = select(confidences, selection, confidence.threshold)
    return judge(labels, vocabulary, confidences, given)


def _with_interval(value: float, limits: tuple[float, float] | None) -> dict[str, float]:
    return {"value": value} | ({"low": limits[0], "high": limits[1]} if limits else {})


def unseen_by(head: Head | None, labels: Sequence[Label]) -> Rows:
    """Return which READMEs a head was not fitted to: all, without a head.

    Raises:
        AllFittedError: it was fitted to all of them.

    """
    fitted = frozenset(head.fitted if head else ())
    rows = [row for row, label in enumerate(labels) if label.text_digest not in fitted]
    if not rows:
        raise AllFittedError("the head was fitted to all of these READMEs: measure it on others")
    return np.array(rows)


def evaluate(
    tagger: Tagger[E],
    labels: Sequence[Label],
    progress: Progress = no_progress,
    *,
    include_fitted: bool = False,
) -> Evaluation:
    """Tag labelled READMEs and measure the tags.

    Args:
        tagger: tags the READMEs.
        labels: the READMEs and their right tags; see `once` for READMEs that come twice.
        progress: hears how many READMEs are done.
        include_fitted: measure READMEs that the tagger's head was fitted to, too; what it says of
            those says little about others.

    Raises:
        AllFittedError: the head was fitted to all of the READMEs.
        ReadmeError: a README cannot be read.
        ModelError: the model cannot be used, or the server answers no README.
        ReplyError: no reply at all can be used.

    """
    method, given = tagger.method, labels
    labels = once(given)
    say_merged(given, labels)
    if isinstance(method, Rank):
        head = None if include_fitted else method.confidence.head
        unseen = [labels[row] for row in unseen_by(head, labels)]
        left_out = {label.text_digest for label in labels} - {one.text_digest for one in unseen}
        scores = replace(score(method, unseen, progress), left_out=frozenset(left_out))
        evaluation = Evaluation.of_scores(
            scores, tagger.vocabulary, method.confidence, tagger.selection
        )
        return replace(evaluation, left_out=len(left_out))
    method.prepare()
    replies: list[list[str]] = []
    failures: list[TaggerError] = []
    size = method.capacity.readmes
    for start in range(0, len(labels), size):
        group = labels[start : start + size]
        readings = method.read([method.encode(label.to_readme()) for label in group])
        for label, reading in zip(group, readings, strict=True):
            if isinstance(reading, TaggerError):
                failures.append(reading)
                replies.append([])
            else:
                (ranking,) = method.rank([reading])
                tagging = tagger.reply(label.id, ranking)
                replies.append([tag.name for tag in tagging.tags])
        progress("tagging", len(replies), len(labels))
    if len(failures) == len(labels):
        raise failures[-1]
    characters = _CHARS_PER_TOKEN * method.identity.features.readme_tokens
    return Evaluation(
        labels,
        tagger.vocabulary,
        tagger.selection,
        judge_written(labels, tagger.vocabulary, replies),
        [label.to_readme().plain_text[:characters] for label in labels],
        failed=len(failures),
    )
