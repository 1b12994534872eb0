"""What a README costs in forward passes and tokens: guards against doing more without saying so."""

from itertools import product
from string import ascii_lowercase
from typing import Any

import pytest
import torch

from support import ROOT, tiny
from support.passes import counted
from tagger.methods.rank import rank as rank_module
from tagger.methods.rank.calibration import Calibration
from tagger.methods.rank.rank import Rank
from tagger.models.language import LanguageModel
from tagger.readme.readme import Readme
from tagger.types import README_TOKENS
from tagger.vocabulary import Vocabulary

SAMPLE = Vocabulary.load(ROOT / "tags.json")
LARGE = Vocabulary.from_names([f"{a}{b}-{c}" for a, b, c in product(*[ascii_lowercase[:10]] * 3)])
README = Readme("x", "A game engine for the terminal, written in Rust. " * 200)
CALIBRATION = Calibration.shipped("qwen2.5-coder-0.5b")


def passes_of(model: LanguageModel, network: Any, vocabulary: Vocabulary) -> list[int]:
    """Return the tokens of every pass that a README takes once lists and prior are computed."""
    rank = Rank(model, vocabulary, calibration=CALIBRATION)
    rank.prepare()
    readme = rank.encode(README)
    assert len(readme.tokens) <= README_TOKENS
    with counted(network) as passes:
        rank.read([readme])
    return passes


@pytest.mark.real_model
def test_a_readme_takes_one_pass_and_few_tokens_beside_its_own(
    real_model: LanguageModel,
) -> None:
    """The real tokenizer and the sample tags; the network is a tiny one of the same vocabulary."""
    network = tiny.network(vocab_size=151_936, max_position_embeddings=32_768)
    model = tiny.model_of(network, chat_tokenizer=real_model.tokenizer)
    assert passes_of(model, network, SAMPLE) == [288]


def test_a_large_vocabulary_takes_a_few_passes_more() -> None:
    network = tiny.network(max_position_embeddings=32_768)
    model = tiny.model_of(network)
    first, *others = passes_of(model, network, LARGE)
    assert first == README_TOKENS
    # How far the search goes depends on the last digits of a processor's sums.
    assert len(others) <= 5
    assert sum(others) < 600


def test_one_readme_takes_one_pass_and_many_together_take_two() -> None:
    network = tiny.network(max_position_embeddings=32_768)
    model = tiny.model_of(network)
    few = Vocabulary.from_names(["cli", "game", "http"])
    rank = Rank(model, few, calibration=CALIBRATION)
    rank.prepare()
    texts = README.text, "A parser.", ""
    readmes = [rank.encode(Readme("x", text)) for text in texts]
    with counted(network) as passes:
        rank.read(readmes)
    assert len(passes) == 2
    for readme in readmes:
        with counted(network) as passes:
            rank.read([readme])
        assert len(passes) == 1


def test_a_long_readme_is_read_before_it_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny.network(max_position_embeddings=32_768)
    rank = Rank(
        tiny.model_of(network), Vocabulary.from_names(["cli", "game"]), calibration=CALIBRATION
    )
    rank.prepare()
    readme = rank.encode(README)
    monkeypatch.setattr(rank_module, "AT_ONCE", readme.length - 1)
    with counted(network) as passes:
        rank.read([readme])
    assert len(passes) == 2


@pytest.mark.parametrize("seed", range(3))
def test_logits_in_bfloat16_are_those_of_float32_where_it_matters(seed: int) -> None:
    network = tiny.network(seed=seed, vocab_size=5_000).to(torch.bfloat16)
    model = tiny.model_of(network)
    hidden = 8 * torch.randn(6, 32, generator=torch.Generator().manual_seed(seed)).bfloat16()
    expected = hidden.float() @ network.lm_head.weight.float().T
    token_ids = torch.tensor([7, 7, 4_321])
    logits = model.logits(hidden, token_ids)
    assert (logits - expected)[:, token_ids].abs().max() < 1e-4
    assert (logits.logsumexp(-1) - expected.logsumexp(-1)).abs().max() < 1e-3
    assert (logits.argmax(-1) == expected.argmax(-1)).all()
