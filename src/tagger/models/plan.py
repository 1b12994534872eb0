"""How much memory a model takes, known from its shape before anything of it is loaded.

The weights are counted on PyTorch's meta device. The rest is what a README adds: keys and values
of the prompt's fixed parts and of the README, the widest layer's intermediate results, and the
logits of the questions' answers.
"""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from transformers import AutoModelForCausalLM

from tagger.errors import (
    LoadError,
    ModelMissingError,
    OutOfMemoryError,
    UnknownModelError,
)
from tagger.models.checkpoint import check, read_config
from tagger.models.checkpoint import files as checkpoint_files
from tagger.models.fetch import store
from tagger.models.fetch.catalogue import catalogue
from tagger.models.recurrent import recurrent_layers
from tagger.models.shape import native
from tagger.types import README_TOKENS

PREFIX_TOKENS = 500
"""Tokens of the prompt's fixed parts: the list of 90 tags in two orders, and what is around it."""

_ASKED_TOKENS = 160
"""Tokens of both questions and the trees of their answers."""

ATTENTION = "sdpa"
"""PyTorch's own attention, which takes the masks of branches. No model's folder has a say."""

_CHUNK = 64
"""Tokens of a chunk in which recurrent layers read."""

_PROGRAM = 450_000_000
"""Bytes that Python, PyTorch and Transformers take by themselves."""

_SUGGESTED = tuple(
    f"Qwen/Qwen2.5-{size}-Instruct" for size in ("72B", "32B", "14B", "7B", "3B", "1.5B", "0.5B")
)


@dataclass(frozen=True)
class Known:
    """A published model.

    Attributes:
        repository: its name on the Hub.
        licence: the licence's name.
        config: its shape, as its `config.json` has it.

    """

    repository: str
    licence: str
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """The memory that tagging with a model takes, in bytes.

    Attributes:
        parameters: the number of its weights.
        context: tokens that it was trained to see at once.
        weights: all of them in the number format asked for.
        prefix: the KV cache of the prompt's fixed parts.
        readme: what one README of a batch adds while it is read.

    """

    parameters: int
    context: int
    weights: int
    prefix: int
    readme: int

    @property
    def total(self) -> int:
        """Bytes for one README at a time, including the program."""
        return self.weights + self.prefix + self.readme + _PROGRAM


def plan(config: Any, dtype: torch.dtype, readme_tokens: int = README_TOKENS) -> Plan:
    """Return what a model needs.

    Args:
        config: its Transformers configuration.
        dtype: the number format it is to run in.
        readme_tokens: the most that is read of a README.

    Raises:
        LoadError: no model has such a shape.

    """
    try:
        with torch.device("meta"):
            network = AutoModelForCausalLM.from_config(
                config, dtype=dtype, attn_implementation=ATTENTION
            )
        cached, working = per_token(config)
        state = per_row(config)
    except Exception as error:  # whatever Transformers makes of odd values
        reason = " ".join(str(error).split())
        raise LoadError(f"no model can be made of its config.json: {reason[:200]}") from error
    parameters = sum(weight.numel() for weight in network.parameters())
    tokens = min(readme_tokens, config.max_position_embeddings) + _ASKED_TOKENS
    logits = 3 * _ASKED_TOKENS * config.vocab_size * torch.float32.itemsize
    return Plan(
        parameters=parameters,
        context=config.max_position_embeddings,
        weights=parameters * dtype.itemsize,
        # The states of recurrent layers after each of the prompt's three fixed parts.
        prefix=PREFIX_TOKENS * cached * dtype.itemsize + 3 * state,
        # The keys and values of all that was read are copied once, to be concatenated, and so are
        # states, to be written to.
        readme=(tokens * (2 * cached + working) + PREFIX_TOKENS * cached) * dtype.itemsize
        + 2 * state
        + logits,
    )


def per_token(config: Any) -> tuple[int, int]:
    """Return how many numbers a token has in the KV cache, and how many one layer works with."""
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    recurrent = len(recurrent_layers(config))
    cached = 2 * (config.num_hidden_layers - recurrent) * config.num_key_value_heads * size
    # What one layer holds at once, by its largest step: gate, up and their product, and the few
    # copies of hidden states and attention heads that live beside them.
    working = 4 * _intermediate(config) + 6 * config.hidden_size + 4 * heads * size
    if recurrent:
        # Or keys, values and what relates a token to its chunk, several times, in float32.
        keys, values = config.linear_key_head_dim, config.linear_value_head_dim
        copies = 8 * keys + 6 * values + 4 * _CHUNK
        working = max(working, 2 * config.linear_num_value_heads * copies)
    return cached, working


def per_row(config: Any) -> int:
    """Return the bytes of the states of recurrent layers, which do not grow with what is read."""
    layers = len(recurrent_layers(config))
    if not layers:
        return 0
    keys = config.linear_num_key_heads * config.linear_key_head_dim
    values = config.linear_num_value_heads * config.linear_value_head_dim
    numbers = (2 * keys + values) * config.linear_conv_kernel_dim
    numbers += values * config.linear_key_head_dim
    return int(layers * numbers * torch.float32.itemsize)


def _intermediate(config: Any) -> int:
    """Return the width of a feed-forward layer, or of all experts of one that has no other."""
    if (width := getattr(config, "intermediate_size", None)) is not None:
        return int(width)
    experts = config.num_experts_per_tok * config.moe_intermediate_size
    return int(experts + config.shared_expert_intermediate_size)


def free(device: torch.device, *, spread: bool = False) -> int:
    """Return the bytes that are free on a device, or on all GPUs together."""
    if device.type != "cuda":
        return int(psutil.virtual_memory().available)
    devices = range(torch.cuda.device_count()) if spread else [device]
    return sum(int(torch.cuda.mem_get_info(one)[0]) for one in devices)


def check_room(
    name: str, needed: Plan, dtype: torch.dtype, device: torch.device, room: int
) -> None:
    """Make sure that a model fits.

    Raises:
        OutOfMemoryError: it does not; the message says what would.

    """
    if needed.total <= room:
        return
    raise OutOfMemoryError(
        f"{name} needs {needed.total / 1e9:.1f} GB in {str(dtype).removeprefix('torch.')}, and "
        f"{max(0, room) / 1e9:.1f} GB are free on {device}. {what_fits(needed, dtype, room)}"
    )


def what_fits(needed: Plan, dtype: torch.dtype, room: int) -> str:
    """Say what would fit into so many bytes where a model does not."""
    if dtype == torch.float32 and needed.total - needed.weights // 2 <= room:
        return "In bfloat16 it would fit."
    for name in _SUGGESTED:
        smaller = plan(native(family()[name].config), torch.bfloat16)
        if smaller.total <= room and smaller.parameters < needed.parameters:
            return f"{name} ({smaller.total / 1e9:.1f} GB in bfloat16) would fit."
    return "Free some memory, or read fewer tokens of a README."


@cache
def family() -> Mapping[str, Known]:
    """Return the published chat models whose shape is known, by repository."""
    text = resources.files(__package__).joinpath("family.json").read_text("utf-8")
    return MappingProxyType({row["repository"]: Known(**row) for row in json.loads(text)})


def config_of(name: str) -> Any:
    """Return the configuration of a model by its catalogue name, folder or Hub id.

    Raises:
        UnknownModelError: no model goes by this name.
        ModelMissingError: its configuration is neither known nor here, and the Hub is out of reach.
        LoadError: it is not supported.

    """
    if name in catalogue():
        entry = catalogue()[name]
        if not store.is_complete(entry):
            return native(family()[entry.repository.removesuffix("-GGUF")].config)
        return native(read_config(store.folder(entry)))
    if name and Path(name).is_dir():
        folder = Path(name)
        # A folder of a config alone can be planned; half a checkpoint is said to be one.
        return native(check(folder) if checkpoint_files(folder) else read_config(folder))
    known = {key.lower(): key for key in family()}
    known |= {key.partition("/")[2]: full for key, full in known.items()}
    if name.lower() in known:
        return native(family()[known[name.lower()]].config)
    if name.count("/") == 1 and not name.startswith("."):
        try:
            fetched = snapshot_download(name, allow_patterns=["config.json"], etag_timeout=5)
            return native(read_config(Path(fetched)))
        except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
            raise ModelMissingError(
                f"{name}: its dimensions are not known to tagger, and the Hub could not be "
                "reached: check the "
                "name and the network, or pass its folder"
            ) from error
    near = [key for key in known if key.startswith(name.lower())] if name else []
    near = near or difflib.get_close_matches(name.lower(), known, n=1)
    hint = f": did you mean {known[near[0]]}?" if near else ""
    raise UnknownModelError(
        f"no model is called {name!r}{hint or ': see `tagger models list`, or name a folder'}"
    )
