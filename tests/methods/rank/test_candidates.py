"""The tree of tags gives what scoring each tag alone in a plain forward pass gives."""

import dataclasses

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from support import tiny
from support.messages import refused
from support.passes import CONTEXT, EVERYTHING, OPENING, log_probs_of, one_by_one, tree_scores
from tagger.errors import VocabularyError
from tagger.methods.rank.tree import Forest, TagTree
from tagger.models import language
from tagger.models.kv import concat
from tagger.models.language import LanguageModel
from tagger.models.recurrent import Tree
from tagger.vocabulary import Vocabulary, fold

pytestmark = pytest.mark.slow

MODELS = {kind: tiny.model(kind) for kind in tiny.KINDS}


def tree_of(names: list[str], model: LanguageModel, opening: str = OPENING) -> TagTree:
    return TagTree.build(Vocabulary.from_names(names), model.tokenizer, opening)


def largest_difference(names: list[str], model: LanguageModel) -> float:
    """In nats up to scores of 100, beyond in hundredths of the score: float32 has seven digits."""
    alone = one_by_one(names, model)
    differences = (tree_scores(tree_of(names, model), model) - alone).abs()
    return float((differences / (alone.abs() / 100).clamp(min=1)).max())


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


@pytest.mark.parametrize("kind", ["qwen2", *tiny.RECURRENT])
@pytest.mark.parametrize(
    "breakage",
    [
        lambda tree: {"ancestors": torch.ones_like(tree.ancestors).tril()},
        lambda tree: {"ancestors": torch.eye(len(tree.tokens), dtype=torch.bool)},
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
def test_a_broken_tree_is_noticed(breakage: object, kind: str) -> None:
    model = MODELS[kind]
    tree = tree_of(NESTED, model)
    broken = dataclasses.replace(tree, **breakage(tree))  # type: ignore[operator]
    difference = (tree_scores(broken, model) - one_by_one(NESTED, model)).abs().max()
    assert difference > 1e-2


@pytest.mark.parametrize("kind", tiny.RECURRENT)
def test_a_state_that_siblings_share_is_noticed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention still tells them apart."""

    def shared(ancestors: Tensor) -> Tree:
        return Tree(torch.ones_like(ancestors).tril())

    model = MODELS[kind]
    alone = one_by_one(NESTED, model)
    assert (tree_scores(tree_of(NESTED, model), model) - alone).abs().max() < 1e-4
    monkeypatch.setattr(language, "Tree", shared)
    assert (tree_scores(tree_of(NESTED, model), model) - alone).abs().max() > 1e-2


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
    trees = [tree_of(NESTED, model, opening) for _, opening in questions]
    forest = Forest.build(endings, trees, [EVERYTHING] * len(trees))
    together = log_probs_of(forest, model.prefill([CONTEXT]), model).full
    for row, (_, opening), ending in zip(together, questions, endings, strict=True):
        alone = one_by_one(NESTED, model, [*CONTEXT, *ending], opening)
        assert (row - alone).abs().max() < 1e-4


@pytest.mark.parametrize("kind", tiny.ATTENTION)
def test_a_branch_attends_to_its_own_list_alone(kind: str) -> None:
    """Two lists of one length, a README that attends to neither, and a branch for each."""
    model = MODELS[kind]
    encode = model.tokenizer.encode
    beginning, readme, ending = encode("Tags:"), encode("A game."), encode(" Which?")
    lists = [encode(" web, game, http"), encode(" http, game, web")]
    assert len(lists[0]) == len(lists[1])
    head = model.prefill([beginning])
    caches = [model.prefill([ids], head) for ids in lists]
    readme_prefix = dataclasses.replace(head, next_position=caches[0].next_position)
    prefix = concat(*caches, head, model.prefill([readme], readme_prefix))
    width = len(lists[0])
    visibilities = [torch.arange(2 * width) // width == order for order in (0, 1)]
    tree = tree_of(NESTED, model)
    forest = Forest.build([ending, ending], [tree, tree], visibilities)
    for row, ids in zip(log_probs_of(forest, prefix, model).full, lists, strict=True):
        alone = _with_one_list(ids, beginning, readme, ending, model)
        assert (row - alone).abs().max() < 1e-4


@torch.inference_mode()
def _with_one_list(
    ids: list[int], beginning: list[int], readme: list[int], ending: list[int], model: LanguageModel
) -> Tensor:
    """Score tags after one list that the README does not attend to, by a mask in a plain pass."""
    network, encode = model.network, model.tokenizer.encode
    quotes = model.tokenizer.starting_with('"')
    opening = encode(OPENING)
    scores = []
    for name in NESTED:
        path = encode(OPENING + name)
        tokens = [*beginning, *ids, *readme, *ending, *path]
        visible = torch.ones(len(tokens), len(tokens)).tril().bool()
        start = len(beginning) + len(ids)
        visible[start : start + len(readme), len(beginning) : start] = False
        lowest = torch.finfo(torch.float32).min
        mask = torch.zeros(1, 1, *visible.shape).masked_fill(~visible, lowest)
        hidden = network.base_model(
            torch.tensor([tokens]), attention_mask=mask, use_cache=False
        ).last_hidden_state[0]
        log_probs = (hidden.float() @ network.lm_head.weight.float().T).log_softmax(-1)
        first = len(tokens) - len(path) + len(opening)
        score = sum(log_probs[at - 1, tokens[at]] for at in range(first, len(tokens)))
        others = [encode(OPENING + other) for other in NESTED if other != name]
        if any(other[: len(path)] == path for other in others):
            score = score + log_probs[-1, quotes].logsumexp(0)
        scores.append(score)
    return torch.stack(scores)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(names=vocabularies, data=st.data())
def test_a_part_of_a_tree_gives_its_tags_exactly_and_bounds_the_others(
    names: list[str], data: st.DataObject
) -> None:
    model = MODELS["qwen2"]
    tree = tree_of(names, model)
    size = len(names)
    tags = torch.tensor(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    part = tree.part(tags)
    scores, bounds = tree_scores(tree, model), tree_scores(part, model)
    covered = tree.covered(tags)
    assert covered[tags].all()
    assert torch.allclose(bounds[covered], scores[covered], atol=1e-4)
    assert (bounds >= scores - 1e-4 - 1e-5 * scores.abs()).all()
    assert part.size == size
    assert len(part.tokens) <= len(tree.tokens)


def test_first_log_probs_are_what_a_tree_without_nodes_gives() -> None:
    model = MODELS["qwen2"]
    tree = tree_of(NESTED, model)
    forest = Forest.build([CONTEXT], [tree], [EVERYTHING])
    prefix = model.prefill([CONTEXT[:1]])
    first = log_probs_of(forest, prefix, model).first[0]
    none = torch.zeros(len(NESTED), dtype=torch.bool)
    stem = Forest.build([CONTEXT], [tree.part(none)], [EVERYTHING])
    assert torch.allclose(first, log_probs_of(stem, prefix, model).full[0], atol=1e-5)


def test_only_inner_nodes_are_forwarded() -> None:
    tree = tree_of(["a", "b", "c"], MODELS["qwen2"])
    assert len(tree.tokens) == 0


@settings(max_examples=30, deadline=None)
@given(names=st.lists(st.text("ab", min_size=1, max_size=9), min_size=1, max_size=20, unique=True))
def test_nodes_are_the_beginnings_of_names_in_their_order(names: list[str]) -> None:
    tails = [tuple(name.encode()) for name in names]
    tree = tree_of_characters(names)
    rows = [
        torch.cat([tree.step_rows[tree.step_tags == tag], tree.close_rows[tree.close_tags == tag]])
        for tag in range(len(names))
    ]
    inner = sorted({tail[:end] for tail in tails for end in range(1, len(tail))})
    assert tree.tokens.tolist() == [node[-1] for node in inner]
    assert tree.depths.tolist() == list(map(len, inner))
    assert tree.ancestors.tolist() == [
        [node[: len(each)] == each for each in inner] for node in inner
    ]
    row = {(): 0} | {node: number for number, node in enumerate(inner, start=1)}
    assert [each.tolist() for each in rows] == [
        [row[tail[:end]] for end in range(len(tail) + 1) if tail[:end] in row] for tail in tails
    ]


def test_long_names_make_no_more_than_their_nodes() -> None:
    tree = tree_of_characters([letter * 200 for letter in "abc"], times=10)
    assert len(tree.tokens) == 3 * 1999
    assert int(tree.ancestors.sum()) == 3 * sum(range(2000))


def test_names_that_tokenise_alike_are_refused() -> None:
    model = MODELS["qwen2"]
    vocabulary = Vocabulary.from_names(["a", "b"])
    with refused(VocabularyError):
        TagTree.build(vocabulary, _OneWord(model), OPENING)  # type: ignore[arg-type]


def tree_of_characters(names: list[str], times: int = 1) -> TagTree:
    """The tree of names whose every character is a token, or several of the same."""
    tokenizer = _Characters(times)
    return TagTree.build(Vocabulary.from_names(names), tokenizer, OPENING)  # type: ignore[arg-type]


class _Characters:
    """A tokenizer to which every character is a token, or several of the same."""

    def __init__(self, times: int) -> None:
        self._times = times

    def encode(self, text: str) -> list[int]:
        return [byte for byte in text.encode() for _ in range(self._times)]

    def starting_with(self, text: str) -> list[int]:
        return self.encode(text)


class _OneWord:
    """A tokenizer to which all names are the same."""

    def __init__(self, model: LanguageModel) -> None:
        self._tokenizer = model.tokenizer

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(OPENING + ("x" if text != OPENING else ""))
