"""Recurrent layers: states of padded rows, and networks that others use as well."""

import logging

import pytest
import torch
from torch import Tensor
from transformers.models.qwen3_5 import modeling_qwen3_5
from transformers.models.qwen3_next.modeling_qwen3_next import torch_recurrent_gated_delta_rule

from support import tiny
from support.messages import refused
from tagger.errors import LoadError
from tagger.models import recurrent
from tagger.models.kv import concat
from tagger.models.language import LanguageModel
from tagger.models.recurrent import Tree, take_arrangements, warn_if_slow

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(params=tiny.RECURRENT, scope="module")
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return tiny.model(request.param)


def test_a_row_leaves_the_state_that_it_leaves_alone_whatever_pads_it(
    model: LanguageModel,
) -> None:
    encode = model.tokenizer.encode
    prefix = model.prefill([encode("You tag.")])
    rows = [encode("A web server for games and more."), encode("Hi"), encode("A cli")]
    together = model.prefill(rows, prefix)
    assert len(together.states) == 2
    for index, row in enumerate(rows):
        alone = model.prefill([row], prefix)
        for (inputs, state), (expected_inputs, expected) in zip(
            together.states, alone.states, strict=True
        ):
            assert torch.allclose(inputs[index], expected_inputs[0], atol=1e-5)
            assert torch.allclose(state[index], expected[0], atol=1e-5)


def test_tokens_one_by_one_give_what_they_give_at_once(model: LanguageModel) -> None:
    """And change nothing in the caches that they follow, which others share."""
    tokens = model.tokenizer.encode("A web server for games and more.")
    prefix = model.prefill([tokens[:3]])
    before = [each.clone() for state in prefix.states for each in state]
    cache = prefix
    for token in tokens[3:]:
        hidden, tail = model.decode([[token]], cache)
        cache = concat(cache, tail)
    at_once, _ = model.decode([tokens[3:]], prefix)
    assert torch.allclose(hidden, at_once, atol=1e-4)
    assert all(
        each.equal(same)
        for each, same in zip(
            (each for state in prefix.states for each in state), before, strict=True
        )
    )


@pytest.mark.parametrize("decay", [0.01, 1.0, 16.0], ids="{} a token".format)
def test_a_tree_reads_what_each_of_its_paths_reads_alone(decay: float) -> None:
    """Also after hundreds of tokens, when the sum of their decays is large."""
    draw = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(1, *shape, generator=draw)

    stem, branches = 200, [[0, 1, 2], [0, 3], [4, 5, 6, 7]]
    size = stem + 8
    ancestors = torch.ones(size, size, dtype=torch.bool).tril()
    ancestors[stem:, stem:] = False
    paths = [[*range(stem), *(stem + node for node in branch)] for branch in branches]
    for path in paths:
        for place, node in enumerate(path):
            ancestors[node, path[: place + 1]] = True
    queries, keys, values = random(size, 2, 8), random(size, 2, 8), random(size, 4, 16)
    decays, writes = -decay * random(size, 4).abs(), random(size, 4).sigmoid()
    state = random(4, 8, 16)
    found, _ = Tree(ancestors).update(
        lambda: None, queries, keys, values, g=decays, beta=writes, initial_state=state
    )
    for path in paths:
        alone, _ = torch_recurrent_gated_delta_rule(
            *(each[:, path] for each in (queries, keys, values)),
            g=decays[:, path],
            beta=writes[:, path],
            initial_state=state,
            use_qk_l2norm_in_kernel=True,
        )
        assert torch.allclose(found[:, path], alone, atol=2e-6)


@pytest.mark.parametrize("kind", tiny.RECURRENT)
def test_a_network_that_takes_arrangements_computes_the_same_without_one(kind: str) -> None:
    network = tiny.network(kind)
    ids = torch.arange(5, 90)[None]
    with torch.inference_mode():
        before = network(ids).logits
        take_arrangements(network)
        take_arrangements(network)
        assert network(ids).logits.equal(before)


@pytest.mark.parametrize(
    ("there", "warning"),
    [
        ((), "flash-linear-attention and causal-conv1d are not installed"),
        (("fla",), "causal-conv1d is not installed"),
        (("fla", "causal_conv1d"), ""),
    ],
)
def test_missing_fast_kernels_are_said_once_where_there_is_a_gpu(
    there: tuple[str, ...],
    warning: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(recurrent, "find_spec", lambda name: object() if name in there else None)
    with caplog.at_level(logging.WARNING):
        warn_if_slow(CPU)
        assert not caplog.messages
        warn_if_slow(GPU)
    assert len(caplog.messages) == bool(warning)
    assert warning in caplog.text


def test_a_transformers_that_computes_these_layers_otherwise_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before it reads a tree as if its nodes came one after the other."""
    network = tiny.network("qwen3_5_text")
    with monkeypatch.context() as patch:
        patch.delattr(modeling_qwen3_5, "causal_conv1d_fn")
        with refused(LoadError):
            take_arrangements(network)
    model = tiny.model_of(network)
    prefix = model.prefill([[1, 2, 3]])
    plain = modeling_qwen3_5.torch_chunk_gated_delta_rule.__wrapped__
    monkeypatch.setattr(modeling_qwen3_5, "torch_chunk_gated_delta_rule", plain)
    nodes = torch.tensor([4, 5])
    with refused(LoadError):
        model.forward_tree(
            prefix, nodes, torch.ones(2).long(), torch.eye(2).bool(), torch.ones(2, 0).bool()
        )
