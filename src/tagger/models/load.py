"""From a model's name to a language model in memory.

A name is one of the catalogue's, a folder in Hugging Face's layout, or an id on the Hub. All
three end as a folder of safetensors, which Transformers' own classes load; code that comes with a
model never runs.
"""

import hashlib
import json
import logging
import os
import re
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
from rich.progress import Progress
from transformers import AutoModelForCausalLM, AutoTokenizer

from tagger.defaults import DEFAULT_MODEL
from tagger.errors import (
    DeviceError,
    LoadError,
    ModelMissingError,
    TaggerError,
    UnknownModelError,
)
from tagger.models import store
from tagger.models.catalogue import CatalogueEntry, catalogue, entry
from tagger.models.fetch import pull
from tagger.models.language import LanguageModel
from tagger.models.tokenizer import ChatTokenizer

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "merges.txt"]
_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}

_PIECE = 64 * 1024
_PIECES = 256

log = logging.getLogger(__name__)


def load(
    name: str = DEFAULT_MODEL,
    *,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> LanguageModel:
    """Load a chat model, fetching it first if it has to be.

    Args:
        name: a name of the catalogue, a folder, or a Hub id such as `Qwen/Qwen2.5-7B-Instruct`.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; auto takes a GPU if there is one.
        dtype: `bfloat16`, `float16`, `float32`, or `auto`: bfloat16 where the processor has
            instructions for it, else float32.
        threads: processor threads, for the whole process; by default PyTorch's own choice.
        offline: never touch the network.
        progress: where a fetch is shown.

    Raises:
        UnknownModelError: no model goes by this name.
        ModelMissingError: it is not here, and `offline` forbids fetching it.
        FetchError: it could not be fetched.
        LoadError: its files cannot be used.
        DeviceError: the processor asked for is not there.

    """
    target = _device(device)
    number_format = _dtype(dtype, target)
    if threads is not None:
        torch.set_num_threads(threads)
    folder = locate(name, offline=offline, progress=progress)
    _check(folder)
    _read_ahead(folder)
    network, tokenizer = _read(folder, target, number_format)
    return LanguageModel(
        network, ChatTokenizer(tokenizer), name, _weights(folder), _machine(target, number_format)
    )


def locate(name: str, *, offline: bool = False, progress: Progress | None = None) -> Path:
    """Return the folder that holds a model, fetching it if need be; raises as `load`."""
    if name in catalogue():
        return _catalogued(entry(name), offline=offline, progress=progress)
    if name and Path(name).is_dir():
        return Path(name)
    if _HUB_ID.fullmatch(name):
        return _snapshot(name, offline=offline)
    if "/" in name or "\\" in name:
        raise UnknownModelError(f"{name}: no such model folder")
    return store.folder(entry(name))  # which knows what the user may have meant


def _catalogued(known: CatalogueEntry, *, offline: bool, progress: Progress | None) -> Path:
    if store.is_complete(known):
        return store.folder(known)
    if offline:
        raise ModelMissingError(
            f"the model {known.name} is not on this machine and --offline forbids fetching it: "
            f"run `tagger models pull {known.name}` first"
        )
    log.info(
        "fetching the model %s, %.1f GB, into %s",
        known.name,
        known.bytes / 1e9,
        store.folder(known),
    )
    return pull(known, progress)


def _snapshot(repository: str, *, offline: bool) -> Path:
    """Return a Hub model's folder in Hugging Face's own cache."""
    try:
        return Path(
            snapshot_download(
                repository, allow_patterns=_HUB_FILES, local_files_only=offline, etag_timeout=5
            )
        )
    except RepositoryNotFoundError as error:
        raise UnknownModelError(f"{repository}: the Hub has no such model, or keeps it") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ModelMissingError(
            f"{repository} is neither a folder nor in the Hub's cache here, and could not be "
            "fetched: check the name and the network, or fetch it elsewhere and pass its folder"
        ) from error


def _check(folder: Path) -> None:
    """Refuse a folder that cannot hold a model, in words that say why."""
    if not (folder / "config.json").is_file():
        raise LoadError(f"{folder}: has no config.json, so it is not a model folder")
    if not (folder / "tokenizer.json").is_file():
        raise LoadError(f"{folder}: has no tokenizer.json")
    if not any(folder.glob("*.safetensors")):
        raise LoadError(
            f"{folder}: has no safetensors weights; other formats can run code and are not read"
        )


def _read_ahead(folder: Path) -> None:
    """Have the system read the weights from disk while Python still imports what loads them."""
    if hasattr(os, "posix_fadvise"):
        for path in folder.glob("*.safetensors"):
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def _read(folder: Path, device: torch.device, dtype: torch.dtype) -> tuple[Any, Any]:
    """Load weights and tokenizer by Transformers' own classes."""
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        network = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, device_map=device, use_safetensors=True, **options
        )
    except TaggerError:
        raise
    except Exception as error:  # Transformers raises anything from KeyError to RuntimeError
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise LoadError(f"{folder}: cannot be loaded: {reason[:300]}") from error
    return network, tokenizer


def _device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count <= int(number or 0):
            raise DeviceError(
                f"--device {name}: this machine has {count} usable CUDA GPUs; use --device cpu"
            )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("--device mps: this machine has no Apple GPU; use --device cpu")
    return torch.device(name)


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name != "auto":
        return _DTYPES[name]
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and any(
            value for key, value in torch.cpu.get_capabilities().items() if key.endswith("bf16")
        )
    return torch.bfloat16 if native else torch.float32


def _weights(folder: Path) -> str:
    """Return a digest of a model's files.

    Of large ones pieces all over the file are read: to read all of it would take longer than
    loading it, and training changes every piece.
    """
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            for start in range(0, size, max(_PIECE, size // _PIECES)):
                file.seek(start)
                digest.update(file.read(_PIECE))
    return digest.hexdigest()


def _machine(device: torch.device, dtype: torch.dtype) -> str:
    """Return a digest of what the output depends on beside the weights."""
    processor = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else (torch.backends.cpu.get_cpu_capability(), torch.get_num_threads())
    )
    described = [str(dtype), device.type, processor, torch.__version__, transformers.__version__]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()
