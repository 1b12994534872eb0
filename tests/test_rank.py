"""Ranking: the prior's part in it, what is kept of it, and what changes it."""

import dataclasses
import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from tagger.errors import LoadError, VocabularyError
from tagger.methods import rank as rank_module
from tagger.methods.calibration import Calibration
from tagger.methods.prior import BACKGROUND
from tagger.methods.rank import Rank, ScoredTag
from tagger.models.language import LanguageModel
from tagger.prompt import PromptTemplate, Question
from tagger.vocabulary import Vocabulary

NAMES = ["http", "http-client", "game", "game-engine", "cli", "web server"]
TEMPLATE = PromptTemplate(system="You tag.", user="Tags: {tags}\n{readme}\nChoose.")
TWO = dataclasses.replace(
    TEMPLATE, questions=(Question("What is it?"), Question("What kind is it?", 'A "'))
)
CALIBRATION = Calibration.of("tiny", 1)


def ranker(
    model: LanguageModel,
    names: list[str] = NAMES,
    template: PromptTemplate = TEMPLATE,
    calibration: Calibration = CALIBRATION,
    readme_tokens: int = 200,
) -> Rank:
    return Rank(model, Vocabulary.from_names(names), template, calibration, readme_tokens)


def ranking_of(method: Rank, words: str) -> list[ScoredTag]:
    (ranking,) = method.rank([method.encode(words)])
    return ranking


def test_every_tag_is_ranked_once_and_the_best_comes_first(tiny_model: LanguageModel) -> None:
    ranking = ranking_of(ranker(tiny_model), "A web server.")
    assert sorted(scored.tag.name for scored in ranking) == sorted(NAMES)
    evidence = [scored.evidence for scored in ranking]
    assert evidence == sorted(evidence, reverse=True)
    confidences = [scored.confidence for scored in ranking]
    assert confidences == sorted(confidences, reverse=True)
    assert all(0 <= confidence <= 1 for confidence in confidences)


def test_the_evidence_is_weighed_margins_over_the_best_tags_and_mentions(
    tiny_model: LanguageModel,
) -> None:
    """By hand, for two questions and six tags; fewer than ten tags are all among the best."""
    calibration = Calibration(0.5, (2.0, 3.0), 0.7, 0.9, 0.8, -1.0, 0.5)
    ranking = ranking_of(ranker(tiny_model, template=TWO, calibration=calibration), "A web server.")
    scores = {
        scored.tag.name: [
            log_prob - 0.5 * prior
            for log_prob, prior in zip(scored.log_probs, scored.priors, strict=True)
        ]
        for scored in ranking
    }
    means = [statistics.mean(column) for column in zip(*scores.values(), strict=True)]
    changes = [
        [log_prob - prior for log_prob, prior in zip(scored.log_probs, scored.priors, strict=True)]
        for scored in ranking
    ]
    moved = statistics.mean(
        statistics.mean(abs(change - statistics.mean(column)) for change in column)
        for column in zip(*changes, strict=True)
    )
    for scored in ranking:
        first, second = scores[scored.tag.name]
        named = math.log(2) if scored.tag.name == "web server" else 0
        expected = 2 * (first - means[0]) + 3 * (second - means[1]) + (0.7 + 0.9) * named - 1
        expected += 0.8 * math.log(moved)
        assert scored.evidence == pytest.approx(expected, abs=1e-3)
        assert scored.confidence == pytest.approx(1 / (1 + math.exp(-expected)), abs=1e-4)


def test_the_prior_is_the_mean_over_texts_without_content(tiny_model: LanguageModel) -> None:
    method = ranker(tiny_model, template=TWO)
    expected = method.log_probs([method.encode(text).tokens for text in BACKGROUND]).mean(0)
    assert (method.prior - expected).abs().max() < 1e-4


def test_a_calibration_for_another_number_of_questions_is_spread() -> None:
    one = Calibration.of("qwen2.5-coder-1.5b", 1)
    two = Calibration.of("qwen2.5-coder-1.5b", 2)
    three = Calibration.of("qwen2.5-coder-1.5b", 3)
    assert sum(one.answers) == pytest.approx(sum(two.answers))
    assert list(three.answers) == pytest.approx([sum(two.answers) / 3] * 3)
    assert one.threshold == two.threshold == three.threshold


def test_a_result_does_not_depend_on_its_neighbours(tiny_model: LanguageModel) -> None:
    method = ranker(tiny_model)
    alone = ranking_of(method, "A web server.")
    ranking_of(method, "Something else entirely, a game engine with a long text. " * 20)
    assert ranking_of(method, "A web server.") == alone
    assert ranking_of(ranker(tiny_model), "A web server.") == alone, (
        "and not on a prior read from disk"
    )


def test_the_prior_is_computed_once_and_kept(
    tiny_model: LanguageModel, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranking_of(ranker(tiny_model), "text")
    assert len(list((cache / "priors").iterdir())) == 1
    passes = []
    plain = LanguageModel.branch

    def counted(self: LanguageModel, *args: Any) -> torch.Tensor:
        passes.append(self)
        return plain(self, *args)

    monkeypatch.setattr(LanguageModel, "branch", counted)
    ranking_of(ranker(tiny_model), "text")
    assert len(passes) == 1, "one for the README, none for the prior"


def test_readmes_read_together_are_ranked_as_alone(tiny_model: LanguageModel) -> None:
    method = ranker(tiny_model)
    texts = ["A web server.", "A game engine with many words. " * 12, "", "cli"]
    together = method.log_probs([method.encode(text).tokens for text in texts])
    for row, text in zip(together, texts, strict=True):
        (alone,) = method.log_probs([method.encode(text).tokens])
        assert (row - alone).abs().max() < 1e-4


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
        lambda: ranker(tiny.model(), template=TWO, calibration=Calibration.of("tiny", 2)),
    ],
    ids=["model", "order of tags", "tags", "system text", "user text", "questions"],
)
def test_a_kept_prior_is_not_used_for_anything_else(change: object, cache: Path) -> None:
    ranking_of(ranker(tiny.model()), "text")
    ranking_of(change(), "text")  # type: ignore[operator]
    assert len(list((cache / "priors").iterdir())) == 2


def test_the_prior_does_not_depend_on_how_much_is_read_of_a_readme(
    tiny_model: LanguageModel, cache: Path
) -> None:
    priors: list[Any] = []
    for readme_tokens in (1, 200):
        ranking = ranking_of(ranker(tiny_model, readme_tokens=readme_tokens), "text")
        priors.append({scored.tag.name: scored.priors for scored in ranking})
        for path in (cache / "priors").iterdir():
            path.unlink()
    assert priors[0] == priors[1]


def test_a_new_version_of_the_scoring_computes_its_own_prior(
    tiny_model: LanguageModel, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranking_of(ranker(tiny_model), "text")
    monkeypatch.setattr(rank_module, "SCORING_VERSION", -1)
    ranking_of(ranker(tiny_model), "text")
    assert len(list((cache / "priors").iterdir())) == 2


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", '["a"]', "[[NaN, 1, 1, 1, 1, 1]]", "null"])
def test_a_damaged_prior_is_computed_anew(
    tiny_model: LanguageModel, cache: Path, content: str
) -> None:
    whole = ranking_of(ranker(tiny_model), "text")
    (path,) = (cache / "priors").iterdir()
    path.write_text(content)
    assert ranking_of(ranker(tiny_model), "text") == whole
    assert len(json.loads(path.read_text())[0]) == len(NAMES)


def test_a_cache_that_cannot_be_written_is_said_and_survived(
    tiny_model: LanguageModel, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.write_text("a file where the folder should be")
    assert ranking_of(ranker(tiny_model), "text")
    assert "cannot be kept" in caplog.text


def test_a_vocabulary_without_room_for_a_readme_is_refused(tiny_model: LanguageModel) -> None:
    with pytest.raises(VocabularyError, match="leaves no room for a README"):
        ranker(tiny_model, names=[f"a tag number {number}" for number in range(400)])


def test_the_readme_budget_is_lowered_to_the_models_context(tiny_model: LanguageModel) -> None:
    assert ranker(tiny_model, readme_tokens=10_000).readme_tokens < tiny_model.context_length
    assert ranking_of(ranker(tiny_model, readme_tokens=10_000), "long words " * 5_000)


def test_a_model_that_gives_no_numbers_is_an_error() -> None:
    network = tiny.network()
    network.model.norm.weight.data.fill_(float("nan"))
    broken = LanguageModel(network, tiny.model().tokenizer, "tiny", "broken", "here")
    with pytest.raises(LoadError, match="not numbers"):
        ranking_of(ranker(broken), "text")
