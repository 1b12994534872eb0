"""Tiny quantised models: the matrices of a folder, packed number by number with NumPy.

The unquantised model that such a folder stands for is returned, too.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

WEIGHTS = "model.safetensors"
_QUANTISED = re.compile(
    r"layers\.\d+\..*(proj|experts\.\d+\.\w+)\.weight|transformer\.h\.\d+\..*\.weight"
)


@dataclass(frozen=True)
class Scheme:
    """How matrices are quantised, by the names in a `quantization_config`."""

    quant_method: str = "gptq"
    bits: int = 4
    group_size: int = 8
    desc_act: bool = False
    checkpoint_format: str = "gptq"

    @property
    def config(self) -> dict[str, Any]:
        shared = {"quant_method": self.quant_method, "bits": self.bits}
        shared["group_size"] = self.group_size
        if self.quant_method == "awq":
            return shared | {"version": "gemm", "zero_point": True}
        stated = shared | {"desc_act": self.desc_act, "sym": False}
        if self.checkpoint_format != "gptq":
            stated["checkpoint_format"] = self.checkpoint_format
        return stated


def pack(
    weight: torch.Tensor, scheme: Scheme, seed: int = 0
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Return the parts of a matrix [outputs, inputs], and what they stand for."""
    random, most = np.random.default_rng(seed), 2**scheme.bits - 1
    matrix = weight.float().numpy().T
    inputs, outputs = matrix.shape
    groups = np.arange(inputs) // (inputs if scheme.group_size == -1 else scheme.group_size)
    if scheme.desc_act:
        groups = random.permutation(groups)
    scales = np.zeros((groups.max() + 1, outputs), np.float16)
    for group in range(len(scales)):
        scales[group] = np.abs(matrix[groups == group]).max(axis=0) * 2 / most + 1e-3
    zeros = random.integers(most // 2, most // 2 + 3, scales.shape)
    numbers = np.rint(matrix / scales[groups] + zeros[groups]).clip(0, most).astype(np.int64)
    stands_for = scales[groups].astype(np.float32) * (numbers - zeros[groups])
    awq, old = scheme.quant_method == "awq", scheme.checkpoint_format == "gptq"
    parts = {
        "qweight": _words(numbers, scheme, axis=1 if awq else 0),
        "qzeros": _words(zeros - (old and not awq), scheme, axis=1),
        "scales": torch.from_numpy(scales),
    }
    if not awq:
        parts["g_idx"] = torch.from_numpy(groups.astype(np.int32))
    return parts, torch.from_numpy(np.ascontiguousarray(stands_for.T))


def _words(numbers: Any, scheme: Scheme, axis: int) -> torch.Tensor:
    """Put numbers that lie along an axis into 32 bits each."""
    each = 32 // scheme.bits
    order = (0, 2, 4, 6, 1, 3, 5, 7) if scheme.quant_method == "awq" else tuple(range(each))
    along = np.moveaxis(numbers.astype(np.uint64), axis, 0)
    along = np.pad(along, ((0, -len(along) % each), (0, 0)))
    words = np.zeros((len(along) // each, along.shape[1]), np.uint64)
    for place, number in enumerate(order):
        words |= along[number::each] << np.uint64(scheme.bits * place)
    return torch.from_numpy(
        np.ascontiguousarray(np.moveaxis(words.astype(np.uint32).view(np.int32), 0, axis))
    )


def quantise(folder: Path, scheme: Scheme) -> dict[str, torch.Tensor]:
    """Quantise a model's layers in its folder; return the weights that it has from now on."""
    unquantised: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        stored: dict[str, torch.Tensor] = {}
        for name, weight in load_file(path).items():
            unquantised[name] = weight
            if weight.dim() == 2 and _QUANTISED.search(name):
                layer = name.removesuffix(".weight")
                parts, unquantised[name] = pack(weight, scheme, seed=len(stored))
                stored |= {f"{layer}.{part}": tensor for part, tensor in parts.items()}
            else:
                stored[name] = weight
        save_file(stored, path, {"format": "pt"})
        _index(folder, path.name, stored)
    change(folder / "config.json", quantization_config=scheme.config, dtype="float16")
    return unquantised


def _index(folder: Path, shard: str, stored: Mapping[str, torch.Tensor]) -> None:
    path = folder / "model.safetensors.index.json"
    if path.exists():
        placed = json.loads(path.read_text())["weight_map"]
        kept = {name: file for name, file in placed.items() if file != shard}
        change(path, weight_map=kept | dict.fromkeys(stored, shard))


def change(path: Path, **values: object) -> None:
    """Set keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
