"""Learning from a review: a head from what was decided, and new suggestions for the rest.

What the batch has kept of READMEs is not read again. Where that is only the last question's part,
because a brief head was in force, the new head is brief, too.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from tagger.batch.decisions import REVIEWED, Decisions
from tagger.batch.ledger import Ledger, text_key
from tagger.evaluation.label import Label
from tagger.evaluation.measures import places
from tagger.learning.fit import sigmoid
from tagger.learning.learn import Lesson, check_labels, learn_read, read
from tagger.methods.rank.evidence import Evidence
from tagger.methods.rank.head import ONE_QUESTION, Confidence, Head, check_head_target
from tagger.methods.rank.rank import Rank
from tagger.review.index import summary
from tagger.review.labels import decided
from tagger.review.statistics import Judgement, Learned, f1, first_right, slice_of
from tagger.selection import MAX_TAGS, Selection
from tagger.types import Progress, no_progress
from tagger.vocabulary import Tag

_EVERY = 2**62
"""A place in the random order that is beyond that of every README; see `index.chance`."""

_AT_ONCE = 512
"""READMEs that are ranked together."""

log = logging.getLogger(__name__)


class Ranker:
    """Ranks tags by what a batch has kept of READMEs, whatever head it had.

    Args:
        rank: as the batch had it, but for the head.
        ledger: what the batch has kept; None if that is not there.

    Raises:
        UsageError: what was kept is damaged.

    """

    def __init__(self, rank: Rank, ledger: Ledger | None) -> None:
        self.rank = rank
        self.brief = False
        self._ledger: Ledger | None = None
        if ledger:
            full = rank.evidence_identity
            brief = replace(full, method=full.method + ONE_QUESTION)
            kept = {identity: ledger.look_up(identity) for identity in (full, brief)}
            most = max(kept, key=kept.__getitem__)
            if ledger.look_up(most):
                self._ledger, self.brief = ledger, most == brief
        if self._ledger is None or rank.limit is not None:
            self._ledger = None  # of a large list only rankings are kept
            log.info(
                "the batch has kept nothing of these READMEs that suits this model and these "
                "settings: pass those of the batch for the next best tags, and to learn without "
                "reading again"
            )

    def best(self, key: bytes) -> list[tuple[Tag, float]]:
        """Return the best tags of a README, none if nothing is kept of it."""
        if (content := self.content(key)) is None:
            return []
        confidence = self.confidence(self.rank.confidence.head)
        sure = sigmoid(confidence.logits(self.evidence([content])).double().numpy())[0]
        best = np.argsort(-sure, kind="stable")[:MAX_TAGS]
        return [(self.rank.vocabulary.tags[tag], round(float(sure[tag]), 4)) for tag in best]

    def content(self, key: bytes) -> bytes | None:
        """Return the evidence for a README, in bytes, if it is kept."""
        reading = self._ledger.reading(key) if self._ledger else None
        return reading[:-1] if reading else None

    def evidence(self, contents: Sequence[bytes]) -> Evidence:
        """Return the evidence for some READMEs. Raises `UsageError` if it is damaged."""
        prior = self.rank.prior.of_last_question() if self.brief else self.rank.prior
        try:
            return Evidence.from_bytes(contents, prior, self.rank.model.width, self.rank.limit)
        except ValueError as error:
            raise (self._ledger.damaged() if self._ledger else error) from error

    def read(self, labels: Sequence[Label], progress: Progress) -> tuple[Evidence, int]:
        """Return the evidence for labelled READMEs, and how many the model had to read for it.

        Raises:
            ReadmeError: a README cannot be read.
            ModelError: as `Rank.read`.

        """
        kept = [self.content(text_key(label.to_readme())) for label in labels]
        missing = [label for label, content in zip(labels, kept, strict=True) if content is None]
        fresh: list[bool] = []
        if missing:
            evidence, fresh = read(self.rank, missing, progress)
            read_now = iter((evidence.of_last_question() if self.brief else evidence).to_bytes())
            kept = [next(read_now) if content is None else content for content in kept]
        return self.evidence([content for content in kept if content is not None]), sum(fresh)

    def confidence(self, head: Head | None) -> Confidence:
        """Return what ranks by a head, and by the evidence that is kept."""
        calibration = self.rank.calibration
        return Confidence.of(
            calibration.of_last_question() if self.brief else calibration,
            head,
            self.rank.vocabulary,
        )


def relearn(
    store: Decisions,
    ranker: Ranker,
    selection: Selection,
    reached: int,
    path: Path,
    progress: Progress = no_progress,
) -> Learned:
    """Learn a head from a review, and suggest tags by it if it is better; see `Review.learn`.

    Args:
        store: what is reviewed.
        ranker: has what the batch has kept.
        selection: how many tags are given.
        reached: how far the random slice goes.
        path: where the head is written.
        progress: hears what is under way.

    """
    check_head_target(path)
    found = list(decided(store, reached))
    numbers = {each.label.id: each.number for each in found}
    labels = check_labels([each.label for each in found])
    evidence, fresh = ranker.read(labels, progress)
    lesson = learn_read(ranker.rank, labels, evidence, fresh, selection)
    by_head = _by_head(lesson, labels, numbers, ranker.rank)
    judged, after = _both(slice_of(store, reached), by_head)
    why_not = _why_not(lesson, judged, after, *_both(slice_of(store, _EVERY), by_head))
    ranked = unread = 0
    if not why_not:
        lesson.head.save(path)
        ranked, unread = _rank_rest(store, ranker, lesson.head, selection, progress)
    return Learned(
        lesson=lesson,
        bulk=sum(label.selection == "bulk" for label in labels),
        before=first_right(judged),
        after=first_right(after),
        f1_before=f1(judged),
        f1_after=f1(after),
        ranked=ranked,
        unread=unread,
        head=None if why_not else path,
        why_not=why_not,
    )


def _both(
    before: Sequence[Judgement], after: Sequence[Judgement]
) -> tuple[list[Judgement], list[Judgement]]:
    """Return those of the same READMEs, with the same right tags."""
    known = {each.number: each for each in before}
    same = [
        each for each in after if each.number in known and known[each.number].right == each.right
    ]
    return [known[each.number] for each in same], same


def _why_not(
    lesson: Lesson,
    sampled: Sequence[Judgement],
    sampled_after: Sequence[Judgement],
    every: Sequence[Judgement],
    every_after: Sequence[Judgement],
) -> str:
    """Return in what a head is not better than the output, empty if it is.

    It has to count, as for `learn`. Where nobody has reviewed the random slice, what has been
    reviewed one by one has to do.
    """
    if not lesson.head.weight:
        return "on READMEs that it has not seen it is not significantly better than no head"
    if not every:
        return "no README was decided one by one, so nothing tells whether it is better"
    where = "the random slice"
    before, after = f1(sampled), f1(sampled_after)
    if not sampled:
        where = "the reviewed READMEs, none of which is of the random slice,"
        before, after = f1(every), f1(every_after)
    if (after or 0.0) > (before or 0.0):
        return ""
    return f"on {where} its F1 is {after or 0.0:.2f}, and that of the output {before or 0.0:.2f}"


def _by_head(
    lesson: Lesson, labels: Sequence[Label], numbers: dict[str, int], rank: Rank
) -> list[Judgement]:
    """Return each README as it is ranked by a head that has not seen it."""
    ids = [str(tag.id) for tag in rank.vocabulary]
    judged = lesson.after
    ranked = np.argsort(-judged.confidences, axis=1, kind="stable")
    return [
        Judgement(
            numbers[labels[label].id],
            tuple(
                (ids[tag], float(judged.confidences[row, tag]))
                for tag in ranked[row, :MAX_TAGS]
                if judged.given[row, tag]
            ),
            frozenset(ids[tag] for tag in np.flatnonzero(judged.gold[row])),
        )
        for row, label in enumerate(lesson.order.tolist())
    ]


def _rank_rest(
    store: Decisions, ranker: Ranker, head: Head, selection: Selection, progress: Progress
) -> tuple[int, int]:
    """Suggest tags anew for READMEs that are not reviewed. Return how many, and how many not."""
    confidence = ranker.confidence(head)
    with store.reading() as database:
        rows = database.execute(
            "SELECT number, key FROM readme LEFT JOIN text ON readme = number "
            "WHERE place IS NOT NULL AND state != ? AND error = ''",
            (REVIEWED,),
        ).fetchall()
    waiting, done, ranked = iter(rows), 0, 0
    while part := list(islice(waiting, _AT_ONCE)):
        kept = [
            (number, content)
            for number, key in part
            if key is not None and (content := ranker.content(key)) is not None
        ]
        if kept:
            evidence = ranker.evidence([content for _, content in kept])
            sure = sigmoid(confidence.logits(evidence).double().numpy())
            counted = partial(selection.count, threshold=confidence.threshold)
            _suggest(store, ranker.rank, [number for number, _ in kept], sure, counted)
        done, ranked = done + len(part), ranked + len(kept)
        progress("ranking", done, len(rows))
    return ranked, len(rows) - ranked


def _suggest(
    store: Decisions,
    rank: Rank,
    numbers: Sequence[int],
    sure: "np.ndarray[tuple[int, int], np.dtype[np.float64]]",
    counted: Callable[[Sequence[float]], int],
) -> None:
    """Write the best tags of READMEs by their confidences, [READMEs, tags].

    `counted` says how many of them are given.
    """
    tags = [store.numbers[str(tag.id)] for tag in rank.vocabulary]
    best = places(sure)
    suggestions, readmes = [], []
    for row, number in enumerate(numbers):
        order = np.argsort(best[row])[:MAX_TAGS]
        count = counted(sure[row, order].tolist())
        ranked = [(tags[tag], round(float(sure[row, tag]), 4)) for tag in order]
        suggestions += [
            (number, 1, place, *each, place < count) for place, each in enumerate(ranked)
        ]
        readmes.append((*summary(ranked[:count]), number, REVIEWED))
    with store.writing() as database:
        database.executemany(
            "DELETE FROM suggestion WHERE origin = 1 AND readme = ?", [(n,) for n in numbers]
        )
        database.executemany("INSERT INTO suggestion VALUES (?, ?, ?, ?, ?, ?)", suggestions)
        database.executemany(
            "UPDATE readme SET origin = 1, first = ?, confidence = ?, least = ? "
            "WHERE number = ? AND state != ?",
            readmes,
        )
