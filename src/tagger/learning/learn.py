"""Learn a head from labels: check them, read their READMEs once, fit, and judge the outcome."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from tagger.errors import HeadError
from tagger.evaluation.evaluate import judge_ranking
from tagger.evaluation.label import Label, counted, merged, say_merged
from tagger.evaluation.measures import Floats, Judged, Rows
from tagger.learning.duplicates import near_duplicates
from tagger.learning.fit import BULK, Examples, fit, shuffled
from tagger.learning.readings import Readings, identity_of
from tagger.learning.void import void_texts
from tagger.methods.rank.calibration import Calibration
from tagger.methods.rank.evidence import Evidence
from tagger.methods.rank.head import ONE_QUESTION, Confidence, Head
from tagger.methods.rank.rank import Rank
from tagger.methods.rank.shipped import shipped_head
from tagger.readme.readme import Readme
from tagger.selection import Selection
from tagger.types import Progress, no_progress
from tagger.vocabulary import fold

NEEDED_LABELS = 30
"""READMEs with a tag that a head takes at least."""

NEEDED_GROUPS = 3
"""Different READMEs without which nothing could be fitted and judged on others, twice over."""


@dataclass(frozen=True)
class Lesson:
    """What came of labels.

    Attributes:
        head: what was learned.
        readmes: how many READMEs it was learned from.
        read: how many of them the model had to read; the others were read before.
        before: the READMEs as they are ranked without a head.
        after: each README as it is ranked by a head that was learned from the others.
        shipped: the READMEs as they are ranked by the head that ships for the model; None where
            there is none, where it was learned from some of them, or where labels are incomplete.
        support: labels that each tag of the vocabulary has.
        order: [READMEs] which label each README of `before` and `after` has.

    """

    head: Head
    readmes: int
    read: int
    before: Judged
    after: Judged
    shipped: Judged | None
    support: dict[str, int]
    order: Rows


def check_labels(labels: Sequence[Label]) -> list[Label]:
    """Return labels as a head is learned from them: each README once; see `merged`.

    Raises:
        HeadError: there are too few, or all have the same tags.

    """
    readmes = merged(labels)
    tagged = [label for label in readmes if label.tags]
    if len(tagged) < NEEDED_LABELS:
        raise HeadError(
            f"a head needs {NEEDED_LABELS} different READMEs with at least one tag, but "
            f"there {counted(labels, readmes)}: label more"
        )
    if len({frozenset(map(fold, label.tags)) for label in tagged}) == 1:
        raise HeadError(
            "all labels hold the same tags, from which nothing can be learned: label READMEs of "
            "several kinds"
        )
    say_merged(labels, readmes)
    return readmes


def learn(
    rank: Rank,
    labels: Sequence[Label],
    progress: Progress = no_progress,
    *,
    incomplete: bool = False,
) -> Lesson:
    """Learn a head from labels. The same labels in any order give the same head.

    What the model makes of a README is kept in the cache folder, so that learning again takes
    seconds.

    Args:
        rank: reads the READMEs; its own head is not used.
        labels: READMEs and their right tags; see `merged` for READMEs that come twice.
        progress: hears how many READMEs are read.
        incomplete: whether labels may lack tags that are right; see `fit.fill_in`.

    Raises:
        HeadError: there are too few labels, or all have the same tags.
        ReadmeError: a README cannot be read.
        ModelError: as `Rank.read`.

    """
    return learn_checked(rank, check_labels(labels), progress, incomplete=incomplete)


def learn_sets(
    rank: Rank, sets: Sequence[Sequence[Label]], progress: Progress = no_progress
) -> Lesson:
    """Learn a head from labels that were drawn in several ways; see `learn`.

    Each set weighs the same in the regressions, and a README is judged by what was learned from the
    other sets.
    """
    set_of = {label.text_digest: number for number, part in enumerate(sets) for label in part}
    labels = check_labels([label for part in sets for label in part])
    groups = np.array([set_of[label.text_digest] for label in labels])
    return _learn(rank, labels, groups, 1 / np.bincount(groups)[groups], progress)


def learn_checked(
    rank: Rank,
    labels: Sequence[Label],
    progress: Progress = no_progress,
    *,
    incomplete: bool = False,
) -> Lesson:
    """Learn a head from labels as `check_labels` returns them; see `learn`."""
    return _learn(rank, labels, _groups(labels), None, progress, incomplete=incomplete)


def _learn(
    rank: Rank,
    labels: Sequence[Label],
    groups: Rows,
    weights: Floats | None,
    progress: Progress,
    *,
    incomplete: bool = False,
) -> Lesson:
    """Learn from labels, [labels] of which belong to a group and count so much in regressions."""
    everything, fresh = read(rank, [*labels, *void_texts()], progress)
    size = len(labels)
    evidence, void = everything.select(slice(size)), everything.select(slice(size, None))
    return _fitted(
        rank, labels, evidence, void, groups, weights, sum(fresh[:size]), incomplete=incomplete
    )


def learn_read(
    rank: Rank, labels: Sequence[Label], evidence: Evidence, fresh: int, selection: Selection
) -> Lesson:
    """Learn a head from labels whose READMEs were read before; see `learn_checked`.

    Args:
        rank: has read them.
        labels: as `check_labels` returns them.
        evidence: for each label, all of it or what `Evidence.of_last_question` keeps. With the
            latter the head is brief, whatever the number of labels.
        fresh: how many READMEs the model had to read for it.
        selection: how many tags are given in the replies that are judged.

    Raises:
        HeadError: the READMEs are near-duplicates of one another.
        ModelError: as `Rank.read`.

    """
    void, _ = read(rank, void_texts())
    groups = _groups(labels)
    return _fitted(rank, labels, evidence, void, groups, None, fresh, selection=selection)


def _fitted(
    rank: Rank,
    labels: Sequence[Label],
    evidence: Evidence,
    void: Evidence,
    groups: Rows,
    weights: Floats | None,
    read: int,
    *,
    incomplete: bool = False,
    selection: Selection | None = None,
) -> Lesson:
    """Fit a head to evidence; see `_learn`."""
    size, start = len(labels), rank.calibration
    trust = np.array([BULK if label.selection == "bulk" else 1.0 for label in labels])
    examples = Examples.of(
        evidence, labels, rank.vocabulary, void, groups, trust if weights is None else weights
    )
    chosen = selection or Selection()
    examples = replace(examples, trust=trust, incomplete=incomplete, selection=chosen)
    if evidence.log_probs.full.shape[-2] < len(rank.layout.branches):
        examples, start = replace(examples, brief=True), start.of_last_question()
    # Neither the order of the labels nor that of the digests: folds are to be random.
    order = shuffled(size)
    examples = examples.take(order)
    with threadpool_limits(limits=1, user_api="blas"):  # NumPy's threads and PyTorch's would clash.
        outcome = fit(examples, start)
    learned = outcome.learned
    known = [rank.vocabulary.tags[place] for place in learned.known.nonzero()[0]]
    head = Head(
        model=rank.model.name,
        identity=rank.identity.features,
        method=rank.scoring_identity.method + (ONE_QUESTION if learned.brief else ""),
        base=rank.calibration.digest,
        tags=tuple(fold(tag.name) for tag in known),
        ids=tuple(str(tag.id) for tag in known),
        rows=torch.tensor(outcome.ridge.rows[learned.known]).half(),
        mean=torch.tensor(outcome.ridge.mean).float(),
        scale=torch.tensor(outcome.ridge.scale).float(),
        calibration=replace(learned.calibration, background=None, origin=None),
        weight=learned.weight,
        readmes=size,
        labels=int(examples.gold.sum()),
        fitted=tuple(label.text_digest for label in labels),
    )
    support = dict(
        zip((tag.label for tag in rank.vocabulary), examples.gold.sum(axis=0).tolist(), strict=True)
    )
    return Lesson(
        head,
        size,
        read,
        outcome.before,
        outcome.after,
        None if incomplete else _by_shipped(rank, evidence, labels, start, chosen),
        support,
        order,
    )


def _by_shipped(
    rank: Rank,
    evidence: Evidence,
    labels: Sequence[Label],
    start: Calibration,
    selection: Selection,
) -> Judged | None:
    """Judge the head that ships, unless there is none or it knows some of the READMEs."""
    identity = replace(rank.identity, method=rank.scoring_identity.method)
    head = shipped_head(rank.name, identity, rank.vocabulary)
    if head is None or not {label.text_digest for label in labels}.isdisjoint(head.fitted):
        return None
    confidence = Confidence.of(start, head, rank.vocabulary)
    return judge_ranking(confidence, evidence, labels, rank.vocabulary, selection)


def _groups(labels: Sequence[Label]) -> Rows:
    """Return which READMEs are near-duplicates, [labels]. Raises `HeadError`."""
    groups = near_duplicates([label.readme for label in labels])
    if len(np.unique(groups)) < NEEDED_GROUPS:
        raise HeadError(
            f"the {len(labels)} READMEs are near-duplicates of one another, from which nothing can "
            "be learned: label READMEs of different projects"
        )
    return groups


def read(
    rank: Rank, labels: Sequence[Label], progress: Progress = no_progress
) -> tuple[Evidence, list[bool]]:
    """Return the evidence for labelled READMEs; see `read_readmes`."""
    return read_readmes(rank, [label.to_readme() for label in labels], progress)


def read_readmes(
    rank: Rank, readmes: Sequence[Readme], progress: Progress = no_progress
) -> tuple[Evidence, list[bool]]:
    """Return the evidence for each README, and whether the model had to read it for that.

    What was read before is in the cache folder, and need not be read again; see `Readings`.
    """
    rank.prepare(reading=False)
    contents, fresh = [], []
    with Readings(identity_of(rank.evidence_identity)) as readings:
        for done, readme in enumerate(readmes, start=1):
            content = readings.get(readme)
            fresh.append(content is None)
            if content is None:
                (content,) = rank.evidence([rank.encode(readme)]).to_bytes()
                readings.keep(readme, content)
            contents.append(content)
            progress("reading", done, len(readmes))
        try:
            evidence = Evidence.from_bytes(contents, rank.prior, rank.model.width, rank.limit)
        except ValueError as error:
            raise readings.damaged() from error
    return evidence, fresh
