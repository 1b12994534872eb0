"""A model's folder in Hugging Face's layout, looked through before anything of it is loaded.

What Transformers would fill with random numbers or trip over after a minute is refused here in
words that say what is missing. Only the headers of the weights are read.
"""

import json
import os
import reprlib
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from tagger.errors import LoadError

FIRST_GENERATION = "qwen"

_WITH_IMAGES = ("qwen3_5", "qwen3_5_moe")
"""Architectures that see, too; of these the part that reads text is used."""

SUPPORTED = (
    FIRST_GENERATION,
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
    "qwen3_next",
    *_WITH_IMAGES,
    *(f"{kind}_text" for kind in _WITH_IMAGES),
)
"""Architectures whose passes can be divided into branches."""

QUANTISATIONS = ("gptq", "awq")
"""Methods of quantisation whose matrices are read."""

PACKED = (".qweight", ".qzeros", ".g_idx")
"""How the names of a quantised matrix's parts end that hold whole numbers."""

_INDEX = "model.safetensors.index.json"
_WHOLE = "model.safetensors"
_FORMATS = {"BF16", "F16", "F32", "F64"}

_MOST_JSON = 16 * 2**20
"""Bytes of a JSON file. The index of the largest supported model has a quarter of that."""


def read_config(folder: Path) -> dict[str, Any]:
    """Return a model folder's configuration; of a model that sees, the part that reads text.

    Raises:
        LoadError: there is none, it cannot be read, or it is of an architecture or quantised in a
            way that is not supported.

    """
    path = folder / "config.json"
    if not folder.is_dir():
        raise LoadError(f"{folder}: there is no such model folder")
    if not path.is_file():
        raise LoadError(f"{folder}: has no config.json, so it is not a model folder")
    config = read_json(path)
    kind = config.get("model_type")
    if kind not in SUPPORTED:
        raise LoadError(
            f"{folder}: the model_type {reprlib.repr(kind)} in its config.json is not supported; "
            f"supported are {', '.join(SUPPORTED)}"
        )
    if kind in _WITH_IMAGES:
        text = config.get("text_config")
        if not isinstance(text, Mapping):
            raise LoadError(f"{path}: does not state its text_config: fetch it again")
        config = {**config, **text, "model_type": f"{kind}_text"}
    return _with_quantisation(folder, config)


def check(folder: Path) -> dict[str, Any]:
    """Return the configuration of a folder that holds a whole model.

    Raises:
        LoadError: something is missing, damaged or not supported.

    """
    config = read_config(folder)
    tokenizer = "qwen.tiktoken" if config["model_type"] == FIRST_GENERATION else "tokenizer.json"
    if not (folder / tokenizer).is_file():
        raise LoadError(f"{folder}: has no {tokenizer}: fetch that file too")
    _check_quantisation(folder, config, placement(folder))
    return config


def placement(folder: Path) -> dict[str, list[str]]:
    """Return the names of the tensors in each file of weights, once all are known to be there.

    Raises:
        LoadError: something is missing, damaged, or in a number format that is not supported.

    """
    index = folder / _INDEX
    if index.is_file():
        return _check_shards(folder, read_json(index))
    if (folder / _WHOLE).is_file():
        return {_WHOLE: sorted(_names(folder / _WHOLE))}
    raise _no_weights(folder)


@contextmanager
def weights_alone(folder: Path) -> Iterator[Path]:
    """Give a folder that holds a model's weights, by links, and nothing else.

    Beside weights, Transformers acts upon adapters, settings for generating and more that it
    finds; and it takes files that the index does not name, and that were not looked through.
    """
    placed = placement(folder)
    with tempfile.TemporaryDirectory(prefix="tagger-") as name:
        weights = Path(name)
        if list(placed) == [_WHOLE]:
            (weights / _WHOLE).symlink_to((folder / _WHOLE).absolute())
        else:
            where: dict[str, str] = {}
            for number, (shard, tensors) in enumerate(placed.items(), 1):
                # Names of our own, since some have a meaning to Transformers.
                link = f"model-{number:05}.safetensors"
                (weights / link).symlink_to((folder / shard).absolute())
                where |= dict.fromkeys(tensors, link)
            index = {"metadata": {}, "weight_map": where}
            (weights / _INDEX).write_text(json.dumps(index), encoding="utf-8")
        yield weights


def files(folder: Path) -> list[Path]:
    """Return the files of weights."""
    return sorted(path for path in folder.glob("*.safetensors") if path.is_file())


def read_ahead(folder: Path) -> None:
    """Have the system read the weights from disk while Python still imports what loads them."""
    if hasattr(os, "posix_fadvise"):
        for path in files(folder):
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def _with_quantisation(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration with what is said elsewhere of how its weights are quantised."""
    apart = folder / "quantize_config.json"  # of the first versions of AutoGPTQ
    if not config.get("quantization_config") and apart.exists():
        config = {**config, "quantization_config": {"quant_method": "gptq", **read_json(apart)}}
    stated = config.get("quantization_config")
    method = stated.get("quant_method") if isinstance(stated, Mapping) else stated
    if stated and method not in QUANTISATIONS:
        raise LoadError(
            f"{folder}: its quant_method {reprlib.repr(method)} is not supported; supported are "
            f"{' and '.join(QUANTISATIONS)}: use the unquantised model, or run this one behind a "
            "server, and use that as the endpoint"
        )
    return config


def _check_quantisation(
    folder: Path, config: Mapping[str, Any], placed: Mapping[str, list[str]]
) -> None:
    """Refuse weights of which the configuration says that they are what they are not."""
    packed = any(name.endswith(PACKED) for names in placed.values() for name in names)
    if packed and not config.get("quantization_config"):
        raise LoadError(
            f"{folder}: its weights are quantised, and its config.json has no quantization_config: "
            "fetch that file again, and quantize_config.json if there is one"
        )
    if config.get("quantization_config") and not packed:
        raise LoadError(
            f"{folder}: its config.json has a quantization_config, and none of its weights is "
            "quantised: fetch them again or, if they were converted, remove that key"
        )


def _check_shards(folder: Path, index: dict[str, Any]) -> dict[str, list[str]]:
    """Compare an index with the shards that it names; return what it places in each."""
    placed = index.get("weight_map")
    if (
        not isinstance(placed, Mapping)
        or not isinstance(index.get("metadata"), Mapping)
        or not all(isinstance(name, str) for name in placed.values())
    ):
        raise LoadError(f"{folder / _INDEX}: is not an index of weights: fetch it again")
    promised: dict[str, list[str]] = defaultdict(list)
    for tensor, shard in placed.items():
        promised[shard].append(tensor)
    here = {path.name: path for path in folder.iterdir()}
    for shard, tensors in sorted(promised.items()):
        path = here.get(shard)
        if Path(shard).name != shard or (path and path.exists() and not path.is_file()):
            raise LoadError(
                f"{folder / _INDEX}: names {reprlib.repr(shard)}, which is not in this folder"
            )
        if not path or not path.is_file():
            raise LoadError(
                f"{folder}: the weights in {_shortened(shard)} are missing: fetch that file, which "
                f"{_INDEX} names"
            )
        if lacking := set(tensors) - _names(path):
            raise LoadError(
                f"{path}: lacks {_shortened(min(lacking))}, which {_INDEX} says is there: the "
                "index and the weights do not belong to the same model"
            )
    return dict(sorted(promised.items()))


def _names(path: Path) -> set[str]:
    """Return the names of a file's tensors, whose length is what the header says."""
    try:
        with safe_open(path, framework="pt") as file:
            formats = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise LoadError(f"{path}: is cut short or damaged: {reason[:200]}") from error
    for name, number_format in formats.items():
        whole = number_format == "I32" and name.endswith(PACKED)
        if number_format not in _FORMATS and not whole:
            raise LoadError(
                f"{path}: {_shortened(name)} is stored as {number_format}, which is not supported: "
                "use the unquantised model"
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


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file of a model's folder.

    Raises:
        LoadError: there is none, or it is larger than any real one.

    """
    try:
        content = json.loads(read_text(path, _MOST_JSON))
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise LoadError(f"{path}: cannot be read as JSON: {reason[:200]}") from error
    if not isinstance(content, dict):
        raise LoadError(f"{path}: is not a JSON object")
    return content


def read_text(path: Path, most: int) -> str:
    """Return the text in a file of a model's folder.

    Args:
        path: the file.
        most: the bytes that it may have.

    Raises:
        LoadError: it is not a regular file, too large, or not UTF-8.

    """
    try:
        check_size(path, most)
        with path.open("rb") as file:
            return file.read(most).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise LoadError(f"{path}: cannot be read: {reason[:200]}") from error


def check_size(path: Path, most: int) -> None:
    """Refuse a file that is not regular, or has too many bytes to be what it is called.

    Raises:
        LoadError: it is one.

    """
    if not path.is_file():
        raise LoadError(f"{path}: is not a file")
    if (size := path.stat().st_size) > most:
        raise LoadError(
            f"{path}: is {size / 2**20:,.0f} MiB, more than the {most // 2**20:,} MiB allowed "
            "for such a file: fetch it again"
        )


def _shortened(name: str) -> str:
    return name if len(name) <= 200 else name[:200] + "…"
