"""Models with recurrent layers: what a README's tags are, whichever way it is read."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from support import tiny
from support.heads import head_of
from support.passes import counted, one_by_one
from tagger.evaluation.explain import explain
from tagger.methods.rank import layout as layout_module
from tagger.methods.rank import rank as rank_module
from tagger.methods.rank.calibration import Calibration
from tagger.methods.rank.head import Head
from tagger.methods.rank.probe import Probe
from tagger.methods.rank.rank import Rank
from tagger.models.language import LanguageModel
from tagger.prompts.prompt import PromptTemplate, Question
from tagger.readme.readme import Readme
from tagger.selection import Selection
from tagger.vocabulary import Vocabulary

NAMES = ["http", "http-client", "game", "game-engine", "cli", "web server"]
TEMPLATE = PromptTemplate(
    system="You tag.",
    user="Tags: {tags}\n{readme}\nChoose.",
    questions=(Question("What is it?"), Question("What kind is it?", 'A "')),
)
TEXTS = ["A web server.", "A game engine with many words. " * 12, "", "cli"]


@pytest.fixture(params=tiny.RECURRENT, scope="module")
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return tiny.model(request.param)


def ranker(
    model: LanguageModel,
    names: Sequence[str] = NAMES,
    head: Head | None = None,
    probe: Probe | None = None,
    template: PromptTemplate = TEMPLATE,
) -> Rank:
    vocabulary = Vocabulary.from_names(names)
    return Rank(model, vocabulary, template, Calibration.shipped("tiny"), 200, head, probe)


def encoded(method: Rank, *texts: str) -> list[rank_module.Encoded]:
    return [method.encode(Readme("x", text)) for text in texts]


@pytest.mark.parametrize("at_once", [0, 1024], ids=["two passes", "one pass"])
@pytest.mark.parametrize("text", TEXTS[:2])
def test_every_branch_scores_tags_as_the_conversation_alone_does(
    model: LanguageModel, text: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prompt's fixed parts, the README and the questions each come from a pass of their own."""
    monkeypatch.setattr(rank_module, "AT_ONCE", at_once)
    method = ranker(model)
    (readme,) = encoded(method, text)
    prompt = method.layout.prompt
    before = [*prompt.head, *prompt.lists[0], *prompt.bridge, *readme.tokens]
    found = method.evidence([readme]).log_probs.full[0]
    for row, ending, opening in zip(found, prompt.endings, prompt.openings, strict=True):
        alone = one_by_one(NAMES, model, [*before, *ending], opening)
        assert (row - alone).abs().max() < 1e-4


@pytest.mark.parametrize("bridge", ["\n", " "], ids=["with text", "without text"])
def test_a_readme_follows_the_list_with_and_without_text_between_them(
    model: LanguageModel, bridge: str
) -> None:
    template = dataclasses.replace(TEMPLATE, user=f"Tags: {{tags}}{bridge.strip(' ')}{{readme}}\n")
    method = ranker(model, template=template)
    (readme,) = encoded(method, TEXTS[0])
    prompt = method.layout.prompt
    before = [*prompt.head, *prompt.lists[0], *prompt.bridge, *readme.tokens]
    found = method.evidence([readme]).log_probs.full[0, 0]
    alone = one_by_one(NAMES, model, [*before, *prompt.endings[0]], prompt.openings[0])
    assert (found - alone).abs().max() < 1e-4


def test_readmes_of_one_batch_are_scored_as_alone(model: LanguageModel) -> None:
    method = ranker(model)
    together = method.evidence(encoded(method, *TEXTS)).log_probs.full
    for row, text in zip(together, TEXTS, strict=True):
        (alone,) = method.evidence(encoded(method, text)).log_probs.full
        assert (row - alone).abs().max() < 1e-4


def test_a_readme_takes_one_pass(model: LanguageModel) -> None:
    method = ranker(model)
    method.prepare()
    with counted(model.network) as passes:
        method.read(encoded(method, TEXTS[1]))
    assert len(passes) == 1


def test_the_list_from_the_cache_folder_gives_the_same_ranking(
    model: LanguageModel, cache: Path
) -> None:
    first = ranker(model)
    computed = first.read(encoded(first, *TEXTS))
    assert len(list((cache / "lists").glob("*.safetensors"))) == 1
    second = ranker(model)
    with counted(model.network) as passes:
        assert second.read(encoded(second, *TEXTS)) == computed
    assert len(passes) == 2, "for the READMEs, none for the list"


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("in_view", [0, 1536], ids=["very large", "large"])
def test_a_search_finds_the_best_tags_of_scoring_all(
    model: LanguageModel, in_view: int, learned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout_module, "AT_ONCE", 0)
    monkeypatch.setattr(layout_module, "IN_VIEW", in_view)
    names = [f"{stem}{end}" for stem in ("http", "game", "cli", "web") for end in ("", "-a", "s")]
    method = ranker(model, names)
    if learned:
        method = ranker(model, names, head_of(method, names[::2]))
    readmes = encoded(method, *TEXTS)
    logits = method.confidence.logits(method.evidence(readmes))
    for row, ranking in zip(logits, method.score(readmes), strict=True):
        expected = row.sort(descending=True).values[:10].tolist()
        # In each pass some feature may be rounded the other way, to the next float16.
        assert [each.logit for each in ranking[:10]] == pytest.approx(expected, abs=0.1)


def test_a_head_that_knows_all_tags_ranks_by_one_question(model: LanguageModel) -> None:
    whole = ranker(model)
    brief = ranker(model, head=head_of(whole, brief=True))
    assert len(brief.conversations(Readme("x", TEXTS[0]))) == 1
    readmes = encoded(brief, *TEXTS)
    last = whole.evidence(readmes).of_last_question()
    expected = brief.confidence.logits(last)
    for row, ranking in zip(expected, brief.score(readmes), strict=True):
        by_name = {each.tag.name: each.logit for each in ranking}
        assert [by_name[name] for name in NAMES] == pytest.approx(row.tolist(), abs=0.1)


def test_planted_passages_are_cut_and_the_rest_is_read_again(model: LanguageModel) -> None:
    """In a batch, too, where some READMEs are read again and others are not."""
    suspect = Probe(torch.zeros(model.width), sure=1.0, doubtful=1.0)
    method = ranker(model, probe=suspect)
    texts = [TEXTS[0], "game game game game game game. A web server for tests.", TEXTS[1]]
    together = method.score(encoded(method, *texts))
    for text, ranking in zip(texts, together, strict=True):
        read, alone = method.read_and_score(*encoded(method, text))
        assert bool(read.left_out) == text.startswith("game")
        assert [each.tag for each in ranking] == [each.tag for each in alone]
        for one, other in zip(ranking, alone, strict=True):
            assert one.logit == pytest.approx(other.logit, abs=1e-2)


def test_a_ranking_can_be_explained(model: LanguageModel) -> None:
    method = ranker(model)
    explained = explain(method, Selection(), Readme("x", TEXTS[0]))
    (ranking,) = method.score(encoded(method, TEXTS[0]))
    assert [each.name for each in explained.tags] == [each.tag.name for each in ranking]
