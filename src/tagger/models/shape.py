"""What a `config.json` is believed: numbers that describe a supported architecture, nothing else.

A configuration of Transformers also chooses kernels, quantisers, classes and more, and makes
tables as large as it says. So it is built from the keys below alone, checked for type and range;
a key that stands here nowhere has no effect. How the model is computed is up to this program.
"""

import reprlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from transformers import AutoConfig

from tagger.errors import LoadError
from tagger.models.checkpoint import FIRST_GENERATION
from tagger.models.recurrent import recurrent_layers

# Bounds that no model comes near, so that damaged files do not take the machine's memory and time.
Layers = Annotated[int, Field(ge=1, le=1_000)]
Heads = Annotated[int, Field(ge=1, le=10_000)]
Width = Annotated[int, Field(ge=1, le=10**6)]
Words = Annotated[int, Field(ge=1, le=10**7)]
Positions = Annotated[int, Field(ge=1, le=10**9)]
Epsilon = Annotated[float, Field(ge=0, le=1)]
Base = Annotated[float, Field(gt=1, le=1e12)]
Ratio = Annotated[float, Field(gt=0, le=10**6)]
Share = Annotated[float, Field(gt=0, le=1)]


class Shape(BaseModel):
    """Keys of a `config.json` that are read; others are passed over."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Self:
        """Check a configuration.

        Raises:
            LoadError: a value is missing, of another type, or out of range.

        """
        try:
            return cls.model_validate(config)
        except ValidationError as error:
            raise LoadError(_complaint(error)) from error


class Rope(Shape):
    """Rotary positions, with the factors by which a context was extended."""

    rope_type: Literal["default", "linear", "dynamic", "yarn"] = Field(
        default="default", validation_alias=AliasChoices("rope_type", "type")
    )
    rope_theta: Base | None = None
    factor: Ratio | None = None
    original_max_position_embeddings: Positions | None = None
    attention_factor: Ratio | None = None
    beta_fast: Ratio | None = None
    beta_slow: Ratio | None = None
    mscale: Ratio | None = None
    mscale_all_dim: Ratio | None = None
    truncate: bool | None = None
    partial_rotary_factor: Share | None = None

    @model_validator(mode="after")
    def _has_its_factor(self) -> Self:
        if self.rope_type != "default" and self.factor is None:
            raise ValueError(f"rope_type {self.rope_type} needs a factor")
        return self


class Decoder(Shape):
    """What all supported architectures but the first generation have in common."""

    vocab_size: Words | None = None
    hidden_size: Width | None = None
    intermediate_size: Width | None = None
    num_hidden_layers: Layers | None = None
    num_attention_heads: Heads | None = None
    num_key_value_heads: Heads | None = None
    head_dim: Annotated[int, Field(ge=2, le=10_000, multiple_of=2)] | None = None
    max_position_embeddings: Positions | None = None
    rms_norm_eps: Epsilon | None = None
    rope_theta: Base | None = None
    rope_scaling: Rope | None = None
    rope_parameters: Rope | None = None
    tie_word_embeddings: bool | None = None
    hidden_act: Literal["silu"] | None = None


class Dense3(Decoder):
    """Qwen3."""

    attention_bias: bool | None = None


class Experts(Decoder):
    """What mixtures of experts have besides."""

    decoder_sparse_step: Layers | None = None
    moe_intermediate_size: Width | None = None
    num_experts: Heads | None = Field(
        default=None, validation_alias=AliasChoices("num_experts", "num_local_experts")
    )
    num_experts_per_tok: Heads | None = None
    norm_topk_prob: bool | None = None
    mlp_only_layers: Annotated[list[int], Field(max_length=1_000)] | None = None


class Experts2(Experts):
    """Qwen1.5 and Qwen2 with experts."""

    shared_expert_intermediate_size: Width | None = None
    qkv_bias: bool | None = None


class Experts3(Experts):
    """Qwen3 with experts."""

    attention_bias: bool | None = None


class Hybrid(Decoder):
    """Qwen3.5: recurrent layers between those with attention."""

    attention_bias: bool | None = None
    partial_rotary_factor: Share | None = None
    full_attention_interval: Layers | None = None
    layer_types: list[Literal["full_attention", "linear_attention"]] | None = None
    linear_conv_kernel_dim: Annotated[int, Field(ge=1, le=100)] | None = None
    linear_key_head_dim: Annotated[int, Field(ge=1, le=10_000)] | None = None
    linear_value_head_dim: Annotated[int, Field(ge=1, le=10_000)] | None = None
    linear_num_key_heads: Heads | None = None
    linear_num_value_heads: Heads | None = None


class HybridExperts(Hybrid, Experts):
    """Qwen3-Next, and Qwen3.5 with experts."""

    shared_expert_intermediate_size: Width | None = None


class Window(Shape):
    """Which layers see only what is near."""

    use_sliding_window: bool | None = None
    sliding_window: Annotated[int, Field(ge=0, le=10**9)] | None = None
    layer_types: list[Literal["full_attention", "sliding_attention"]] | None = None

    @property
    def size(self) -> int | None:
        """Tokens that a layer with a window sees, or None if there is no such layer.

        Raises:
            LoadError: there are such layers, and their window has no size.

        """
        if not self.use_sliding_window and "sliding_attention" not in (self.layer_types or ()):
            return None
        if not self.sliding_window:
            raise LoadError("config.json: has layers with a sliding_window, and gives it no size")
        return self.sliding_window


def _not_zero(number: int) -> int:
    if number == 0:
        raise ValueError("it should be -1 or at least 1")
    return number


class Packing(Shape):
    """How the matrices of a quantised model are stored, as `models/packed.py` reads them."""

    quant_method: Literal["gptq", "awq"]
    bits: Literal[4, 8]
    group_size: Annotated[int, Field(ge=-1, le=10**6), AfterValidator(_not_zero)]
    """Inputs that share a scale; -1: all of them."""

    desc_act: bool = False
    """Whether the inputs of a group lie apart."""

    checkpoint_format: str = Field(
        default="gptq", validation_alias=AliasChoices("checkpoint_format", "format")
    )
    version: str = "gemm"


_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.bfloat16, torch.float16, torch.float32)
}


class _Stored(Shape):
    dtype: Literal["bfloat16", "float16", "float32"] | None = Field(
        default=None, validation_alias=AliasChoices("dtype", "torch_dtype")
    )


class _Quantised(Shape):
    quantization_config: Packing


ARCHITECTURES: Mapping[str, type[Decoder]] = {
    "qwen2": Decoder,
    "qwen2_moe": Experts2,
    "qwen3": Dense3,
    "qwen3_moe": Experts3,
    "qwen3_next": HybridExperts,
    "qwen3_5_text": Hybrid,
    "qwen3_5_moe_text": HybridExperts,
}


def native(config: Mapping[str, Any]) -> Any:
    """Return the Transformers configuration of what a `config.json` says.

    Args:
        config: of a supported architecture, as `checkpoint.read_config` returns it.

    Raises:
        LoadError: its values cannot be used.

    """
    packing(config)
    kind = config["model_type"]
    if kind == FIRST_GENERATION:
        from tagger.models.qwen1 import native_config

        return native_config(config)
    architecture = ARCHITECTURES[kind]
    shape = architecture.read(config).model_dump(exclude_none=True)
    window = None if issubclass(architecture, Hybrid) else Window.read(config).size
    try:
        made = AutoConfig.for_model(kind, **shape)
    except Exception as error:  # whatever Transformers makes of values that do not go together
        reason = " ".join(str(error).split())
        raise LoadError(f"config.json: cannot be used: {reason[:200]}") from error
    _check_division(made)
    if window is not None:
        # Within its window a layer sees all, and farther than that nothing is read.
        made.max_position_embeddings = min(made.max_position_embeddings, window)
    return made


def packing(config: Mapping[str, Any]) -> Packing | None:
    """Return how a model is quantised, or None if it is not.

    Raises:
        LoadError: in a way that is not supported.

    """
    if not config.get("quantization_config"):
        return None
    stated = _Quantised.read(config).quantization_config
    if stated.quant_method == "gptq":
        key, layout = "checkpoint_format", stated.checkpoint_format
        is_known = layout in ("gptq", "gptq_v2")
    else:
        key, layout = "version", stated.version.lower()
        is_known = layout == "gemm" and stated.bits == 4
    if not is_known:
        raise LoadError(
            f"config.json: the {key} {reprlib.repr(layout)} of {stated.quant_method} with "
            f"{stated.bits} bits is not supported: use the unquantised model"
        )
    return stated


def number_format(config: Mapping[str, Any]) -> torch.dtype:
    """Return the number format of a model's files or, if it is quantised, of its scales.

    Raises:
        LoadError: it is not one that models are run in.

    """
    usual = "float16" if config.get("quantization_config") else "bfloat16"
    return _DTYPES[_Stored.read(config).dtype or usual]


def _check_division(made: Any) -> None:
    """Refuse what only a forward pass would trip over."""
    heads, groups = made.num_attention_heads, made.num_key_value_heads
    if heads % groups:
        raise LoadError(
            f"config.json: num_attention_heads is {heads}, no multiple of num_key_value_heads, "
            f"which is {groups}"
        )
    if getattr(made, "head_dim", None) is None and made.hidden_size % (2 * heads):
        raise LoadError(
            f"config.json: hidden_size is {made.hidden_size}, which does not divide into "
            f"{heads} attention heads of even size"
        )
    experts = getattr(made, "num_experts", None)
    if experts is not None and made.num_experts_per_tok > experts:
        raise LoadError(
            f"config.json: num_experts_per_tok is {made.num_experts_per_tok}, and there are "
            f"{experts} experts"
        )
    if recurrent_layers(made):
        keys, values = made.linear_num_key_heads, made.linear_num_value_heads
        if values % keys:
            raise LoadError(
                f"config.json: linear_num_value_heads is {values}, no multiple of "
                f"linear_num_key_heads, which is {keys}"
            )
        rotated = made.rope_parameters.get("partial_rotary_factor", 1.0) * made.head_dim
        if rotated % 2:
            raise LoadError(
                f"config.json: partial_rotary_factor times head_dim is {rotated:g}, no even number"
            )


def _complaint(error: ValidationError) -> str:
    """Say in one line of bounded length what is wrong with a configuration."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"config.json: does not state its {key}"
    reason = first["msg"][:1].lower() + first["msg"][1:]
    return f"config.json: {key} is {reprlib.repr(first['input'])}: {reason}"
