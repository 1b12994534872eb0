"""Forward passes by hand: what the tree of tags is compared with, and what a README costs."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from support import tiny
from tagger.methods.rank.evidence import TagLogProbs
from tagger.methods.rank.tree import Forest, TagTree
from tagger.models.kv import KVCache
from tagger.models.language import LanguageModel

OPENING = '{"tags": ["'
EVERYTHING = torch.ones(0, dtype=torch.bool)
CONTEXT = tiny.model().tokenizer.encode("A README of a project.")


@contextmanager
def counted(network: Any) -> Iterator[list[int]]:
    """Yield a list that grows by the tokens of every forward pass."""
    passes: list[int] = []

    def count(module: Any, args: Any, kwargs: Any) -> None:
        passes.append(kwargs["input_ids"].numel())

    hook = network.base_model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield passes
    finally:
        hook.remove()


def tree_scores(tree: TagTree, model: LanguageModel) -> Tensor:
    """Score all tags together, with the first half of the context in the KV cache."""
    half = len(CONTEXT) // 2
    prefix = model.prefill([CONTEXT[:half]])
    forest = Forest.build([CONTEXT[half:]], [tree], [EVERYTHING])
    return log_probs_of(forest, prefix, model).full[0]


def log_probs_of(forest: Forest, prefix: KVCache, model: LanguageModel) -> TagLogProbs:
    (hidden,), _ = model.forward_tree(
        prefix, forest.tokens, forest.depths, forest.ancestors, forest.visible
    )
    return forest.log_probs(model.logits(hidden[forest.output_nodes], forest.token_ids))


@torch.inference_mode()
def one_by_one(
    names: list[str],
    model: LanguageModel,
    context: list[int] = CONTEXT,
    opening: str = OPENING,
) -> Tensor:
    """Score each name alone: the whole text in one plain forward pass of the network."""
    network, encode = model.network, model.tokenizer.encode
    paths = [encode(opening + json.dumps(name, ensure_ascii=False)[1:-1]) for name in names]
    prefix = encode(opening)
    shared = 0
    while shared < len(prefix) and all(path[shared] == prefix[shared] for path in paths):
        shared += 1
    quotes = model.tokenizer.starting_with('"')
    weight = network.lm_head.weight.float().T
    start = len(context) + shared
    scores = []
    for path in paths:
        ids = torch.tensor([[*context, *path]])
        hidden = network.base_model(ids, use_cache=False).last_hidden_state[0]
        log_probs = (hidden[start - 1 :].float() @ weight).log_softmax(-1)
        score = sum(log_probs[place, id_] for place, id_ in enumerate(ids[0, start:]))
        if any(other[: len(path)] == path for other in paths if other != path):
            score = score + log_probs[-1, quotes].logsumexp(0)
        scores.append(score)
    return torch.stack(scores)
