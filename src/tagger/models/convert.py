"""A first-generation or quantised model, written once as one that plain Transformers loads."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from tagger._util.files import reporting
from tagger.errors import LoadError, OutputError, UsageError
from tagger.models import checkpoint, stdout, weights
from tagger.models.chat_files import check_tokenizer, load_tokenizer, turn_ends
from tagger.models.plan import check_room, free, plan
from tagger.models.shape import native, number_format, packing


@stdout.kept_for_results()
def convert(folder: Path, target: Path) -> None:
    """Write a first-generation or quantised model as one that plain Transformers loads.

    Args:
        folder: the model.
        target: where to; it appears in one step, whole.

    Raises:
        UsageError: the folder's model is neither, or the target is taken.
        LoadError: the model's files cannot be used.
        OutOfMemoryError: it would not fit into memory.
        OutputError: the target cannot be written.

    """
    config = checkpoint.check(folder)
    shape = native(config)
    is_first = config["model_type"] == checkpoint.FIRST_GENERATION
    if not is_first and packing(config) is None:
        raise UsageError(
            f"{folder}: is neither a first-generation nor a quantised model: it can be used as it "
            "is"
        )
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target}: already exists: name a new folder")
    dtype = number_format(config)
    cpu = torch.device("cpu")
    check_room(str(folder), plan(shape, dtype), dtype, cpu, free(cpu))
    network = weights.read(folder, config, shape, weights.placement(cpu, spread=False), dtype)
    tokenizer = load_tokenizer(folder, config)
    check_tokenizer(folder, shape, tokenizer)
    if is_first:
        from tagger.models import qwen1 as first_generation

        first_generation.as_qwen2(network, tokenizer)
    else:
        network.generation_config = GenerationConfig(eos_token_id=turn_ends(folder, config))
    with reporting(str(target)):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as staging:
            part = Path(staging, target.name)
            part.mkdir()
            _write(network, tokenizer, part, target, as_loaded=is_first)
            part.replace(target)


def _write(network: Any, tokenizer: Any, part: Path, target: Path, *, as_loaded: bool) -> None:
    """Write a model to an empty folder, by the names that it has in memory or in published files.

    Raises:
        LoadError: a weight is not a number.
        OutputError: the folder cannot be written.

    """
    for name, weight in network.named_parameters():
        if not weight.isfinite().all():
            raise LoadError(f"{name} holds something that is not a number: the weights are damaged")
    try:
        network.save_pretrained(part, save_original_format=not as_loaded, max_shard_size="2GB")
        tokenizer.save_pretrained(part)
    except Exception as error:  # how Rust's libraries tell of a full disk
        raise OutputError(f"cannot write {target}: {error}") from error
    for path in part.glob("*.safetensors"):
        # safetensors writes for the owner alone.
        shutil.copymode(part / "config.json", path)
