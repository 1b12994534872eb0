"""From a verified GGUF file to what Transformers loads in a second: safetensors, config, tokenizer.

A tensor at a time goes from its quantised form to bfloat16, so that memory holds one shard and
never the whole model in float32, as Transformers' own GGUF loading does. `fetch` runs this module
as a program of its own (``python -m tagger.models.fetch.gguf SOURCE TARGET``): its memory goes back
when it ends, and a native parser that crashes takes nothing else with it.

The file is trusted here. Whoever calls has compared its digest with the published one: a crafted
GGUF can hang the parser.
"""

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from tagger.errors import LoadError, TaggerError

SHARD_BYTES = 2**30
# Fits the processor's cache: three times as fast as blocks of 2**24.
BLOCK_ELEMENTS = 2**20
_EMBEDDING, _HEAD = "model.embed_tokens.weight", "lm_head.weight"


def convert(source: Path, target: Path, report: Callable[[int, int], None]) -> None:
    """Write the model in the GGUF file `source` to the existing folder `target`, in bfloat16.

    Args:
        source: a Qwen2 model.
        target: an empty folder.
        report: hears the bytes of weights made so far, and in all.

    Raises:
        LoadError: the file's tensors are not exactly those of the architecture.

    """
    # Copy on write: nothing writes, but PyTorch warns of arrays that could not be written to.
    reader = gguf.GGUFReader(source, mode="c")
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    config = _config(reader, tied=_is_one_matrix(tensors))
    config.save_pretrained(target)
    _save_tokenizer(source, target)
    with torch.device("meta"):
        wanted = Qwen2ForCausalLM(config).to(torch.bfloat16).state_dict()
    names = _names(wanted, tensors, config.num_hidden_layers, tied=config.tie_word_embeddings)
    _save_weights({name: wanted[name] for name in names}, names, tensors, target, report)


def _config(reader: Any, *, tied: bool) -> Qwen2Config:
    """Read the model's shape off the metadata.

    Transformers can do this too, by parsing the whole file again: ten seconds for a dozen numbers.
    """

    def value(key: str) -> Any:
        field = reader.get_field(key)
        if field is None:
            raise LoadError(f"the GGUF file does not state its {key}")
        return field.contents()

    if (architecture := value("general.architecture")) != "qwen2":
        # Others permute rows in GGUF, which renaming alone would get silently wrong.
        raise LoadError(f"the GGUF file holds a {architecture} model, not a qwen2 one")
    return Qwen2Config(
        architectures=[Qwen2ForCausalLM.__name__],
        dtype="bfloat16",
        tie_word_embeddings=tied,
        vocab_size=len(value("tokenizer.ggml.tokens")),
        hidden_size=value("qwen2.embedding_length"),
        intermediate_size=value("qwen2.feed_forward_length"),
        num_hidden_layers=value("qwen2.block_count"),
        num_attention_heads=value("qwen2.attention.head_count"),
        num_key_value_heads=value("qwen2.attention.head_count_kv"),
        max_position_embeddings=value("qwen2.context_length"),
        rms_norm_eps=value("qwen2.attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": value("qwen2.rope.freq_base")},
        bos_token_id=value("tokenizer.ggml.bos_token_id"),
        eos_token_id=value("tokenizer.ggml.eos_token_id"),
        pad_token_id=value("tokenizer.ggml.padding_token_id"),
    )


def _is_one_matrix(tensors: Mapping[str, Any]) -> bool:
    """Say whether embedding and output are one matrix in the model that was quantised.

    Qwen ties the two in its small models, and the published files hold both all the same, the
    output in the finer quantisation. Two quantisations of one matrix correlate at 0.99 and above;
    matrices that were trained apart come nowhere near.
    """
    if "output.weight" not in tensors:
        return True
    samples = [
        gguf.quants.dequantize(tensors[name].data[:1024], tensors[name].tensor_type).ravel()
        for name in ("token_embd.weight", "output.weight")
    ]
    return bool(np.corrcoef(*samples)[0, 1] > 0.9)


def _save_tokenizer(source: Path, target: Path) -> None:
    """Write the tokenizer and its chat template, as its class completes them.

    GGUF names no normaliser. The tokenizer's class knows its own (NFC for Qwen) and sets it on
    loading; saved again, the file says so to those who read it without the class.
    """
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(target)
    AutoTokenizer.from_pretrained(target).save_pretrained(target)


def _names(
    wanted: Mapping[str, torch.Tensor], tensors: Mapping[str, Any], layers: int, *, tied: bool
) -> dict[str, str]:
    """Map each parameter to the tensor that holds it, both sides complete."""
    table = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, layers)
    names = {name: table.get_name(name, try_suffixes=(".weight", ".bias")) for name in wanted}
    used = set(names.values())
    if tied and (head := names.pop(_HEAD)) in tensors:
        names[_EMBEDDING] = head
    _refuse("lacks", {names[name] or name for name in names if names[name] not in tensors})
    _refuse("has unknown", set(tensors) - used)
    # GGUF counts dimensions from the fastest-moving one.
    shapes = {name: tuple(int(n) for n in reversed(tensors[names[name]].shape)) for name in names}
    _refuse("has wrongly shaped", {names[n] for n in names if shapes[n] != tuple(wanted[n].shape)})
    return names


def _refuse(problem: str, tensors: set[str]) -> None:
    if tensors:
        raise LoadError(f"the GGUF file {problem} tensors: {', '.join(sorted(tensors)[:5])}")


def _save_weights(
    wanted: dict[str, torch.Tensor],
    names: Mapping[str, str],
    tensors: Mapping[str, Any],
    target: Path,
    report: Callable[[int, int], None],
) -> None:
    done, total = 0, sum(tensor.nbytes for tensor in wanted.values())
    split = split_torch_state_dict_into_shards(wanted, max_shard_size=SHARD_BYTES)
    for shard, members in split.filename_to_tensors.items():
        weights = {}
        for name in members:
            weights[name] = _bfloat16(tensors[names[name]], wanted[name].shape)
            done += weights[name].nbytes
            report(done, total)
        save_file(weights, target / shard, metadata={"format": "pt"})
        # safetensors writes for the owner alone; a cache may be shared.
        shutil.copymode(target / "config.json", target / shard)
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        (target / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def _bfloat16(tensor: Any, shape: torch.Size) -> torch.Tensor:
    """Dequantise in blocks of rows: an embedding in float32 would be a gigabyte."""
    weights = torch.empty(shape, dtype=torch.bfloat16)
    step = max(1, BLOCK_ELEMENTS // shape[1:].numel())
    for start in range(0, shape[0], step):
        block = gguf.quants.dequantize(tensor.data[start : start + step], tensor.tensor_type)
        weights[start : start + step] = torch.from_numpy(block)
    return weights


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    try:
        convert(
            source, target, lambda done, total: print(f"Progress {done} of {total}", flush=True)
        )
    except TaggerError as error:
        sys.exit(str(error))
