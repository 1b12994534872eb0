"""Tiny random chat models, built in a second, for tests that need no real one."""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2MoeConfig,
    Qwen2MoeForCausalLM,
    Qwen3_5ForCausalLM,
    Qwen3_5MoeForCausalLM,
    Qwen3_5MoeTextConfig,
    Qwen3_5TextConfig,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
    Qwen3NextConfig,
    Qwen3NextForCausalLM,
)

from tagger.models.language import LanguageModel
from tagger.models.processor import Processor
from tagger.models.tokenizer import ChatTokenizer

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CORPUS = [
    'Tags: http, http-client, game, game-engine, cli. {"tags": ["http", "cli"]}',
    "A README of a repository, the words of a project. Choose at most 3 tags from the list.",
    "web server database terminal testing game engine http client json yaml parser",
]


EXPERTS = {"moe_intermediate_size": 24, "num_experts": 4, "num_experts_per_tok": 2}
HYBRID = {
    "num_hidden_layers": 3,
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
    "head_dim": 16,
    "initializer_range": 0.3,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 16,
}
SHARED = {**EXPERTS, "shared_expert_intermediate_size": 32}
ATTENTION: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {}),
    "qwen2_moe": (Qwen2MoeConfig, Qwen2MoeForCausalLM, SHARED),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 8}),
    "qwen3_moe": (Qwen3MoeConfig, Qwen3MoeForCausalLM, {**EXPERTS, "head_dim": 8}),
}
RECURRENT: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "qwen3_next": (Qwen3NextConfig, Qwen3NextForCausalLM, {**SHARED, **HYBRID}),
    "qwen3_5_text": (Qwen3_5TextConfig, Qwen3_5ForCausalLM, HYBRID),
    "qwen3_5_moe_text": (Qwen3_5MoeTextConfig, Qwen3_5MoeForCausalLM, {**SHARED, **HYBRID}),
}
KINDS = ATTENTION | RECURRENT
"""Every architecture: its classes, and what its shape has beside the common settings."""


@cache
def tokenizer(texts: tuple[str, ...] = (), size: int = 400) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of so many tokens with ChatML's control tokens.

    Args:
        texts: what it is trained on beside the corpus, so that it has few tokens for that.
        size: how many tokens.

    """
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([*CORPUS, *texts], trainer)
    bpe.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    bpe.add_tokens([AddedToken("<tool_call>", special=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        chat_template=CHATML,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    )


def network(kind: str = "qwen2", seed: int = 0, **overrides: object) -> Any:
    """A random network whose probabilities differ enough for a broken mask to show."""
    torch.manual_seed(seed)
    settings: dict[str, object] = {
        "vocab_size": 512,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "initializer_range": 0.4,
        "tie_word_embeddings": False,
    } | overrides
    config, network_class, more = KINDS[kind]
    made = network_class(config(**(settings | more | overrides))).eval()
    for name, weight in made.named_parameters():
        if name.endswith("A_log"):
            # As drawn, a state is forgotten after one token, and no mistake in it would show.
            weight.data.uniform_(-4.0, 0.0)
    return made


def model(kind: str = "qwen2", seed: int = 0, **overrides: object) -> LanguageModel:
    """A tiny model in memory."""
    weights = f"{kind}-{seed}-{sorted(overrides.items())}"
    return model_of(network(kind, seed, **overrides), weights)


def model_of(
    network: Any, weights: str = "random", chat_tokenizer: ChatTokenizer | None = None
) -> LanguageModel:
    """A network in memory, with the tiny tokenizer."""
    return LanguageModel(
        lambda: network,
        network.config,
        chat_tokenizer or ChatTokenizer(tokenizer()),
        "tiny",
        weights,
        Processor(network.device, network.dtype),
    )


def save(folder: Path, kind: str = "qwen2", seed: int = 0) -> Path:
    """A tiny model as a folder in Hugging Face's layout."""
    network(kind, seed).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
