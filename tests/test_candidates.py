"""The candidate tree gives what scoring each tag alone by a plain forward gives."""

import dataclasses
import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

import tiny
from tagger.errors import VocabularyError
from tagger.methods.candidates import CandidateTree, Forest
from tagger.models.language import LanguageModel
from tagger.vocabulary import Vocabulary, fold

OPENING = '{"tags": ["'
MODELS = {kind: tiny.model(kind) for kind in ("qwen2", "qwen3")}
CONTEXT = MODELS["qwen2"].tokenizer.encode("A README of a project.")


def tree_scores(tree: CandidateTree, model: LanguageModel) -> Tensor:
    """Score all tags together, the first half of the context being the memory."""
    half = len(CONTEXT) // 2
    trunk = [*CONTEXT[half:], *tree.root]
    memory = model.read(CONTEXT[:half])
    (hidden,) = model.branch(memory, [trunk], tree.tokens, tree.depths, tree.ancestry)
    return tree.log_probs(model.logits(hidden))


def plant(names: list[str], model: LanguageModel, opening: str = OPENING) -> CandidateTree:
    return CandidateTree.build(Vocabulary.from_names(names), model.tokenizer, opening)


@torch.inference_mode()
def one_by_one(
    names: list[str],
    model: LanguageModel,
    context: list[int] = CONTEXT,
    opened: str = OPENING,
) -> Tensor:
    """Score each name alone: the whole text in one plain forward of the whole network."""
    network, encode = model._network, model.tokenizer.encode
    ways = [encode(opened + json.dumps(name, ensure_ascii=False)[1:-1]) for name in names]
    opening = encode(opened)
    shared = 0
    while shared < len(opening) and all(way[shared] == opening[shared] for way in ways):
        shared += 1
    quotes = model.tokenizer.starting_with('"')
    scores = []
    for way in ways:
        ids = torch.tensor([[*context, *way]])
        hidden = network.base_model(ids, use_cache=False).last_hidden_state[0]
        log_probs = (hidden.float() @ network.lm_head.weight.float().T).log_softmax(-1)
        start = len(context) + shared
        score = sum(log_probs[at - 1, ids[0, at]] for at in range(start, ids.shape[1]))
        if any(other[: len(way)] == way for other in ways if other != way):
            score = score + log_probs[-1, quotes].logsumexp(0)
        scores.append(score)
    return torch.stack(scores)


def largest_difference(names: list[str], model: LanguageModel) -> float:
    tree = plant(names, model)
    return float((tree_scores(tree, model) - one_by_one(names, model)).abs().max())


stems = st.sampled_from(["http", "game", "web", "c", "test", ".net", 'a"b', "日本", "é", "Node JS"])
ends = st.sampled_from(["", "s", "-client", "-engine", " server", "++", "\\", "語"])
names_ = st.one_of(
    st.builds("".join, st.lists(st.one_of(stems, ends), min_size=1, max_size=3)),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12),
).filter(lambda name: name.strip())
vocabularies = st.lists(names_, min_size=1, max_size=25, unique_by=fold).map(
    lambda names: [name.strip() for name in names]
)


@pytest.mark.parametrize("kind", MODELS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(names=vocabularies)
def test_tree_scores_equal_scoring_each_tag_alone(kind: str, names: list[str]) -> None:
    assert largest_difference(names, MODELS[kind]) < 1e-4


@pytest.mark.parametrize(
    "names",
    [
        ["http", "http-client", "https", "http-client-lib"],
        ["game", "game-engine", "web"],
        ["c", "c++", "c#", ".net", 'a"b', "back\\slash", "tab\there"],
        ["日本語", "中文", "français", "Node JS", "node  js"],
        ["cli"],
        ["a", "b", "c"],
    ],
    ids=lambda names: names[0],
)
def test_awkward_names_score_as_they_do_alone(names: list[str]) -> None:
    assert largest_difference(names, MODELS["qwen2"]) < 1e-4


NESTED = ["http", "http-client", "game", "game-engine", "web server", "web client"]


@pytest.mark.parametrize(
    "breakage",
    [
        lambda tree: {"ancestry": torch.ones_like(tree.ancestry).tril()},
        lambda tree: {"ancestry": torch.eye(len(tree.tokens), dtype=torch.bool)},
        lambda tree: {"depths": torch.arange(1, len(tree.tokens) + 1)},
        lambda tree: {"depths": tree.depths + 1},
        lambda tree: {"close_tags": tree.close_tags[:0], "close_rows": tree.close_rows[:0]},
    ],
    ids=[
        "siblings visible",
        "ancestors hidden",
        "positions run on",
        "positions off by one",
        "no close",
    ],
)
def test_a_broken_tree_is_noticed(breakage: object) -> None:
    model = MODELS["qwen2"]
    tree = plant(NESTED, model)
    broken = dataclasses.replace(tree, **breakage(tree))  # type: ignore[operator]
    difference = (tree_scores(broken, model) - one_by_one(NESTED, model)).abs().max()
    assert difference > 1e-2


QUESTIONS = {
    "one": [("What is it?", OPENING)],
    "that begin alike": [("What is it?", OPENING), ("What is it about?", OPENING)],
    "that begin differently": [("It is", '"'), ("What kind?", OPENING), ("Topic", 'About "')],
    "of which one is empty": [("", OPENING), ("What is it?", OPENING)],
    "one within another": [("What", '["'), ("What", '["["')],
}


@pytest.mark.parametrize("questions", QUESTIONS.values(), ids=QUESTIONS.keys())
@pytest.mark.parametrize("kind", MODELS)
def test_questions_asked_together_are_answered_as_each_alone(
    kind: str, questions: list[tuple[str, str]]
) -> None:
    model = MODELS[kind]
    endings = [model.tokenizer.encode(ask) for ask, _ in questions]
    trees = [plant(NESTED, model, opening) for _, opening in questions]
    forest = Forest.build(endings, trees)
    trunk = [*CONTEXT[3:], *forest.shared]
    memory = model.read(CONTEXT[:3])
    (hidden,) = model.branch(memory, [trunk], forest.tokens, forest.depths, forest.ancestry)
    for (_, opening), ending, tree, rows in zip(
        questions, endings, trees, forest.rows, strict=True
    ):
        together = tree.log_probs(model.logits(hidden[rows]))
        alone = one_by_one(NESTED, model, [*CONTEXT, *ending], opening)
        assert (together - alone).abs().max() < 1e-4


def test_only_inner_nodes_are_forwarded() -> None:
    tree = plant(["a", "b", "c"], MODELS["qwen2"])
    assert len(tree.tokens) == 0


def test_names_that_tokenise_alike_are_refused() -> None:
    model = MODELS["qwen2"]
    vocabulary = Vocabulary.from_names(["a", "b"])
    with pytest.raises(VocabularyError, match="same tokens"):
        CandidateTree.build(vocabulary, _Deaf(model), OPENING)  # type: ignore[arg-type]


class _Deaf:
    """A tokenizer that hears one word."""

    def __init__(self, model: LanguageModel) -> None:
        self._tokenizer = model.tokenizer

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(OPENING + ("x" if text != OPENING else ""))
