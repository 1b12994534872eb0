"""Learning a head: the regressions, what they are worth, and the labels they are learned from."""

import random
import sqlite3
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from support import tiny
from support.heads import head_of
from support.messages import refused
from tagger.batch.ledger import Ledger
from tagger.errors import HeadError, OutputError, UsageError
from tagger.evaluation.label import Label, PlacedLabel, merged
from tagger.evaluation.measures import Bools, measure
from tagger.learning import fit as module
from tagger.learning import learn as lesson_module
from tagger.learning.fit import Examples, Learned, Ridge, fill_in, fit
from tagger.learning.learn import check_labels, learn, read
from tagger.methods.rank import layout as layout_module
from tagger.methods.rank import search as search_module
from tagger.methods.rank.calibration import Calibration
from tagger.methods.rank.evidence import Evidence, TagLogProbs
from tagger.methods.rank.head import Head
from tagger.methods.rank.rank import Encoded, Rank
from tagger.models.language import LanguageModel
from tagger.readme.readme import Readme
from tagger.selection import MAX_TAGS
from tagger.vocabulary import Vocabulary

pytestmark = pytest.mark.slow

START = Calibration(0.8, 1.0, 0.5, 1.0, 0.0, -2.0, 0.4)
TAGS, BRANCHES, WIDTH = 20, 2, 64
WORLD = np.random.default_rng(99).normal(size=(TAGS, WIDTH))
"""What a tag of a README adds to its features."""


def examples(count: int, seed: int = 0, telling: float = 1.0) -> Examples:
    """READMEs of one to three tags, of which the model's log-probabilities say a little.

    Args:
        count: how many.
        seed: of everything random.
        telling: how much the features say of the tags.

    """
    draw = np.random.default_rng(seed)
    gold = np.zeros((count, TAGS), bool)
    for row in gold:
        row[draw.choice(TAGS, draw.integers(1, 4), replace=False)] = True
    features = np.zeros((count, BRANCHES, WIDTH))
    features[:, -1] = draw.normal(size=(count, WIDTH)) + telling * gold @ WORLD
    values = -4 + 1.0 * gold[:, None, :] + draw.normal(size=(count, BRANCHES, TAGS))
    log_probs, prior = torch.tensor(values).float(), torch.full((BRANCHES, TAGS), -4.0)
    evidence = Evidence(
        TagLogProbs(log_probs, log_probs),
        TagLogProbs(prior, prior),
        torch.zeros(count, TAGS, 2),
        torch.tensor(features).half().float(),
    )
    return of(evidence, gold)


def of(evidence: Evidence, gold: Bools) -> Examples:
    weights, void = np.ones(len(gold)), np.zeros((0, WIDTH))
    return Examples(evidence, gold, gold, np.arange(len(gold)), weights, void, brief=False)


def with_gold(examples: Examples, gold: Bools) -> Examples:
    return replace(examples, gold=gold, accepted=gold)


def shuffled(examples: Examples, seed: int = 0) -> Examples:
    """The same READMEs with the labels of one another."""
    return with_gold(
        examples, examples.gold[np.random.default_rng(seed).permutation(len(examples))]
    )


def f1(learned: Learned, ridge: Ridge, on: Examples) -> float:
    return measure(learned.judged(on, ridge.scores(on.features)))["f1_given"]


# The regressions.


@pytest.mark.parametrize("count", [WIDTH - 24, WIDTH + 24])
def test_fewer_and_more_readmes_than_features_give_the_weighted_regression(count: int) -> None:
    weights = np.random.default_rng(0).uniform(0.5, 2.0, count)
    known = replace(examples(count), weights=7 * weights)
    ridge = Ridge.fit(known)
    weights = weights / weights.mean()
    standard = (known.features - ridge.mean) * ridge.scale
    assert np.allclose(weights @ standard, 0)
    squares = np.average((standard**2).sum(axis=1), weights=weights)
    assert squares == pytest.approx(1.0), "a mean square sum of one"
    deviations = known.targets - np.average(known.targets, axis=0, weights=weights)
    root = np.sqrt(weights)[:, None]
    penalty = np.sqrt(module.RIDGE) * np.eye(WIDTH)
    inputs = np.concatenate([root * standard, penalty])
    outputs = np.concatenate([root * deviations, np.zeros((WIDTH, TAGS))])
    assert np.allclose(ridge.rows.T, np.linalg.lstsq(inputs, outputs)[0])
    unseen = examples(5, seed=1)
    by_hand = ((unseen.features - ridge.mean) * ridge.scale) @ ridge.rows.T
    assert np.allclose(ridge.scores(unseen.features), by_hand)


def test_a_readme_of_twice_the_weight_counts_as_two() -> None:
    known = examples(40)
    twice = Ridge.fit(known.take(np.array([*range(40), 0])))
    # Weights are relative: the penalty stands beside their mean.
    weighted = replace(known, weights=np.array([2.0] + 39 * [1.0]))
    once = Ridge.fit(weighted)
    assert np.allclose(once.mean, twice.mean)
    assert np.allclose(once.rows, twice.rows, rtol=0.1, atol=0.02)


def test_features_that_are_all_alike_teach_nothing_and_break_nothing() -> None:
    known = examples(40)
    assert known.evidence.features is not None
    features = known.evidence.features.clone()
    features[:, -1, :3] = 7.0
    known = replace(known, evidence=replace(known.evidence, features=features))
    ridge = Ridge.fit(known)
    assert np.abs(ridge.rows[:, :3]).max() < 1e-9
    assert np.isfinite(ridge.scores(known.features)).all()


def test_what_a_label_accepts_counts_half() -> None:
    gold, accepted = np.array([[True, False, False]]), np.array([[True, True, False]])
    known = replace(of(examples(1).evidence, gold), accepted=accepted)
    assert known.targets.tolist() == [[1.0, 0.5, 0.0]]


@pytest.mark.parametrize("size", [1, 5, 8, 30, 101])
def test_every_row_is_judged_once_by_a_fit_to_all_others_but_its_fold(size: int) -> None:
    parts = module.folds(np.arange(size))
    assert sorted(np.concatenate([unseen for _, unseen in parts])) == list(range(size))
    for rows, unseen in parts:
        assert sorted([*rows, *unseen]) == list(range(size))
    sizes = [len(unseen) for _, unseen in parts]
    assert max(sizes) - min(sizes) <= 1
    assert len(parts) == min(size, module.FOLDS)


@pytest.mark.parametrize("count", [1, 3, 8, 25])
def test_no_group_is_in_two_folds(count: int) -> None:
    groups = np.random.default_rng(0).integers(0, count, 100)
    parts = module.folds(groups)
    assert sorted(np.concatenate([unseen for _, unseen in parts])) == list(range(100))
    if count > 1:
        assert len(parts) == min(count, module.FOLDS)
        assert not any(set(groups[rows]) & set(groups[unseen]) for rows, unseen in parts)


def test_a_readmes_score_does_not_come_from_its_own_label() -> None:
    known = examples(60)
    scores = module.out_of_fold(known)
    for row in (0, 7, 59):
        gold = known.gold.copy()
        gold[row] = ~gold[row]
        others = module.out_of_fold(with_gold(known, gold))
        (own,) = [unseen for _, unseen in module.folds(np.arange(60)) if row in unseen]
        assert np.array_equal(others[own], scores[own]), "nor from those of its fold"
        rest = np.setdiff1d(np.arange(60), own)
        assert (others[rest] != scores[rest]).any(axis=1).all(), "all others have seen it"


def test_a_readmes_score_does_not_come_from_features_of_its_fold() -> None:
    known = examples(60)
    scores = module.out_of_fold(known)
    assert known.evidence.features is not None
    features = known.evidence.features.clone()
    features[5] += 3.0
    others = module.out_of_fold(replace(known, evidence=replace(known.evidence, features=features)))
    (own,) = [set(unseen) for _, unseen in module.folds(np.arange(60)) if 5 in unseen]
    same = sorted(own - {5})
    assert np.array_equal(others[same], scores[same])


# From scores to confidences.


def test_with_a_narrow_prior_the_numbers_stay_where_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = examples(120)
    scores = module.out_of_fold(known)
    monkeypatch.setattr(module, "PRIOR", 1e-5)
    still = Learned.fit(known, scores, START)
    assert still.weight == pytest.approx(0.0, abs=1e-3)
    for name, value in START.numbers.items():
        if name != "threshold":
            assert still.calibration.numbers[name] == pytest.approx(value, abs=1e-3)
    monkeypatch.undo()
    moved = Learned.fit(known, scores, START)
    assert moved.weight > 1
    assert moved.calibration.intercept != pytest.approx(START.intercept, abs=0.01)
    assert moved.calibration.prior_weight == START.prior_weight, "which the search relies on"


def test_the_fit_is_that_of_highest_posterior_probability() -> None:
    known = examples(80)
    inputs = module.inputs_of(known.evidence, module.out_of_fold(known), START)
    offset = START.logits(known.evidence).double().numpy()
    weights = module.logistic(inputs, known.chances, offset)

    def loss(weights: Any) -> float:
        logits = offset + inputs @ weights
        signs = np.where(known.accepted, 1, -1)
        return float(
            np.logaddexp(0, -signs * logits).sum() + (weights**2).sum() / 2 / module.PRIOR**2
        )

    least = loss(weights)
    for place in range(len(weights)):
        for step in (-0.05, 0.05):
            assert loss(weights + step * np.eye(len(weights))[place]) > least


def test_a_label_of_a_quarter_of_the_weight_counts_a_quarter_in_confidences() -> None:
    known = examples(40)
    inputs = module.inputs_of(known.evidence, module.out_of_fold(known), START)
    offset = START.logits(known.evidence).double().numpy()
    rows = np.array([*range(40), *(4 * [0])])
    weights = np.array([0.25] + 39 * [1.0] + 4 * [0.1875])
    often = module.logistic(inputs[rows], known.chances[rows], offset[rows], weights)
    once = module.logistic(inputs, known.chances, offset)
    assert np.allclose(often, once, atol=1e-3), "1/4 and four times 3/16"
    assert not np.allclose(
        module.logistic(inputs, known.chances, offset, np.array([0.25] + 39 * [1.0])),
        once,
        atol=1e-3,
    )


def test_inputs_are_what_a_logit_weighs() -> None:
    """A logit by the inputs' own names is the calibration's, and the head's score on top."""
    known = examples(10)
    calibration = replace(START, mentions=0.7, lead=0.9, shift=0.8)
    draw = torch.Generator().manual_seed(0)
    mentions = (torch.rand(10, TAGS, 2, generator=draw) > 0.7).float()
    known = replace(known, evidence=replace(known.evidence, mentions=mentions))
    scores = np.random.default_rng(0).normal(size=known.gold.shape)
    numbers = np.array([1.0, 0.7, 0.9, 0.8, 3.0, -2.0])
    logits = module.inputs_of(known.evidence, scores, calibration) @ numbers
    everything = Learned(calibration, calibration, 3.0, np.ones(TAGS, bool), brief=False)
    assert np.allclose(logits, everything.logits(known, scores), atol=1e-4)


def test_a_tag_that_no_label_has_keeps_its_zero_shot_confidence() -> None:
    known = examples(120)
    gold = known.gold.copy()
    gold[:, :5] = False
    outcome = fit(with_gold(known, gold), START)
    assert outcome.learned.weight > 0
    assert outcome.learned.known.tolist() == [False] * 5 + [True] * (TAGS - 5)
    before = START.logits(known.evidence).double().numpy()
    after = outcome.learned.logits(known, outcome.ridge.scores(known.features))
    assert (after[:, :5] == before[:, :5]).all()
    assert (after[:, 5:] != before[:, 5:]).mean() > 0.9


def test_the_threshold_is_one_that_gives_good_replies() -> None:
    known = examples(200)
    scores = module.out_of_fold(known)
    learned = Learned.fit(known, scores, START).with_threshold(known, scores)
    confidences = module.sigmoid(learned.logits(known, scores))
    best = module.best_threshold(confidences, known.gold, known.accepted)
    assert 0.05 <= best <= 0.9
    share = 200 / (200 + module.PSEUDO_READMES)
    expected = share * best + (1 - share) * START.threshold
    assert learned.calibration.threshold == pytest.approx(expected, abs=1e-3)


# What it is worth.


def test_what_is_learned_holds_for_readmes_that_it_has_not_seen() -> None:
    unseen = examples(300, seed=1)
    nothing = np.zeros(unseen.gold.shape)
    before = measure(Learned.nothing(START, TAGS).judged(unseen, nothing))["f1_given"]
    reached = []
    for count in (40, 80, 160):
        outcome = fit(examples(count), START)
        assert outcome.learned.weight > 0
        after = f1(outcome.learned, outcome.ridge, unseen)
        assert after > before + 0.3
        reached.append(after)
        said = measure(outcome.after)["f1_given"]
        assert said == pytest.approx(after, abs=0.06), "and cross-validation tells how well"
        assert measure(outcome.before)["f1_given"] == pytest.approx(before, abs=0.06)
    assert reached == sorted(reached)


@pytest.mark.parametrize("count", [60, 120, 160])
def test_cross_validation_gives_confidences_that_are_true(count: int) -> None:
    outcome = fit(examples(count, telling=0.4), START)
    assert outcome.learned.weight > 0
    said = outcome.after.confidences.sum() / outcome.after.accepted.sum()
    assert said == pytest.approx(1.0, abs=0.1)


def test_confidences_of_readmes_that_it_has_not_seen_are_true() -> None:
    outcome, unseen = fit(examples(160, telling=0.4), START), examples(400, 1, telling=0.4)
    judged = outcome.learned.judged(unseen, outcome.ridge.scores(unseen.features))
    stated = judged.confidences.sum() / judged.accepted.sum()
    assert stated == pytest.approx(1.0, abs=0.1)
    for low, high in ((0.1, 0.3), (0.3, 0.6), (0.6, 0.9), (0.9, 1.0)):
        among = (judged.confidences > low) & (judged.confidences < high)
        assert judged.confidences[among].mean() == pytest.approx(
            judged.accepted[among].mean(), abs=0.08
        )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [30, 60, 120])
def test_labels_of_other_readmes_teach_nothing(count: int, seed: int) -> None:
    outcome = fit(shuffled(examples(count, seed), seed), START)
    assert outcome.learned.weight == 0
    assert outcome.learned.calibration == START
    assert outcome.after is outcome.before


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [30, 60, 120])
def test_features_that_say_nothing_teach_nothing(count: int, seed: int) -> None:
    outcome = fit(examples(count, seed, telling=0.0), START)
    assert outcome.learned.weight == 0
    assert outcome.learned.calibration == START
    assert outcome.after is outcome.before


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kept", [0.3, 0.5, 1.0])
def test_labels_that_are_taken_for_incomplete_give_confidences_that_are_true(
    kept: float, seed: int
) -> None:
    known, unseen = examples(160, seed + 2, telling=0.5), examples(300, 1, telling=0.5)
    there = np.random.default_rng(seed).random(known.gold.shape) < kept
    known = with_gold(known, known.gold & there)
    share = fill_in(known, START).share
    assert share is not None
    assert share.mean() == pytest.approx(kept, abs=0.15)
    stated = {}
    for incomplete in (False, True):
        outcome = fit(replace(known, incomplete=incomplete), START)
        judged = outcome.learned.judged(unseen, outcome.ridge.scores(unseen.features))
        stated[incomplete] = judged.confidences.sum() / judged.accepted.sum()
    assert stated[False] == pytest.approx(kept, abs=0.15), "as often as labels have a right tag"
    assert stated[True] == pytest.approx(1.0, abs=0.25)


@pytest.mark.parametrize("seed", range(3))
def test_incomplete_labels_of_other_readmes_teach_nothing(seed: int) -> None:
    known = replace(shuffled(examples(60, seed), seed), incomplete=True)
    assert fit(known, START).learned.weight == 0


def test_no_tag_that_a_label_has_is_estimated() -> None:
    known = examples(60)
    filled = fill_in(known, START)
    assert filled.chances[known.gold].tolist() == [1.0] * int(known.gold.sum())
    assert ((filled.chances >= 0) & (filled.chances <= 1)).all()
    assert filled.take(np.array([3, 5])).chances.tolist() == filled.chances[[3, 5]].tolist()
    outcome = fit(replace(known, incomplete=True), START)
    assert outcome.learned.calibration.threshold == START.threshold


def test_each_readme_is_judged_by_a_head_that_has_not_seen_it() -> None:
    known = examples(60)
    outcome = fit(known, START)
    gold = known.gold.copy()
    gold[11] = ~gold[11]
    other = fit(with_gold(known, gold), START)
    assert outcome.learned.weight
    assert other.learned.weight
    assert np.array_equal(other.after.confidences[11], outcome.after.confidences[11])
    assert np.array_equal(other.after.given[11], outcome.after.given[11])
    assert not np.array_equal(other.after.confidences, outcome.after.confidences)
    assert np.array_equal(outcome.after.gold, known.gold), "in the order of the READMEs"


# Labels.


def label(id_: str, readme: str = "text", *tags: str, **more: Any) -> Label:
    return Label(id=id_, readme=readme, tags=tags, **more)


def several(count: int) -> list[Label]:
    return [label(str(n), f"text {n}", ("cli", "web")[n % 2]) for n in range(count)]


def test_a_head_takes_thirty_labels() -> None:
    check_labels(several(30))
    untagged = [label(f"x{n}", f"other {n}") for n in range(30)]
    with refused(HeadError):
        check_labels([*several(29), *untagged])
    with refused(HeadError):
        check_labels([])


def test_labels_of_the_same_readme_count_once() -> None:
    again = [label(f"again {n}", "text 0", "cli") for n in range(30)]
    with refused(HeadError):
        check_labels([*several(29), *again])


def test_labels_are_merged_once(tiny_model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []

    def counting(labels: Sequence[Label]) -> list[Label]:
        counted.append(len(labels))
        return merged(labels)

    monkeypatch.setattr(lesson_module, "merged", counting)
    learn(rank_of(tiny_model), [*labels(), *labels()])
    assert counted == [96]


def test_labels_that_are_all_alike_are_refused() -> None:
    alike = [label(str(n), f"text {n}", ("cli", "CLI ")[n % 2]) for n in range(40)]
    with refused(HeadError):
        check_labels(alike)
    check_labels([*alike, label("x", "x", "web")])


def test_readmes_come_once_in_an_order_of_their_own() -> None:
    rows = several(12)
    once = merged(rows)
    assert {each.id for each in once} == {each.id for each in rows}
    assert [each.text_digest for each in once] == sorted(each.text_digest for each in rows)
    turned = rows[:]
    random.Random(0).shuffle(turned)
    assert merged(turned) == once
    assert merged(once) == once


def only(labels: Sequence[Label]) -> Label:
    (one,) = merged(labels)
    return one


def test_a_person_beats_a_teacher() -> None:
    person = label("a", "text", "cli", acceptable=("api",))
    teachers = [label(f"t{n}", "text", "web", source="teacher") for n in range(3)]
    for order in permutations([person, *teachers]):
        assert only(order) == person


def test_a_later_label_of_an_id_beats_an_earlier_one() -> None:
    first, second = label("a", "text", "cli"), label("a", "text", "web", rejected=("cli",))
    assert only([first, second]) == second
    assert only([second, first]) == first


def test_a_label_of_a_person_beats_a_later_one_of_a_teacher() -> None:
    person = label("a", "text", "cli")
    assert only([person, label("a", "text", "web", source="teacher")]) == person


def test_of_two_people_the_common_tags_stay_and_the_rest_is_acceptable() -> None:
    one = label("a", "text", "cli", "Web", acceptable=("api",), rejected=("game",))
    other = label("b", "text", "web ", "http", acceptable=("cli",), rejected=("3d", "api"))
    found = only([one, other])
    assert found.tags == ("Web",)
    assert sorted(found.acceptable) == ["api", "cli", "http"]
    assert sorted(found.rejected) == ["3d", "game"], "but not what one of them accepts"
    turned = only([other, one])
    assert [tag.strip().lower() for tag in turned.tags] == ["web"]
    assert sorted(turned.acceptable) == ["api", "cli", "http"]


def test_people_who_agree_in_nothing_leave_no_tag() -> None:
    found = only([label("a", "text", "cli"), label("b", "text", "web"), label("c", "text", "cli")])
    assert (found.tags, sorted(found.acceptable)) == ((), ["cli", "web"])


def test_a_merged_label_is_one_that_can_be_written_and_read() -> None:
    one = label("a", "text", "cli", acceptable=("web",))
    other = label("b", "text", "web", rejected=("CLI", "api"))
    found = only([one, other])
    assert Label.model_validate_json(found.model_dump_json()) == found


def test_a_row_says_who_labelled_a_readme_and_why() -> None:
    row = {"id": 7, "readme": "text", "tags": ["cli"], "rejected": ["web"], "more": "ignored"}
    found = Label.model_validate(row | {"source": "teacher", "selection": "uncertain"})
    assert (found.id, found.rejected) == ("7", ("web",))
    assert (found.source, found.selection) == ("teacher", "uncertain")
    plain = Label.model_validate(row)
    assert (plain.source, plain.selection) == ("human", "random")
    with pytest.raises(ValidationError, match="'CLI ' is both given and rejected"):
        Label.model_validate(row | {"rejected": ["CLI "]})


# With a model.

NAMES = ("3d", "game-engine ", "cli", "api")
WORDS = ("alpha beta", "omega psi", "xyz", "")


def labels(count: int = 48, kinds: int = 3) -> list[Label]:
    """READMEs whose words, which name no tag, tell the tags."""
    return [
        label(str(n), f"{WORDS[n % kinds]} {n} {WORDS[n % kinds]}", NAMES[n % kinds])
        for n in range(count)
    ]


def rank_of(model: LanguageModel, head: Head | None = None) -> Rank:
    return Rank(model, Vocabulary.from_names(NAMES), readme_tokens=100, head=head)


def saved(head: Head, folder: Path) -> bytes:
    head.save(folder / "saved")
    return (folder / "saved").read_bytes()


def test_a_head_is_learned_from_labels(tiny_model: LanguageModel) -> None:
    rank, heard = rank_of(tiny_model), []
    rows = labels()
    lesson = learn(rank, rows, lambda *what: heard.append(what))
    assert heard == [("reading", done, 62) for done in range(1, 63)], "texts that say nothing too"
    assert (lesson.readmes, lesson.read) == (48, 48)
    assert lesson.support == {"3d": 16, "game-engine": 16, "cli": 16, "api": 0}
    assert measure(lesson.after)["f1_given"] > measure(lesson.before)["f1_given"] + 0.3
    head = lesson.head
    assert head.weight > 0
    assert head.tags == ("3d", "game-engine", "cli"), "no label has the other one"
    assert (head.model, head.readmes, head.labels) == ("tiny", 48, 48)
    assert head.fitted == tuple(sorted(row.text_digest for row in rows))
    assert head.rows.shape == (3, 32)
    learned = rank_of(tiny_model, head)
    right = 0
    for kind, words in enumerate(WORDS[:3]):
        (ranking,) = learned.score([learned.encode(Readme("new", f"{words} 77 {words}"))])
        right += ranking[0].tag.name == NAMES[kind]
    assert right == 3


@pytest.mark.parametrize(("tagged", "brief"), [(119, False), (120, True)])
def test_many_labels_give_a_head_that_needs_one_question(
    tiny_model: LanguageModel, tagged: int, brief: bool
) -> None:
    untagged = [label(f"none {n}", f"nothing of note {n}") for n in range(10)]
    rank = rank_of(tiny_model)
    head = learn(rank, [*labels(tagged, kinds=4), *untagged]).head
    assert head.weight > 0
    assert head.brief == brief
    learned = rank_of(tiny_model, head)
    assert (learned.reading_identity == rank.reading_identity) == (not brief)


def test_labels_without_meaning_give_the_ranking_without_a_head(tiny_model: LanguageModel) -> None:
    draw = random.Random(0)
    rows = [label(str(n), f"word {n}", draw.choice(NAMES)) for n in range(40)]
    rank = rank_of(tiny_model)
    lesson = learn(rank, rows)
    assert lesson.head.weight == 0
    assert lesson.head.calibration.numbers == rank.calibration.numbers
    assert lesson.after is lesson.before
    learned = rank_of(tiny_model, lesson.head)
    encoded = rank.encode(Readme("x", "A game engine."))
    assert learned.score([encoded]) == rank.score([encoded])


def test_the_same_labels_in_any_order_give_the_same_bytes(
    tiny_model: LanguageModel, tmp_path: Path
) -> None:
    rows = labels()
    first = saved(learn(rank_of(tiny_model), rows).head, tmp_path)
    for seed in range(3):
        random.Random(seed).shuffle(rows)
        assert saved(learn(rank_of(tiny_model), rows).head, tmp_path) == first
    assert saved(learn(rank_of(tiny_model), [*rows, *rows]).head, tmp_path) == first
    assert saved(learn(rank_of(tiny_model), rows[1:]).head, tmp_path) != first


@pytest.mark.parametrize("brief", [False, True])
def test_the_head_of_the_method_does_not_sway_what_is_learned(
    tiny_model: LanguageModel, tmp_path: Path, brief: bool
) -> None:
    rank = rank_of(tiny_model)
    first = saved(learn(rank, labels()).head, tmp_path)
    swayed = rank_of(tiny_model, head_of(rank, brief=brief))
    assert saved(learn(swayed, labels()).head, tmp_path) == first


def test_a_readme_is_read_once(
    tiny_model: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert learn(rank_of(tiny_model), labels(40)).read == 40
    assert learn(rank_of(tiny_model), labels(50)).read == 10
    fresh = learn(rank_of(tiny_model), labels(50))
    assert fresh.read == 0

    def fail(*_: object) -> Evidence:
        raise AssertionError("nothing is to be read")

    monkeypatch.setattr(Rank, "evidence", fail)
    other_labels = [each.model_copy(update={"tags": (NAMES[0],)}) for each in labels(20)]
    again = learn(rank_of(tiny_model), [*labels(50)[20:], *other_labels])
    assert again.read == 0
    assert saved(again.head, tmp_path) != saved(fresh.head, tmp_path)


def test_what_is_read_for_another_model_or_budget_is_not_used(tiny_model: LanguageModel) -> None:
    assert learn(rank_of(tiny_model), labels(30)).read == 30
    assert learn(rank_of(tiny.model(seed=1)), labels(30)).read == 30
    vocabulary = Vocabulary.from_names(NAMES)
    assert learn(Rank(tiny_model, vocabulary, readme_tokens=99), labels(30)).read == 30
    turned = Vocabulary(tuple(reversed(vocabulary.tags)))
    assert learn(Rank(tiny_model, turned, readme_tokens=100), labels(30)).read == 30
    calibration = replace(Calibration.shipped("tiny"), intercept=-9.0)
    other = Rank(tiny_model, vocabulary, calibration=calibration, readme_tokens=100)
    assert learn(other, labels(30)).read == 0, "evidence does not depend on the calibration"


def test_reading_that_was_broken_off_goes_on(tiny_model: LanguageModel) -> None:
    def stop(_: str, done: int, __: int) -> None:
        if done == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(rank_of(tiny_model), labels(30), stop)
    assert learn(rank_of(tiny_model), labels(30)).read == 18


def test_few_labels_are_refused_before_anything_is_read(
    tiny_model: LanguageModel, cache: Path
) -> None:
    with refused(HeadError):
        learn(rank_of(tiny_model), labels(29))
    with refused(HeadError):
        learn(rank_of(tiny_model), labels(40, kinds=1))
    assert not cache.exists()


def readings(cache: Path) -> Path:
    (path,) = (cache / "readings").glob("*.state")
    return path


def test_a_damaged_cache_says_what_to_do(tiny_model: LanguageModel, cache: Path) -> None:
    first = learn(rank_of(tiny_model), labels(30))
    path = readings(cache)
    whole = path.read_bytes()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE reading SET content = substr(content, 1, 99)")
    database.close()
    with refused(UsageError) as caught:
        learn(rank_of(tiny_model), labels(30))
    assert str(path) in str(caught.value)
    path.write_bytes(whole[: len(whole) // 2])
    with refused(UsageError):
        learn(rank_of(tiny_model), labels(30))
    path.unlink()
    again = learn(rank_of(tiny_model), labels(30))
    assert again.read == 30
    assert again.head.digest == first.head.digest


def test_a_cache_of_another_version_says_what_to_do(tiny_model: LanguageModel, cache: Path) -> None:
    learn(rank_of(tiny_model), labels(30))
    with sqlite3.connect(readings(cache)) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with refused(UsageError):
        learn(rank_of(tiny_model), labels(30))


@pytest.mark.parametrize("content", [b"not a database, " * 100, b"", b"SQLite"])
def test_another_file_in_its_place_says_what_to_remove(
    tiny_model: LanguageModel, cache: Path, content: bytes
) -> None:
    learn(rank_of(tiny_model), labels(30))
    path = readings(cache)
    path.write_bytes(content)
    if not content:
        assert learn(rank_of(tiny_model), labels(30)).read == 30
        return
    kind = "is not a tagger file" if len(content) > 99 else "is damaged"
    says = f"{path} {kind}: remove it, and the READMEs are read again"
    for _ in range(2):
        with pytest.raises(UsageError) as caught:
            learn(rank_of(tiny_model), labels(30))
        assert str(caught.value) == says
    path.unlink()
    path.symlink_to(cache / "elsewhere")
    with refused(UsageError):
        learn(rank_of(tiny_model), labels(30))
    path.unlink()
    assert learn(rank_of(tiny_model), labels(30)).read == 30


def test_two_at_once_wait_for_one_another(
    tiny_model: LanguageModel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    waiting = "another tagger learn is reading for this model and list of tags: waiting for it"
    begun, go_on = threading.Event(), threading.Event()

    def pause(*_: object) -> None:
        begun.set()
        assert go_on.wait(60)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(learn, rank_of(tiny_model), labels(30), pause)
        assert begun.wait(60)
        second = pool.submit(learn, rank_of(tiny_model), labels(32))
        deadline = time.monotonic() + 60
        while waiting not in caplog.messages:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert not second.done()
        go_on.set()
        assert first.result(60).read == 30
        assert second.result(60).read == 2, "what the first one has read is there"
    assert caplog.messages.count(waiting) == 1
    assert "cannot be kept" not in caplog.text


def test_a_cache_that_cannot_be_had_is_done_without(
    tiny_model: LanguageModel, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = learn(rank_of(tiny_model), labels(30))
    with Ledger(readings(cache)):  # as one that knows nothing of the lock
        again = learn(rank_of(tiny_model), labels(30))
    assert (first.read, again.read) == (30, 30)
    assert again.head.digest == first.head.digest
    assert caplog.text.count("what is read cannot be kept for the next time") == 1
    assert learn(rank_of(tiny_model), labels(30)).read == 0


def test_a_disk_that_fills_up_costs_nothing_but_the_memory(
    tiny_model: LanguageModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept: list[bytes] = []
    keep = Ledger.keep

    def full(ledger: Ledger, key: bytes, content: bytes) -> None:
        if len(kept) == 12:
            raise OutputError("no space")
        kept.append(key)
        keep(ledger, key, content)

    monkeypatch.setattr(Ledger, "keep", full)
    assert learn(rank_of(tiny_model), labels(30)).read == 30
    assert caplog.messages.count("what is read cannot be kept for the next time: no space") == 1


def test_a_readme_is_read_by_its_own_markup(tiny_model: LanguageModel) -> None:
    """The same text is not the same README where it is marked up in another way."""
    rank = rank_of(tiny_model)
    text = "Title\n=====\n\n.. image:: alpha.png\n\nBeta.\n"
    plain = label("a", text, "cli")
    placed = PlacedLabel(**plain.model_dump(), place="a/README.rst")
    assert read(rank, [plain])[1] == read(rank, [placed])[1] == [True]
    for each in (plain, placed):
        found, fresh = read(rank, [each])
        expected = rank.evidence([rank.encode(each.to_readme())])
        assert fresh == [False]
        assert torch.allclose(found.log_probs.full, expected.log_probs.full, atol=1e-2)
    assert not torch.allclose(
        read(rank, [plain])[0].log_probs.full, read(rank, [placed])[0].log_probs.full, atol=1e-2
    )


def test_a_reading_that_does_not_fit_is_damage(
    tiny_model: LanguageModel, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = Ledger.keep
    monkeypatch.setattr(
        Ledger, "keep", lambda self, key, content: keep(self, key, content + b"\0" * 4)
    )
    with pytest.raises(KeyboardInterrupt):
        learn(rank_of(tiny_model), labels(30), stop_at_once)
    with refused(UsageError):
        learn(rank_of(tiny_model), labels(30))


def stop_at_once(*_: object) -> None:
    raise KeyboardInterrupt


# With a vocabulary that is searched.

LARGE = [first + second for first, second in product(ascii_uppercase, "QZXJ")]


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> Rank:
    """A method with a head that was learned on a vocabulary whose tags are searched."""
    monkeypatch.setattr(layout_module, "AT_ONCE", 0)
    monkeypatch.setattr(search_module, "AT_A_TIME", 2)
    rows = [
        label(str(n), f"{WORDS[n % 3]} {n} {WORDS[n % 3]}", *LARGE[n % 3 :: 30]) for n in range(48)
    ]
    # The surer the model and the weaker the prior, the tighter the bounds.
    sure, vocabulary = tiny.model(initializer_range=1.0), Vocabulary.from_names(LARGE)
    calibration = Calibration(0.0, 0.4, 0.5, 1.0, 0.2, -1.0, 0.4)
    head = learn(Rank(sure, vocabulary, None, calibration, 100), rows).head
    assert head.weight > 0
    return Rank(sure, vocabulary, None, calibration, 100, head)


TEXTS = ("alpha beta 3", "omega psi", "", "A web parser for json.", "xyz " * 40)


def encoded(rank: Rank) -> list[Encoded]:
    return [rank.encode(Readme("x", text)) for text in TEXTS]


def test_a_search_with_a_head_finds_the_ten_best_tags_of_scoring_all(searched: Rank) -> None:
    logits = searched.confidence.logits(searched.evidence(encoded(searched)))
    plain = searched.calibration.logits(searched.evidence(encoded(searched)))
    best = logits.topk(10).indices.sort().values
    assert not torch.equal(best, plain.topk(10).indices.sort().values), "other tags than without"
    alone = [searched.score([readme])[0] for readme in encoded(searched)]
    assert min(map(len, alone)) < len(LARGE), "and that without scoring all tags"
    for row, ranking in zip(logits, alone, strict=True):
        expected = row.sort(descending=True).values[:10].tolist()
        assert [scored.logit for scored in ranking[:10]] == pytest.approx(expected, abs=1e-2)
        for scored in ranking[:10]:
            place = LARGE.index(scored.tag.name)
            assert scored.logit == pytest.approx(float(row[place]), abs=1e-2)


def test_a_reading_of_a_searched_vocabulary_ranks_as_scoring_does(searched: Rank) -> None:
    for scored, reading in zip(
        searched.score(encoded(searched)), searched.read(encoded(searched)), strict=True
    ):
        ranking = searched.rank([reading])[0].tags
        assert [tag.id for tag in ranking] == [each.tag.id for each in scored[:MAX_TAGS]]
        assert [tag.confidence for tag in ranking] == [
            each.confidence for each in scored[:MAX_TAGS]
        ]


def test_a_reading_with_a_head_ranks_as_scoring_does(tiny_model: LanguageModel) -> None:
    head = learn(rank_of(tiny_model), labels()).head
    rank = rank_of(tiny_model, head)
    for scored, reading in zip(rank.score(encoded(rank)), rank.read(encoded(rank)), strict=True):
        assert [(tag.id, tag.confidence) for tag in rank.rank([reading])[0].tags] == [
            (each.tag.id, each.confidence) for each in scored[:MAX_TAGS]
        ]
