"""From a model's name to a language model in memory.

A name is one of the catalogue's, a folder in Hugging Face's layout, or an id on the Hub. All
three end as a folder of safetensors, which Transformers' own classes load. What else lies in a
folder is data to this program: it chooses no class, no kernel and no number format, and code that
comes with a model never runs.
"""

import hashlib
import logging
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, GenerationConfig

from tagger._util.files import reporting
from tagger.errors import (
    LoadError,
    ModelMissingError,
    OutputError,
    TaggerError,
    UnknownModelError,
    UsageError,
)
from tagger.models import checkpoint, packed, stdout
from tagger.models.chat_files import is_trained_on_chats, load_tokenizer
from tagger.models.fetch import store
from tagger.models.fetch.catalogue import CatalogueEntry, catalogue, entry
from tagger.models.fetch.pull import pull
from tagger.models.language import LanguageModel
from tagger.models.plan import (
    ATTENTION,
    check_room,
    free,
    plan,
)
from tagger.models.processor import Processor
from tagger.models.shape import native
from tagger.models.shape import packing as packing_of
from tagger.models.tokenizer import ChatTokenizer
from tagger.types import DEFAULT_MODEL, Progress, no_progress

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "merges.txt"]

_WEIGHTS_SHARE = 0.9
"""Of a GPU's free memory, where a model is spread over several; the rest is for READMEs."""

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
    _check_tokenizer(folder, config, tokenizer)
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
        return _read(folder, stated, config, _placement(target, spread=spread), processor.dtype)

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


@stdout.kept_for_results()
def convert(folder: Path, target: Path) -> None:
    """Write a first-generation model as a folder that Transformers loads as Qwen2.

    Args:
        folder: the model.
        target: where to; it appears in one step, whole.

    Raises:
        UsageError: the folder holds no first-generation model, or the target is taken.
        LoadError: the model's files cannot be used.
        OutOfMemoryError: it would not fit into memory.
        OutputError: the target cannot be written.

    """
    config = checkpoint.check(folder)
    if config["model_type"] != checkpoint.FIRST_GENERATION:
        raise UsageError(f"{folder}: is not a first-generation model: it can be used as it is")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target}: already exists: name a new folder")
    from tagger.models import qwen1 as first_generation

    shape = native(config)
    dtype = getattr(torch, str(shape.dtype).removeprefix("torch."))
    cpu = torch.device("cpu")
    check_room(str(folder), plan(shape, dtype), dtype, cpu, free(cpu))
    network = _read(folder, config, shape, _placement(cpu, spread=False), dtype)
    tokenizer = load_tokenizer(folder, config)
    _check_tokenizer(folder, shape, tokenizer)
    with reporting(str(target)):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as staging:
            part = Path(staging, target.name)
            part.mkdir()
            try:
                first_generation.convert(network, tokenizer, part)
            except TaggerError:
                raise
            except Exception as error:  # how Rust's libraries tell of a full disk
                raise OutputError(f"cannot write {target}: {error}") from error
            part.replace(target)


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


def _placement(device: torch.device, *, spread: bool) -> dict[str, Any]:
    """Return where the layers go: to one device, or by Accelerate to all GPUs and only them."""
    if not spread:
        return {"device_map": device}
    gpus = range(torch.cuda.device_count())
    room = {gpu: int(_WEIGHTS_SHARE * free(torch.device("cuda", gpu))) for gpu in gpus}
    return {"device_map": "auto", "max_memory": room}


def _read(
    folder: Path,
    stated: Mapping[str, Any],
    config: Any,
    placement: dict[str, Any],
    dtype: torch.dtype,
) -> Any:
    """Read weights by Transformers' own classes."""
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    try:
        with _source(folder, stated, config, dtype) as source:
            network, about = _class(stated, config).from_pretrained(
                **source,
                config=config,
                # Only to keep Transformers from looking for one: nothing is generated by it.
                generation_config=GenerationConfig(),
                attn_implementation=ATTENTION,
                dtype=dtype,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # told below, in words
                local_files_only=True,
                trust_remote_code=False,
                **placement,
            )
    except TaggerError:
        raise
    except Exception as error:  # Transformers raises anything from KeyError to RuntimeError
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise LoadError(f"{folder}: cannot be loaded: {reason[:300]}") from error
    if missing := sorted(about["missing_keys"]):
        raise LoadError(f"{folder}: its weights lack {missing[0]}, which its config.json asks for")
    if mismatched := sorted(about["mismatched_keys"]):
        name, there, wanted = mismatched[0]
        raise LoadError(
            f"{folder}: its weights do not fit its config.json: {name} has the shape "
            f"{tuple(there)}, and {tuple(wanted)} is expected"
        )
    return network


@contextmanager
def _source(
    folder: Path, stated: Mapping[str, Any], config: Any, dtype: torch.dtype
) -> Iterator[dict[str, Any]]:
    """Give the arguments by which Transformers finds a folder's weights."""
    packing = packing_of(stated)
    if packing is None:
        with checkpoint.weights_alone(folder) as alone:
            yield {"pretrained_model_name_or_path": alone}
    else:
        with packed.opened(folder, packing, dtype, plan(config, dtype).parameters) as weights:
            yield {"pretrained_model_name_or_path": None, "state_dict": weights}


def _class(stated: Mapping[str, Any], config: Any) -> Any:
    """Return the class that reads a folder's weights."""
    if stated["model_type"] != checkpoint.FIRST_GENERATION:
        return MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    # Here, not above: it prepares tables that other models have no use for.
    from tagger.models.qwen1 import FirstGeneration

    return FirstGeneration


def _check_tokenizer(folder: Path, config: Any, tokenizer: Any) -> None:
    """Refuse a tokenizer that cannot be the one of the weights, which have some rows to spare."""
    rows = config.vocab_size
    tokens = 1 + max(tokenizer.get_vocab().values(), default=-1)
    if not rows // 2 <= tokens <= rows:
        raise LoadError(
            f"{folder}: its tokenizer has {tokens:,} tokens and its weights are for {rows:,}: they "
            "do not belong to the same model"
        )


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
