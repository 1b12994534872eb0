"""From a model's name to a language model in memory.

A name is one of the catalogue's, a folder in Hugging Face's layout, or an id on the Hub. All
three end as a folder of safetensors, which Transformers' own classes load. What else lies in a
folder is data to this program: it chooses no class, no kernel and no number format, and code that
comes with a model never runs.
"""

import hashlib
import logging
import re
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

from tagger.errors import (
    ModelMissingError,
    UnknownModelError,
)
from tagger.models import checkpoint, stdout, weights
from tagger.models.chat_files import check_tokenizer, is_trained_on_chats, load_tokenizer
from tagger.models.fetch import store
from tagger.models.fetch.catalogue import CatalogueEntry, catalogue, entry
from tagger.models.fetch.pull import pull
from tagger.models.language import LanguageModel
from tagger.models.plan import check_room, free, plan
from tagger.models.processor import Processor
from tagger.models.shape import native
from tagger.models.tokenizer import ChatTokenizer
from tagger.types import DEFAULT_MODEL, Progress, no_progress

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "merges.txt"]

_PIECE = 64 * 1024
_PIECES = 256

log = logging.getLogger(__name__)


@stdout.kept_for_results()
def load(
    name: str = DEFAULT_MODEL,
    *,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
    offline: bool = False,
    progress: Progress = no_progress,
    lazy: bool = False,
) -> LanguageModel:
    """Load a chat model, fetching it first if it has to be.

    Args:
        name: a name of the catalogue, a folder, or a Hub id such as `Qwen/Qwen2.5-7B-Instruct`.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; auto takes a GPU if there is one, and
            several where one is too small.
        dtype: `bfloat16`, `float16`, `float32`, or `auto`: bfloat16 where the processor has
            instructions for it, else float32.
        threads: processor threads, for the whole process; by default PyTorch's own choice.
        offline: never touch the network.
        progress: hears how far a fetch is.
        lazy: read the weights when they are first needed, and raise then what is wrong with them.
            They may never be: tags that follow from what the model said before take only its
            tokenizer.

    Raises:
        UnknownModelError: no model goes by this name.
        ModelMissingError: it is not here, and `offline` forbids fetching it.
        FetchError: it could not be fetched.
        LoadError: its files cannot be used.
        OutOfMemoryError: it would not fit.
        DeviceError: the processor asked for is not there.

    """
    processor = Processor.choose(device, dtype)
    if threads is not None:
        torch.set_num_threads(threads)
    folder = locate(name, offline=offline, progress=progress)
    stated = checkpoint.check(folder)
    if "auto_map" in stated:
        log.info("%s brings code of its own, which is not run", folder)
    config = native(stated)
    transformers.utils.logging.set_verbosity_error()
    tokenizer = load_tokenizer(folder, stated)
    check_tokenizer(folder, config, tokenizer)
    if not is_trained_on_chats(folder, stated, tokenizer):
        log.warning(
            "%s looks like a base model without chat training, whose tags are poor: use the "
            "Chat or Instruct model",
            name,
        )

    @stdout.kept_for_results()
    def read_weights() -> Any:
        target = processor.device
        needed = plan(config, processor.dtype)
        spread = device == "auto" and target.type == "cuda" and needed.total > free(target)
        check_room(name, needed, processor.dtype, target, free(target, spread=spread))
        checkpoint.read_ahead(folder)
        placed = weights.placement(target, spread=spread)
        return weights.read(folder, stated, config, placed, processor.dtype)

    model = LanguageModel(
        read_weights, config, ChatTokenizer(tokenizer), name, _weights(folder), processor
    )
    if not lazy:
        model.load()
    return model


@stdout.kept_for_results()
def tokenizer_of(name: str, *, offline: bool = False, progress: Progress = no_progress) -> Any:
    """Return a model's tokenizer alone; raises as `load`."""
    folder = locate(name, offline=offline, progress=progress)
    transformers.utils.logging.set_verbosity_error()
    return load_tokenizer(folder, checkpoint.read_config(folder))


def locate(name: str, *, offline: bool = False, progress: Progress = no_progress) -> Path:
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


def _catalogued(known: CatalogueEntry, *, offline: bool, progress: Progress) -> Path:
    if store.is_complete(known):
        return store.folder(known)
    if offline:
        raise ModelMissingError(
            f"the model {known.name} is not on this machine and cannot be fetched offline: "
            f"run `tagger models pull {known.name}` first"
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
        raise UnknownModelError(
            f"{repository}: the Hub has no such model, or it is private or gated"
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        absent = f"{repository} is neither a folder nor in the local Hub cache"
        raise ModelMissingError(
            f"{absent}: fetch it without --offline, or elsewhere and pass its folder"
            if offline
            else f"{absent}, and could not be fetched: check the name and the network, or fetch it "
            "elsewhere and pass its folder"
        ) from error


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
