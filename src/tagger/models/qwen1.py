"""The Qwen-Chat models of 2023 (Qwen-1.8B-Chat to Qwen-72B-Chat), read as what they are: Qwen2.

Their own code, which no longer runs, computes what Transformers' Qwen2 does under other names:
queries, keys and values lie stacked in `c_attn`, `w1` is the up projection and `w2` the gate, and
`intermediate_size` counts both. Up to the trained length, `seq_length`, the logits are the same.

Beyond it the original stretches its rotary positions by the length of the whole text (dynamic NTK)
and scales its queries (log-n). Neither works with a KV cache of the prompt's fixed parts, whose
keys are rotated before the length is known: `seq_length` is taken for the context, and less is read
of a README so that it fits.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from tiktoken.load import load_tiktoken_bpe
from tokenizers import normalizers
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.convert_slow_tokenizer import TikTokenConverter
from transformers.core_model_loading import Chunk, WeightConverter, WeightRenaming

from tagger.errors import LoadError
from tagger.models.chat_files import PATTERN
from tagger.models.checkpoint import check_size
from tagger.models.shape import (
    Base,
    Epsilon,
    Heads,
    Layers,
    Positions,
    Shape,
    Width,
    Words,
)

TOKENS = "qwen.tiktoken"

_END_OF_TEXT, _START, _END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
_CONTROL = (_END_OF_TEXT, _START, _END, *(f"<|extra_{number}|>" for number in range(205)))
"""Control tokens, whose ids follow those of the text's."""

_MOST_VOCABULARY = 64 * 2**20

_CHAT = (
    "{% for message in messages %}"
    "{% if loop.first and message.role != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "{% endif %}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

_RENAMED = {
    r"^transformer\.wte\.": "model.embed_tokens.",
    r"^transformer\.ln_f\.": "model.norm.",
    r"^transformer\.h\.(\d+)\.ln_1\.": r"model.layers.\1.input_layernorm.",
    r"^transformer\.h\.(\d+)\.ln_2\.": r"model.layers.\1.post_attention_layernorm.",
    r"^transformer\.h\.(\d+)\.attn\.c_proj\.": r"model.layers.\1.self_attn.o_proj.",
    r"^transformer\.h\.(\d+)\.mlp\.w1\.": r"model.layers.\1.mlp.up_proj.",
    r"^transformer\.h\.(\d+)\.mlp\.w2\.": r"model.layers.\1.mlp.gate_proj.",
    r"^transformer\.h\.(\d+)\.mlp\.c_proj\.": r"model.layers.\1.mlp.down_proj.",
    r"^transformer\.h\.(\d+)\.attn\.c_attn\.": r"model.layers.\1.self_attn.c_attn.",
}


class FirstGeneration(Qwen2ForCausalLM):  # type: ignore[misc]
    """Qwen2, loaded from a first-generation checkpoint's names."""


register_checkpoint_conversion_mapping(
    FirstGeneration.__name__,
    [
        *(WeightRenaming(old, new) for old, new in _RENAMED.items()),
        *(
            WeightConverter(
                f"self_attn.c_attn.{kind}",
                [f"self_attn.{part}_proj.{kind}" for part in "qkv"],
                [Chunk(dim=0)],
            )
            for kind in ("weight", "bias")
        ),
    ],
)


class _Shape(Shape):
    """The keys of a first-generation `config.json` that are read."""

    vocab_size: Words
    hidden_size: Width
    intermediate_size: Annotated[Width, Field(ge=2)]
    """Of the gate and the up projection together."""

    num_hidden_layers: Layers
    num_attention_heads: Heads
    seq_length: Positions
    layer_norm_epsilon: Epsilon
    rotary_emb_base: Base
    tie_word_embeddings: bool = False
    torch_dtype: Literal["bfloat16", "float16", "float32"] | None = None
    kv_channels: Width | None = None
    no_bias: bool = True
    rotary_pct: float = 1.0
    scale_attn_weights: bool = True


def native_config(config: Mapping[str, Any]) -> Qwen2Config:
    """Return the Qwen2 configuration of a first-generation one.

    Raises:
        LoadError: it is incomplete, or of a variant that Qwen2 has no name for.

    """
    shape = _Shape.read(config)
    for key, usual in (("no_bias", True), ("rotary_pct", 1.0), ("scale_attn_weights", True)):
        if getattr(shape, key) != usual:
            raise LoadError(f"config.json: a first-generation model with {key} is not supported")
    heads, width = shape.num_attention_heads, shape.hidden_size
    if (shape.kv_channels or width // heads) * heads != width or width % (2 * heads):
        raise LoadError(
            "config.json: kv_channels, num_attention_heads and hidden_size do not fit together"
        )
    return Qwen2Config(
        architectures=[Qwen2ForCausalLM.__name__],
        dtype=shape.torch_dtype or "bfloat16",
        tie_word_embeddings=shape.tie_word_embeddings,
        vocab_size=shape.vocab_size,
        hidden_size=width,
        intermediate_size=shape.intermediate_size // 2,
        num_hidden_layers=shape.num_hidden_layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=shape.seq_length,
        rms_norm_eps=shape.layer_norm_epsilon,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rotary_emb_base},
    )


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Return the tokenizer of `qwen.tiktoken` in a folder, with ChatML.

    Raises:
        LoadError: the file is missing or damaged.

    """
    path = folder / TOKENS
    check_size(path, _MOST_VOCABULARY)
    try:
        ranks = load_tiktoken_bpe(str(path))
        converter = TikTokenConverter(str(path), PATTERN, extra_special_tokens=list(_CONTROL))
        backend = converter.converted()
    except Exception as error:  # tiktoken raises what its parsing meets
        raise LoadError(f"{path}: is damaged") from error
    backend.normalizer = normalizers.NFC()
    size = len(ranks)
    if size < 256 or set(ranks.values()) != set(range(size)):
        raise LoadError(f"{path}: is damaged: its token numbers have gaps")
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        chat_template=_CHAT,
        eos_token=_END,
        pad_token=_END_OF_TEXT,
    )


def generation_config(tokenizer: PreTrainedTokenizerFast) -> GenerationConfig:
    """Return when a chat model's turn ends."""
    ends = tokenizer.convert_tokens_to_ids([_END, _END_OF_TEXT])
    return GenerationConfig(eos_token_id=ends, pad_token_id=ends[1], do_sample=False)


def as_qwen2(network: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    """Make a loaded first-generation model a Qwen2 model like any other.

    Args:
        network: as loaded.
        tokenizer: its tokenizer.

    """
    network.__class__ = Qwen2ForCausalLM
    network.generation_config = generation_config(tokenizer)
