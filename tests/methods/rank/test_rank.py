"""Ranking: evidence, the prior and its cache, and the search of a large vocabulary."""

import dataclasses
import json
import math
import statistics
from itertools import product
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support import tiny
from support.heads import head_of
from support.messages import refused
from tagger.errors import CalibrationError, LoadError, VocabularyError
from tagger.methods.rank import identity as identity_module
from tagger.methods.rank import layout as layout_module
from tagger.methods.rank import search as search_module
from tagger.methods.rank.calibration import Calibration, Origin
from tagger.methods.rank.evidence import Evidence, ScoredTag, TagLogProbs
from tagger.methods.rank.head import Head
from tagger.methods.rank.layout import Layout
from tagger.methods.rank.passes import Passes
from tagger.methods.rank.prior import CONTENT_FREE
from tagger.methods.rank.rank import Rank
from tagger.models.language import LanguageModel
from tagger.prompts.prompt import PromptTemplate, Question
from tagger.readme.readme import Readme
from tagger.selection import MAX_TAGS
from tagger.vocabulary import Vocabulary, fold

NAMES = ["http", "http-client", "game", "game-engine", "cli", "web server"]
TEMPLATE = PromptTemplate(system="You tag.", user="Tags: {tags}\n{readme}\nChoose.")
TWO = dataclasses.replace(
    TEMPLATE, questions=(Question("What is it?"), Question("What kind is it?", 'A "'))
)
CALIBRATION = Calibration.shipped("tiny")


def ranker(
    model: LanguageModel,
    names: list[str] = NAMES,
    template: PromptTemplate = TEMPLATE,
    calibration: Calibration = CALIBRATION,
    readme_tokens: int = 200,
    head: Head | None = None,
) -> Rank:
    return Rank(model, Vocabulary.from_names(names), template, calibration, readme_tokens, head)


def ranking_of(method: Rank, text: str) -> list[ScoredTag]:
    (ranking,) = method.score([method.encode(Readme("x", text))])
    return ranking


def evidence_of(method: Rank, *texts: str) -> Evidence:
    return method.evidence([method.encode(Readme("x", text)) for text in texts])


def log_probs_of(method: Rank, *texts: str) -> TagLogProbs:
    return evidence_of(method, *texts).log_probs


def test_every_tag_is_ranked_once_and_the_best_comes_first(tiny_model: LanguageModel) -> None:
    ranking = ranking_of(ranker(tiny_model), "A web server.")
    assert sorted(scored.tag.name for scored in ranking) == sorted(NAMES)
    logits = [scored.logit for scored in ranking]
    assert logits == sorted(logits, reverse=True)
    confidences = [scored.confidence for scored in ranking]
    assert confidences == sorted(confidences, reverse=True)
    assert all(0 <= confidence <= 1 for confidence in confidences)


def test_a_logit_weighs_the_margin_over_the_best_tags_the_mentions_and_the_shift(
    tiny_model: LanguageModel,
) -> None:
    """By hand, for six tags; fewer than ten tags are all among the best."""
    calibration = Calibration(0.5, 2.0, 0.7, 0.9, 0.8, -1.0, 0.5)
    method = ranker(tiny_model, template=TWO, calibration=calibration)
    ranking = ranking_of(method, "A web server.")
    log_probs, prior = log_probs_of(method, "A web server.").select(0), method.prior

    def score(branch: int, tag: int) -> float:
        return float(log_probs.full[branch, tag] - 0.5 * prior.full[branch, tag])

    def mean(branch: int) -> float:
        return statistics.mean(score(branch, tag) for tag in range(len(NAMES)))

    mixture = [
        math.log(sum(math.exp(score(branch, tag) - mean(branch)) for branch in range(2)))
        for tag in range(len(NAMES))
    ]
    scores = dict(zip(NAMES, mixture, strict=True))
    zero = statistics.mean(mixture)
    changes = (log_probs.first - prior.first).mean(0).tolist()
    shift = statistics.mean(abs(change - statistics.mean(changes)) for change in changes)
    for scored in ranking:
        mentions = math.log(2) if scored.tag.name == "web server" else 0
        expected = 2 * (scores[scored.tag.name] - zero) + (0.7 + 0.9) * mentions - 1
        expected += 0.8 * math.log(shift)
        assert scored.logit == pytest.approx(expected, abs=1e-3)
        assert scored.confidence == pytest.approx(1 / (1 + math.exp(-expected)), abs=1e-4)


def test_each_question_attends_to_another_order_of_the_list(tiny_model: LanguageModel) -> None:
    def branches(*questions: str) -> torch.Tensor:
        template = dataclasses.replace(TEMPLATE, questions=tuple(map(Question, questions)))
        return log_probs_of(ranker(tiny_model, NAMES, template), "A web server.").full[0]

    first, second = "What is it?", "What kind is it?"
    forward, backward = branches(first)
    both = branches(first, second)
    assert both[0].allclose(forward, atol=1e-4)
    assert both[1].allclose(branches(second)[1], atol=1e-4)
    assert not forward.allclose(backward, atol=1e-2)
    assert len(branches(first, second, "Which?")) == 3


def test_the_prior_is_the_mean_over_content_free_texts(tiny_model: LanguageModel) -> None:
    method = ranker(tiny_model, template=TWO)
    expected = log_probs_of(method, *CONTENT_FREE).mean()
    assert (method.prior.full - expected.full).abs().max() < 1e-4
    assert (method.prior.first - expected.first).abs().max() < 1e-4


stems = st.sampled_from(["http", "game", "web", "cli", "test", "c", ".net", "parser"])
ends = st.sampled_from(["", "s", "-client", "-engine", "-client-lib", " server", "++"])
large = st.lists(st.builds("{}{}".format, stems, ends), min_size=2, max_size=56, unique_by=fold)


@settings(max_examples=40, deadline=None)
@given(
    names=large,
    texts=st.lists(st.sampled_from(["A web server.", "game engine", "", "c " * 50]), max_size=3),
    weight=st.sampled_from([0.0, 0.3, 3.0]),
    prior_weight=st.sampled_from([0.0, 0.7, 1.0]),
    at_a_time=st.integers(1, 8),
    in_view=st.sampled_from([0, 1536]),
    with_background=st.booleans(),
    learned=st.sampled_from([0, 1, 3]),
)
def test_a_search_finds_the_ten_best_tags_of_scoring_all(
    names: list[str],
    texts: list[str],
    weight: float,
    prior_weight: float,
    at_a_time: int,
    in_view: int,
    with_background: bool,
    learned: int,
) -> None:
    """Also with a head that knows all tags, or a third of them."""
    calibration = Calibration(prior_weight, weight, 0.7, 0.9, 0.8, -1.0, 0.5)
    if with_background:
        first = -8 + 2 * torch.randn(1, len(names), generator=torch.Generator().manual_seed(0))
        calibration = dataclasses.replace(calibration, background=TagLogProbs(first - 1, first))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout_module, "AT_ONCE", -1)
        patch.setattr(layout_module, "IN_VIEW", in_view)
        patch.setattr(search_module, "AT_A_TIME", at_a_time)
        method = ranker(tiny.model(), names, TWO, calibration)
        if learned:
            head = head_of(method, names[::learned])
            method = ranker(tiny.model(), names, TWO, calibration, head=head)
        readmes = [method.encode(Readme("x", text)) for text in [*texts, "A parser."]]
        rankings = method.score(readmes)
        evidence = method.evidence(readmes)
    assert evidence.limit == search_module.LIMIT
    rounding = 1e-3
    if learned:  # In each pass some feature may be rounded the other way, to the next float16.
        assert evidence.features is not None
        most = (head.rows.float() * head.scale).abs().max() * evidence.features.abs().max()
        rounding += head.weight * float(most) * 2**-10
    for logits, ranking in zip(method.confidence.logits(evidence), rankings, strict=True):
        best = min(10, len(names))
        assert len(ranking) >= best
        expected = logits.sort(descending=True).values[:best].tolist()
        assert [scored.logit for scored in ranking[:best]] == pytest.approx(expected, abs=rounding)
        for scored in ranking[:best]:
            logit = logits[names.index(scored.tag.name)].item()
            assert scored.logit == pytest.approx(logit, abs=rounding)


def test_a_search_scores_a_part_of_the_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [first + second for first, second in product(ascii_uppercase, "QZXJ")]
    monkeypatch.setattr(layout_module, "AT_ONCE", 0)
    monkeypatch.setattr(search_module, "AT_A_TIME", 4)
    # The surer the model and the weaker the prior, the tighter the bounds.
    sure = tiny.model(initializer_range=1.0)
    method = ranker(sure, names, calibration=dataclasses.replace(CALIBRATION, prior_weight=0.0))
    assert 10 <= len(ranking_of(method, "A web server.")) < len(names)


def test_a_result_does_not_depend_on_its_neighbours(tiny_model: LanguageModel) -> None:
    method = ranker(tiny_model)
    alone = ranking_of(method, "A web server.")
    ranking_of(method, "Something else entirely, a game engine with a long text. " * 20)
    assert ranking_of(method, "A web server.") == alone
    assert ranking_of(ranker(tiny_model), "A web server.") == alone, (
        "and not on a prior loaded from disk"
    )


def test_the_prior_is_computed_once_and_cached(
    tiny_model: LanguageModel, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranking_of(ranker(tiny_model), "text")
    assert len(list((cache / "priors").iterdir())) == 1
    passes = []
    forward_tree = LanguageModel.forward_tree

    def record(self: LanguageModel, *args: Any) -> tuple[torch.Tensor, torch.Tensor]:
        passes.append(self)
        return forward_tree(self, *args)

    monkeypatch.setattr(LanguageModel, "forward_tree", record)
    ranking_of(ranker(tiny_model), "text")
    assert len(passes) == 1, "one for the README, none for the prior"


def test_readmes_of_one_pass_are_scored_as_alone(tiny_model: LanguageModel) -> None:
    method = ranker(tiny_model)
    texts = ["A web server.", "A game engine with many words. " * 12, "", "cli"]
    for row, text in zip(log_probs_of(method, *texts).full, texts, strict=True):
        (alone,) = log_probs_of(method, text).full
        assert (row - alone).abs().max() < 1e-4


@pytest.mark.parametrize("names", [NAMES, NAMES[:1]], ids=["tree", "one tag"])
@pytest.mark.parametrize("brief", [False, True])
def test_one_pass_over_a_readme_gives_what_two_give(
    tiny_model: LanguageModel, names: list[str], brief: bool
) -> None:
    layout = Layout(TWO, Vocabulary.from_names(names), tiny_model.tokenizer)
    passes = Passes(tiny_model, layout, "key")
    readme = tiny_model.tokenizer.encode("A game engine with an HTTP client, and more of it.")
    prefix, (states, *_) = passes.prefill([readme])
    everything = torch.ones(len(names), dtype=torch.bool)
    log_probs, features = passes.ask_last(prefix) if brief else passes.score(prefix, everything)
    found, at_root, of_readme = passes.read_and_score(readme, brief=brief)
    assert (found.full - log_probs.full).abs().max() < 1e-4
    assert (found.first - log_probs.first).abs().max() < 1e-4
    assert (at_root - features).abs().max() < 5e-3, "they are rounded to float16"
    assert (of_readme - states).abs().max() < 1e-4


@pytest.mark.parametrize(
    "change",
    [
        lambda: ranker(tiny.model(seed=1)),
        lambda: ranker(tiny.model(), names=list(reversed(NAMES))),
        lambda: ranker(tiny.model(), names=NAMES[:-1]),
        lambda: ranker(tiny.model(), template=dataclasses.replace(TEMPLATE, system="Other.")),
        lambda: ranker(
            tiny.model(), template=dataclasses.replace(TEMPLATE, user=TEMPLATE.user + " Now.")
        ),
        lambda: ranker(tiny.model(), template=TWO),
    ],
    ids=["model", "order of tags", "tags", "system text", "user text", "questions"],
)
def test_a_cached_prior_is_not_used_for_anything_else(change: object, cache: Path) -> None:
    ranking_of(ranker(tiny.model()), "text")
    ranking_of(change(), "text")  # type: ignore[operator]
    assert len(list((cache / "priors").iterdir())) == 2


def test_the_prior_does_not_depend_on_how_much_is_read_of_a_readme(
    tiny_model: LanguageModel, cache: Path
) -> None:
    priors: list[Any] = []
    for readme_tokens in (1, 200):
        ranking = ranking_of(ranker(tiny_model, readme_tokens=readme_tokens), "text")
        priors.append({scored.tag.name: scored.prior for scored in ranking})
        for path in (cache / "priors").iterdir():
            path.unlink()
    assert priors[0] == priors[1]


def test_a_new_version_of_the_scoring_computes_its_own_prior(
    tiny_model: LanguageModel, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranking_of(ranker(tiny_model), "text")
    monkeypatch.setattr(identity_module, "SCORING_VERSION", -1)
    ranking_of(ranker(tiny_model), "text")
    assert len(list((cache / "priors").iterdir())) == 2


NOT_NUMBERS = json.dumps({"full": [[math.nan] * 6] * 2, "first": [[-1.0] * 6] * 2})


@pytest.mark.parametrize(
    "content", ["", "{", "[1, 2]", '["a"]', "null", '{"full": 1, "first": [NaN]}', NOT_NUMBERS]
)
def test_a_damaged_prior_is_computed_again(
    tiny_model: LanguageModel, cache: Path, content: str
) -> None:
    whole = ranking_of(ranker(tiny_model), "text")
    (path,) = (cache / "priors").iterdir()
    path.write_text(content)
    assert ranking_of(ranker(tiny_model), "text") == whole
    assert len(json.loads(path.read_text())["full"][0]) == len(NAMES)


def test_a_cache_that_cannot_be_written_causes_only_a_warning(
    tiny_model: LanguageModel, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.write_text("a file where the folder should be")
    assert ranking_of(ranker(tiny_model), "text")
    assert "cannot be cached" in caplog.text


def test_a_vocabulary_without_room_for_a_readme_is_refused(tiny_model: LanguageModel) -> None:
    with refused(VocabularyError):
        ranker(tiny_model, names=[f"a tag number {number}" for number in range(400)])


def test_the_readme_budget_is_lowered_to_the_models_context(tiny_model: LanguageModel) -> None:
    assert ranker(tiny_model, readme_tokens=10_000).readme_tokens < tiny_model.context_length
    assert ranking_of(ranker(tiny_model, readme_tokens=10_000), "long words " * 5_000)


def test_a_model_that_gives_no_numbers_is_an_error() -> None:
    network = tiny.network()
    network.model.norm.weight.data.fill_(float("nan"))
    broken = tiny.model_of(network, "broken")
    with refused(LoadError):
        ranking_of(ranker(broken), "text")


def test_evidence_is_kept_for_each_readme_alone(tiny_model: LanguageModel) -> None:
    method = ranker(tiny_model)
    evidence = evidence_of(method, "A web server.", "A game.", "A cli, and a cli.")
    for row, content in enumerate(evidence.to_bytes()):
        kept = Evidence.from_bytes([content], method.prior, tiny_model.width)
        expected = evidence.select([row])
        assert kept.log_probs.full.equal(expected.log_probs.full)
        assert kept.log_probs.first.equal(expected.log_probs.first)
        assert kept.mentions.equal(expected.mentions)
        assert kept.features is not None
        assert expected.features is not None
        assert kept.features.equal(expected.features)
        assert kept.prior is method.prior
        assert kept.limit is None


def test_features_are_the_hidden_states_of_where_each_branch_begins_to_name_a_tag(
    tiny_model: LanguageModel,
) -> None:
    method = ranker(tiny_model, template=TWO)
    features = evidence_of(method, "A web server.", "A game. " * 9).features
    assert features is not None
    assert features.shape == (2, 2, 32)
    assert features.isfinite().all()
    assert features.equal(features.half().float()), "as they are kept"
    alone = evidence_of(method, "A web server.").features
    assert alone is not None
    assert torch.allclose(features[:1], alone, atol=1e-2)
    assert not torch.allclose(features[0], features[1], atol=1e-2)
    assert torch.allclose(alone[0, 0], plain_state(method, "A web server."), atol=1e-2)


@torch.inference_mode()
def plain_state(method: Rank, text: str) -> torch.Tensor:
    """The hidden state before the first tag of the first branch, by one plain forward pass."""
    model, layout, prompt = method.model, method.layout, method.layout.prompt
    before = [*prompt.head, *layout.orders[0]]
    after = [*prompt.bridge, *model.tokenizer.encode(text)]
    after += [*prompt.endings[0], *layout.trees[0].root]
    start = len(prompt.head) + max(map(len, layout.orders))
    positions = [*range(len(before)), *range(start, start + len(after))]
    states = model.network.base_model(
        torch.tensor([before + after]),
        position_ids=torch.tensor([positions]),
        output_hidden_states=True,
        use_cache=False,
    ).hidden_states
    state: torch.Tensor = states[model.feature_layer][0, -1]
    assert not torch.allclose(state, states[-1][0, -1], atol=1e-1), "of another layer"
    return state


PRIOR = TagLogProbs(torch.full((2, 3), -4.0), torch.full((2, 3), -2.0))


@given(
    st.binary()
    | st.binary(min_size=72, max_size=72)
    | st.binary(min_size=88, max_size=88)
    | st.lists(st.floats(width=32), min_size=18, max_size=18).map(
        lambda values: np.array(values, np.float32).tobytes()
    ),
    st.sampled_from([0, 4]),
)
def test_hostile_bytes_are_no_evidence_unless_they_fit_and_are_numbers(
    content: bytes, width: int
) -> None:
    try:
        evidence = Evidence.from_bytes([content], PRIOR, width)
    except ValueError:
        numbers = np.frombuffer(content[:72], np.float32) if len(content) >= 72 else np.zeros(0)
        halves = np.frombuffer(content[72:], np.float16) if len(content) == 88 else np.zeros(0)
        sound = np.isfinite(numbers).all() and np.isfinite(halves).all()
        assert len(content) != 72 + 4 * width or not sound
        return
    assert evidence.to_bytes() == [content]
    assert (evidence.features is None) == (width == 0)
    assert evidence.log_probs.full.shape == evidence.log_probs.first.shape == (1, 2, 3)
    assert evidence.mentions.shape == (1, 3, 2)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("at_once", [0, 128])
def test_what_was_read_gives_the_ranking_of_what_was_scored(
    monkeypatch: pytest.MonkeyPatch, tiny_model: LanguageModel, at_once: int, learned: bool
) -> None:
    monkeypatch.setattr(layout_module, "AT_ONCE", at_once)
    names = [f"{stem}{end}" for stem in ("http", "game", "cli") for end in ("", "-a", "-b", "s")]
    method = ranker(tiny_model, names)
    if learned:
        method = ranker(tiny_model, names, head=head_of(method, names[::2]))
    readmes = [method.encode(Readme("x", text)) for text in ("A web server.", "A game.")]
    for scored, reading in zip(method.score(readmes), method.read(readmes), strict=True):
        ranking = method.rank([reading])[0].tags
        assert len(ranking) == MAX_TAGS
        assert [tag.id for tag in ranking] == [each.tag.id for each in scored[:MAX_TAGS]]
        assert [tag.confidence for tag in ranking] == [
            pytest.approx(each.confidence, abs=1e-6) for each in scored[:MAX_TAGS]
        ]


def background(tags: int, branches: int = 2) -> TagLogProbs:
    return TagLogProbs(torch.full((branches, tags), -4.0), torch.full((branches, tags), -2.0))


@pytest.mark.parametrize("change", [{"names": NAMES[:-1]}, {"template": TWO}])
def test_a_calibration_of_something_else_is_refused(
    tiny_model: LanguageModel, change: dict[str, Any]
) -> None:
    origin = Origin("tiny", ranker(tiny_model).scoring_identity, readmes=10, labels=0)
    own = dataclasses.replace(CALIBRATION, background=background(len(NAMES)), origin=origin)
    ranker(tiny_model, calibration=own)
    with refused(CalibrationError):
        ranker(tiny_model, calibration=own, **change)


@pytest.mark.parametrize("wrong", [background(5), background(6, branches=1)])
def test_a_background_of_another_size_is_refused(
    tiny_model: LanguageModel, wrong: TagLogProbs
) -> None:
    with refused(CalibrationError):
        ranker(tiny_model, calibration=dataclasses.replace(CALIBRATION, background=wrong))


def test_confidences_that_were_not_fitted_are_warned_of_once(
    tiny_model: LanguageModel, caplog: pytest.LogCaptureFixture
) -> None:
    method = Rank(tiny_model, Vocabulary.from_names(NAMES), TEMPLATE)
    ranking_of(method, "text")
    assert len(caplog.records) == 1
    assert "no calibration ships for tiny" in caplog.text
