"""Measures and intervals, by hand and against scikit-learn."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import brier_score_loss

from support.messages import refused
from tagger.errors import (
    LabelsError,
    OutputError,
    ReplyError,
    ServerError,
    TaggerError,
    UsageError,
)
from tagger.evaluation.evaluate import Evaluation, evaluate
from tagger.evaluation.labels import Label
from tagger.evaluation.measures import (
    MEASURES,
    Judged,
    agresti_coull,
    calibration_error,
    error_by_chance,
    interval_of_pairs,
    intervals,
    judge,
    judge_written,
    measure,
    reliability,
    select,
)
from tagger.evaluation.scores import Scores, check_target
from tagger.methods.base import Capacity, FeatureIdentity, Identity
from tagger.methods.rank.evidence import Evidence, TagLogProbs
from tagger.methods.rank.rank import Rank
from tagger.methods.written.generate import Encoded
from tagger.models.language import LanguageModel
from tagger.prompts.prompt import Conversation
from tagger.readme.readme import Readme
from tagger.selection import Selection
from tagger.tagger import Tagger
from tagger.tagging import GivenTag, Ranking
from tagger.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_names(["ai", "cli", "web ", "game", "lib"])


def row(id_: str = "a", **more: object) -> dict[str, object]:
    return {"id": id_, "readme": "words", "tags": ["ai"]} | more


def judged() -> Judged:
    """Two READMEs. The first: game and cli given, ai not; the second: web alone, wrong."""
    labels = load_labels_of(
        row("a", tags=["game", "ai"], acceptable=["cli"]), row("b", tags=["lib"])
    )
    confidences = np.array([[0.3, 0.6, 0.1, 0.9, 0.2], [0.2, 0.1, 0.8, 0.0, 0.4]])
    given_tags = select(confidences, Selection(), 0.5)
    return judge(labels, VOCABULARY, confidences, given_tags)


def load_labels_of(*rows: dict[str, object]) -> list[Label]:
    return [Label.model_validate(one) for one in rows]


def test_the_measures_by_hand() -> None:
    measures = measure(judged())
    expected = {
        "precision_at_1_strict": 1 / 2,
        "precision_at_1_lenient": 1 / 2,
        "hit_at_3": 1.0,
        "recall_at_3": 1.0,
        "recall_at_5": 1.0,
        "precision_given": 2 / 3,
        "recall_given": (1 / 2 + 0) / 2,
        "f1_given": 2 * (2 / 3) * (1 / 4) / (2 / 3 + 1 / 4),
        "micro_precision_strict": 1 / 3,
        "micro_precision_lenient": 2 / 3,
        "micro_recall": 1 / 3,
        "micro_f1_strict": 1 / 3,
        "micro_f1_lenient": 2 * (2 / 3) * (1 / 3) / (2 / 3 + 1 / 3),
        "tags_per_readme": 1.5,
        "ece": (0.1 + 0.4 + 0.8) / 3,
        "confidence_bias": (0.9 + 0.6 + 0.8) / 3 - 2 / 3,
        "brier": (0.1**2 + 0.4**2 + 0.8**2) / 3,
    }
    assert measures == pytest.approx(expected)


def test_names_are_matched_without_case_and_outer_spaces() -> None:
    labels = load_labels_of(row(tags=["WEB"]))
    assert judge(labels, VOCABULARY, np.zeros((1, 5)), np.zeros((1, 5), bool)).gold.tolist() == [
        [False, False, True, False, False]
    ]


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40))
def test_brier_is_that_of_scikit_learn(rows: list[tuple[float, bool]]) -> None:
    stated = np.array([[confidence] for confidence, _ in rows])
    right = np.array([[truth] for _, truth in rows])
    everything = np.ones_like(right)
    brier = measure(Judged(stated, everything, right | True, right))["brier"]
    assert brier == pytest.approx(brier_score_loss(right.ravel(), stated.ravel()))


@given(st.integers(0, 200), st.integers(1, 200))
def test_the_interval_of_a_share_holds_wilsons_and_has_its_centre(right: int, count: int) -> None:
    right = min(right, count)
    wilson = binomtest(right, count).proportion_ci(method="wilson")
    low, high = agresti_coull(right / count, count)
    assert 0 <= low <= wilson.low + 1e-9
    assert wilson.high - 1e-9 <= high <= 1
    if low > 0 and high < 1:
        assert low + high == pytest.approx(wilson.low + wilson.high)


def test_perfect_and_broken_confidences_are_told_apart() -> None:
    draw = np.random.default_rng(0)
    stated = draw.random(20_000)
    right = draw.random(20_000) < stated
    assert calibration_error(stated, right, 10) < 0.02
    assert calibration_error(stated, ~right, 10) > 0.4
    assert calibration_error(np.array([]), np.array([], bool), 10) == 0


def test_the_error_by_chance_is_that_of_perfect_confidences() -> None:
    draw = np.random.default_rng(1)
    stated = draw.random((400, 1))
    everything = np.ones((400, 1), bool)
    right = draw.random((400, 1)) < stated
    perfect = Judged(stated, everything, everything, right)
    assert measure(perfect)["ece"] == pytest.approx(error_by_chance(perfect), abs=0.04)
    wrong = Judged(stated, everything, everything, ~everything)
    assert measure(wrong)["ece"] > error_by_chance(wrong) + 0.3


def test_every_measure_has_a_title_and_a_meaning() -> None:
    assert list(measure(judged())) == list(MEASURES)
    assert all(title and meaning for title, meaning in MEASURES.values())


def test_the_interval_of_pairs_is_that_of_the_precision_of_given_tags() -> None:
    found = judged()
    right, pairs = (found.given & found.accepted).sum(axis=1), found.given.sum(axis=1)
    assert interval_of_pairs(right, pairs) == pytest.approx(intervals(found)["precision_given"])


def test_intervals_hold_the_value_and_are_the_same_every_time() -> None:
    first, again = intervals(judged()), intervals(judged())
    assert first == again
    measures = measure(judged())
    assert first.keys() == measures.keys() - {"ece"}, "which resampling only adds to"
    for name, (low, high) in first.items():
        assert low <= measures[name] <= high


DRAWS = 200


def population(size: int, skill: float) -> Judged:
    """READMEs of one to three tags among twelve, and confidences that tell them."""
    draw = np.random.default_rng(5)
    gold = np.zeros((size, 12), bool)
    for row_ in gold:
        row_[draw.choice(12, draw.integers(1, 4), replace=False)] = True
    accepted = gold | (draw.random(gold.shape) < 0.05)
    logits = skill * (accepted - 0.5) + draw.normal(size=gold.shape)
    confidences = 1 / (1 + np.exp(-logits))
    return Judged(confidences, select(confidences, Selection(), 0.6), gold, accepted)


@pytest.mark.slow
@pytest.mark.parametrize(("skill", "size"), [(3.0, 120), (3.0, 60), (4.0, 60), (3.0, 20)])
def test_intervals_cover_the_truth_as_often_as_they_say(skill: float, size: int) -> None:
    everyone = population(20_000, skill)
    truth = measure(everyone)
    draw = np.random.default_rng(0)
    covered = dict.fromkeys(truth.keys() - {"ece"}, 0)
    for _ in range(DRAWS):
        sample = everyone.take(draw.integers(0, 20_000, size))
        for name, (low, high) in intervals(sample, resamples=120).items():
            covered[name] += low <= truth[name] <= high
    for name, count in covered.items():
        # Of twenty READMEs, or where nearly all or nothing is right, a share takes few values: no
        # interval is exact, and ours are then too wide rather than too short.
        most = 0.99 if 0.05 < truth[name] < 0.95 and size > 20 else 1.0
        assert 0.90 <= count / DRAWS <= most, (name, count / DRAWS, truth[name])


def test_one_readme_has_no_intervals() -> None:
    assert intervals(judged().take(np.array([0]))) == {}


def test_measures_that_some_samples_lack_have_intervals_all_the_same() -> None:
    labels = load_labels_of(row("a", tags=["game"]), row("b", tags=[]), row("c", tags=[]))
    confidences = np.tile([0.1, 0.2, 0.3, 0.9, 0.2], (3, 1))
    result = judge(labels, VOCABULARY, confidences, confidences > 0.5)
    assert intervals(result).keys() == measure(result).keys() - {"ece"}
    low, high = intervals(result)["precision_at_1_strict"]
    assert 0 < low < 0.7, "one README tells little"
    assert high == 1.0


def test_what_nothing_was_given_for_is_not_measured() -> None:
    confidences = np.full((1, 5), 0.1)
    measures = measure(judge(load_labels_of(row()), VOCABULARY, confidences, confidences > 0.5))
    assert not measures.keys() & {"precision_given", "ece", "brier"}
    assert measures["f1_given"] == 0
    right = measure(judge(load_labels_of(row(tags=[])), VOCABULARY, confidences, confidences > 0.5))
    assert right == {"tags_per_readme": 0}


def test_reliability_counts_every_given_tag() -> None:
    assert sum(count for _, _, count in reliability(judged())) == judged().given.sum()


IDENTITY = Identity(FeatureIdentity("w", "p", "1", 768), "rank", vocabulary=VOCABULARY.wording)


def scores(readmes: int = 3, branches: int = 2) -> Scores:
    draw = torch.Generator().manual_seed(0)
    size = len(VOCABULARY)

    def log_probs(*shape: int) -> TagLogProbs:
        return TagLogProbs(torch.rand(shape, generator=draw), torch.rand(shape, generator=draw))

    evidence = Evidence(
        log_probs(readmes, branches, size),
        log_probs(branches, size),
        torch.rand(readmes, size, 2, generator=draw),
        limit=1.0,
    )
    return Scores(
        "tiny",
        IDENTITY,
        tuple(load_labels_of(*map(row, "abcdefgh"[:readmes]))),
        evidence,
        tuple(f"what was read of {name}" for name in "abcdefgh"[:readmes]),
    )


def test_scores_come_back_as_they_were_in_the_order_asked_for(tmp_path: Path) -> None:
    saved = scores()
    saved.save(tmp_path / "s.parquet", VOCABULARY)
    loaded = Scores.load(tmp_path / "s.parquet", VOCABULARY, load_labels_of(row("c"), row("a")))
    assert loaded.model == "tiny"
    assert loaded.identity == IDENTITY
    assert [label.id for label in loaded.labels] == ["c", "a"]
    evidence, expected = loaded.evidence, saved.evidence.select([2, 0])
    assert evidence.log_probs.full.equal(expected.log_probs.full)
    assert evidence.log_probs.first.equal(expected.log_probs.first)
    assert evidence.prior.full.equal(expected.prior.full)
    assert evidence.prior.first.equal(expected.prior.first)
    assert evidence.mentions.equal(expected.mentions)
    assert evidence.limit == expected.limit


OTHER_WORDS = Vocabulary(
    (VOCABULARY.tags[0].model_copy(update={"description": "thinks"}), *VOCABULARY.tags[1:])
)


@pytest.mark.parametrize(
    ("labels", "vocabulary"),
    [
        ([row("a"), row("z")], VOCABULARY),
        ([row("a", readme="other words")], VOCABULARY),
        ([row("a")], Vocabulary.from_names(["ai"])),
        ([row("a")], OTHER_WORDS),
    ],
)
def test_scores_of_something_else_are_refused(
    tmp_path: Path, labels: list[dict[str, object]], vocabulary: Vocabulary
) -> None:
    scores().save(tmp_path / "s.parquet", VOCABULARY)
    with refused(LabelsError):
        Scores.load(tmp_path / "s.parquet", vocabulary, load_labels_of(*labels))


def numbers(**columns: object) -> Callable[[Any], Any]:
    """Return what overwrites columns of a table with one value."""

    def damage(table: Any) -> Any:
        for name, value in columns.items():
            place = table.column_names.index(name)
            table = table.set_column(place, name, pyarrow.array([value] * len(table)))
        return table

    return damage


def described(**about: bytes) -> Callable[[Any], Any]:
    """Return what overwrites what a file says of itself."""

    def damage(table: Any) -> Any:
        more = {name.encode(): value for name, value in about.items()}
        return table.replace_schema_metadata({**table.schema.metadata, **more})

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        numbers(full=None),
        numbers(full=[0.5, None]),
        numbers(full=[0.5]),
        numbers(full=[]),
        numbers(full="x"),
        numbers(full=[0.5, math.nan]),
        numbers(lead=math.inf),
        numbers(readme="a"),
        lambda table: table.slice(0, 7),
        lambda table: table.slice(0, 14),
        lambda table: table.drop_columns("tag"),
        lambda table: table.replace_schema_metadata({}),
        described(identity=b"{}"),
        described(identity=b"[" * 10_000),
        described(identity=Identity().to_json().encode()),
        described(limit=b"x"),
        lambda table: table.replace_schema_metadata({b"model": b"\xff"}),
    ],
)
def test_damaged_scores_are_refused(tmp_path: Path, damage: Callable[[Any], Any]) -> None:
    path = tmp_path / "s.parquet"
    scores().save(path, VOCABULARY)
    pyarrow.parquet.write_table(damage(pyarrow.parquet.read_table(path)), path)
    with refused(LabelsError):
        Scores.load(path, VOCABULARY, load_labels_of(*map(row, "abc")))


def test_what_is_no_file_of_scores_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    with refused(LabelsError):
        Scores.load(path, VOCABULARY, [])
    path.write_text("x")
    with refused(LabelsError):
        Scores.load(path, VOCABULARY, [])


def test_scores_go_only_where_they_can_and_may(tmp_path: Path) -> None:
    mine = tmp_path / "labels.jsonl"
    mine.write_text("{}")
    with refused(UsageError):
        check_target(mine)
    with refused(OutputError):
        check_target(tmp_path)
    with refused(OutputError):
        check_target(tmp_path / "nowhere" / "s.parquet")
    target = tmp_path / "s.parquet"
    check_target(target)
    assert not target.exists()
    scores().save(target, VOCABULARY)
    check_target(target)


LABELS = load_labels_of(
    row("a", readme="A web server.", tags=["web"]),
    row("b", readme="A game engine.", tags=["game"], acceptable=["lib"]),
    row("c", readme="A *shell* for the terminal. " * 40, tags=["cli"]),
)
READS_FOUR_TOKENS = Identity(FeatureIdentity(readme_tokens=4))


@dataclass
class Scripted:
    """A `Method` whose replies are those of a script; an error fails its README."""

    script: dict[str, str | TaggerError]
    at_once: int = 1
    sizes: list[int] = field(default_factory=list)
    prepared: bool = False
    name: str = "a script"
    vocabulary: Vocabulary = VOCABULARY
    identity: Identity = READS_FOUR_TOKENS
    reading_identity: Identity = READS_FOUR_TOKENS
    threshold: float | None = None

    @property
    def capacity(self) -> Capacity:
        return Capacity(readmes=self.at_once)

    def prepare(self, *, reading: bool = True) -> None:
        self.prepared = True

    def encode(self, readme: Readme) -> Encoded:
        return Encoded(readme.id, [1])

    def read(self, readmes: Sequence[Encoded]) -> Sequence[bytes | TaggerError]:
        self.sizes.append(len(readmes))
        replies = [self.script[readme.id] for readme in readmes]
        return [reply.encode() if isinstance(reply, str) else reply for reply in replies]

    def rank(self, readings: Sequence[bytes]) -> list[Ranking]:
        by_label = {tag.label: tag for tag in VOCABULARY}
        rows = [[by_label[label] for label in reading.decode().split()] for reading in readings]
        return [Ranking(tuple(GivenTag(id=tag.id, name=tag.name) for tag in tags)) for tags in rows]

    def conversations(self, readme: Readme) -> list[Conversation]:
        return []

    def stop(self) -> None:
        """Do nothing."""


def test_a_method_with_confidences_is_measured_by_its_scores(tiny_model: LanguageModel) -> None:
    tagger = Tagger(Rank(tiny_model, VOCABULARY), Selection(max_tags=2))
    heard: list[tuple[object, ...]] = []
    found = evaluate(tagger, LABELS, lambda *what: heard.append(what))
    assert heard == [("scoring", done, 3) for done in (1, 2, 3)]
    assert found.threshold == tagger.threshold
    assert found.measures == measure(found.judged)
    assert found.judged.sure
    for given_tags, label in zip(found.judged.given, LABELS, strict=True):
        (tagging,) = tagger.tag([label.to_readme()])
        names = {tag.name for tag in tagging.tags}
        assert {tag.name for tag, yes in zip(VOCABULARY, given_tags, strict=True) if yes} == names
    assert found.read[:2] == ("A web server.", "A game engine.")
    assert found.read[2].startswith("A shell for"), "without markup"


def test_scores_give_the_evaluation_that_they_were_kept_from(
    tiny_model: LanguageModel, tmp_path: Path
) -> None:
    rank = Rank(tiny_model, VOCABULARY)
    found = evaluate(Tagger(rank), LABELS)
    assert found.scores is not None
    assert found.scores.identity == rank.evidence_identity
    found.scores.save(tmp_path / "s.parquet", VOCABULARY)
    scores = Scores.load(tmp_path / "s.parquet", VOCABULARY, LABELS)
    again = Evaluation.of_scores(scores, VOCABULARY, rank.confidence, Selection())
    assert again.to_dict() == found.to_dict()
    strict = Evaluation.of_scores(scores, VOCABULARY, rank.confidence, Selection(threshold=0.9))
    assert strict.threshold == 0.9


def test_a_method_without_confidences_is_measured_by_its_replies() -> None:
    method = Scripted({"a": "web", "b": "game lib", "c": "ai"}, at_once=2)
    heard: list[tuple[object, ...]] = []
    found = evaluate(Tagger(method), LABELS, lambda *what: heard.append(what))
    assert method.prepared
    assert method.sizes == [2, 1], "as many at once as the method takes"
    assert heard == [("tagging", 2, 3), ("tagging", 3, 3)]
    assert (found.threshold, found.scores, found.failed) == (None, None, 0)
    assert found.measures["precision_given"] == 3 / 4
    assert found.measures["precision_at_1_strict"] == 2 / 3
    assert not found.to_dict().keys() & {"calibration", "reliability"}
    assert found.to_dict()["measures"].keys() == found.measures.keys()
    assert [len(read) for read in found.read] == [13, 14, 16], "four characters for a token"


def test_what_is_measured_is_what_the_tagger_gives() -> None:
    method = Scripted({"a": "web game", "b": "lib game", "c": "ai cli"})
    found = evaluate(Tagger(method, Selection(max_tags=1)), LABELS)
    assert found.measures["tags_per_readme"] == 1
    assert found.measures["recall_given"] == 1 / 3


def test_a_reply_that_fails_counts_as_none() -> None:
    found = evaluate(Tagger(Scripted({"a": ReplyError("no"), "b": "game", "c": "ai"})), LABELS)
    assert found.failed == 1
    assert found.measures["tags_per_readme"] == 2 / 3
    only = Scripted({name: ServerError(f"no to {name}") for name in "abc"})
    with refused(ServerError):
        evaluate(Tagger(only), LABELS)


def test_written_replies_are_ranked_as_they_name_their_tags() -> None:
    result = judge_written(LABELS[:2], VOCABULARY, [["game", " WEB"], []])
    assert result.confidences.tolist() == [[0, 0, 0.5, 1, 0], [0] * 5]
    assert result.given.tolist() == [[False, False, True, True, False], [False] * 5]
    assert not result.sure


def test_a_readme_that_is_labelled_twice_is_measured_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    again = load_labels_of(
        row("b2", readme="A game engine.", tags=["game", "lib"]),
        row("a2", readme="A web server.", tags=["ai"], source="teacher"),
    )
    method = Scripted({"a": "web", "b": "game lib", "c": "ai"})
    found = evaluate(Tagger(method), [*LABELS, *again])
    assert sum(method.sizes) == 3
    assert [label.id for label in found.labels] == ["a", "b", "c"], "in the order of the labels"
    assert found.measures == evaluate(Tagger(method), LABELS).measures
    said = "labels merged with earlier ones of the same README: 2"
    assert caplog.messages.count(said) == 1


def test_a_label_outside_the_vocabulary_is_named() -> None:
    label = Label(id="r", readme="text", tags=("unknown",))
    none = np.zeros((1, 1), dtype=bool)
    with refused(LabelsError):
        judge([label], Vocabulary.from_names(["cli"]), none.astype(float), none)
