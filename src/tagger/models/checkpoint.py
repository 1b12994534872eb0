"""A model's folder in Hugging Face's layout, looked through before anything of it is loaded.

What Transformers would fill with random numbers or trip over after a minute is refused here in
words that say what is missing. Only the headers of the weights are read.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from tagger.errors import LoadError

FIRST_GENERATION = "qwen"

SUPPORTED = (FIRST_GENERATION, "qwen2", "qwen2_moe", "qwen3", "qwen3_moe")
"""Architectures whose attention a mask can divide into branches."""

_LINEAR = ("qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text")
"""Architectures with linear attention, in which what was read is one state."""

_INDEX = "model.safetensors.index.json"
_WHOLE = "model.safetensors"
_FORMATS = {"BF16", "F16", "F32", "F64"}


def read_config(folder: Path) -> dict[str, Any]:
    """Return a model folder's configuration.

    Raises:
        LoadError: there is none, it cannot be read, or it is of an architecture that is not
            supported.

    """
    path = folder / "config.json"
    if not folder.is_dir():
        raise LoadError(f"{folder}: there is no such model folder")
    if not path.is_file():
        raise LoadError(f"{folder}: has no config.json, so it is not a model folder")
    config = _json(path)
    kind = config.get("model_type")
    if kind in _LINEAR:
        raise LoadError(
            f"{folder}: {kind} has layers of linear attention, in which tags cannot be scored "
            "side by side: run it behind a server, and use --method generate --endpoint URL"
        )
    if kind not in SUPPORTED:
        raise LoadError(
            f"{folder}: the model_type {kind!r} of its config.json is not supported; these are: "
            f"{', '.join(SUPPORTED)}"
        )
    return config


def check(folder: Path) -> dict[str, Any]:
    """Return the configuration of a folder that holds a whole model.

    Raises:
        LoadError: something is missing, damaged or not supported.

    """
    config = read_config(folder)
    tokenizer = "qwen.tiktoken" if config["model_type"] == FIRST_GENERATION else "tokenizer.json"
    if not (folder / tokenizer).is_file():
        raise LoadError(f"{folder}: has no {tokenizer}: fetch that file too")
    index = folder / _INDEX
    if index.is_file():
        _check_shards(folder, _json(index))
    elif (folder / _WHOLE).is_file():
        _names(folder / _WHOLE)
    else:
        raise _no_weights(folder)
    return config


def files(folder: Path) -> list[Path]:
    """Return the files of weights."""
    return sorted(folder.glob("*.safetensors"))


def read_ahead(folder: Path) -> None:
    """Have the system read the weights from disk while Python still imports what loads them."""
    if hasattr(os, "posix_fadvise"):
        for path in files(folder):
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def _check_shards(folder: Path, index: dict[str, Any]) -> None:
    """Compare an index with the shards that it names."""
    placed = index.get("weight_map")
    if (
        not isinstance(placed, Mapping)
        or not isinstance(index.get("metadata"), Mapping)
        or not all(isinstance(name, str) for name in placed.values())
    ):
        raise LoadError(f"{folder / _INDEX}: is no index of weights: fetch it anew")
    for shard in sorted(set(placed.values())):
        path = folder / shard
        if Path(shard).name != shard or (path.exists() and not path.is_file()):
            raise LoadError(f"{folder / _INDEX}: names {shard!r}, which is no file of this folder")
        if not path.is_file():
            raise LoadError(
                f"{folder}: the weights in {shard} are missing: fetch that file, which "
                f"{_INDEX} names"
            )
        promised = {tensor for tensor, name in placed.items() if name == shard}
        if lacking := promised - _names(path):
            raise LoadError(
                f"{path}: lacks {min(lacking)}, which {_INDEX} says is there: the index and the "
                "weights are not of the same model"
            )


def _names(path: Path) -> set[str]:
    """Return the names of a file's tensors, whose length is what the header says."""
    try:
        with safe_open(path, framework="pt") as file:
            formats = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise LoadError(f"{path}: is cut short or damaged: {reason[:200]}") from error
    for name, number_format in formats.items():
        if number_format not in _FORMATS:
            raise LoadError(
                f"{path}: {name} is kept as {number_format}: quantised models are not supported, "
                "use the unquantised one"
            )
    return set(formats)


def _no_weights(folder: Path) -> LoadError:
    if any(folder.glob("*.bin")):
        return LoadError(
            f"{folder}: has only .bin weights, which are not read, because they can hold code: "
            "convert them with torch.load(FILE, weights_only=True) and safetensors' save_file, as "
            "docs/models.md shows"
        )
    if files(folder):
        return LoadError(f"{folder}: has safetensors weights but no {_INDEX}: fetch that file too")
    return LoadError(f"{folder}: has no safetensors weights: fetch them too")


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LoadError(
            f"{path}: cannot be read as JSON: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(content, dict):
        raise LoadError(f"{path}: is no JSON object")
    return content
