"""Make `matrices.safetensors`: matrices packed by the packages that publish such models.

Run in an environment of its own that has torch, transformers, safetensors, and, without what they
depend on, `auto-gptq==0.7.1`, `autoawq==0.2.9` and `auto-round==0.16.1` (which needs
`py-cpuinfo`). Of each package only the modules that pack and unpack are loaded: they are plain
PyTorch, while the packages as a whole no longer run with today's Transformers.

What a package unpacks is its layer's output for the unit matrix.
"""

import importlib.util
import sys
from importlib import import_module, metadata
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import torch
from safetensors.torch import save_file

INPUTS, OUTPUTS = 64, 32
PARTS = ("qweight", "qzeros", "scales", "g_idx")


def module(package: str, path: str) -> Any:
    """Load one module of an installed package, and not the package."""
    files = metadata.files(package) or ()
    (found,) = [file for file in files if str(file) == path]
    spec = importlib.util.spec_from_file_location(Path(path).stem, str(found.locate()))
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def linear() -> torch.nn.Linear:
    layer = torch.nn.Linear(INPUTS, OUTPUTS, bias=False).half()
    layer.weight.data = torch.randn(OUTPUTS, INPUTS).half() / 8
    return layer


def grid(
    layer: torch.nn.Linear, bits: int, groups: torch.Tensor, *, symmetric: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return [outputs, groups] scales and zeros."""
    scales, zeros = [], []
    for group in range(int(groups.max()) + 1):
        weights = layer.weight.data[:, groups == group].float()
        low, high = weights.amin(1).clamp(max=-0.01), weights.amax(1).clamp(min=0.01)
        if symmetric:
            high = torch.maximum(-low, high)
            low = -high
        scale = (high - low) / (2**bits - 1)
        scales.append(scale)
        zeros.append(
            torch.full_like(scale, 2 ** (bits - 1)) if symmetric else (-low / scale).round()
        )
    return torch.stack(scales, 1).half(), torch.stack(zeros, 1).clamp(1, 2**bits - 1)


def by_auto_gptq(bits: int, size: int, *, symmetric: bool, scattered: bool = False) -> Any:
    packed = module("auto-gptq", "auto_gptq/nn_modules/qlinear/qlinear_cuda.py")
    layer, quantised = linear(), packed.QuantLinear(bits, size, INPUTS, OUTPUTS, False)
    groups = torch.arange(INPUTS, dtype=torch.int32) // (INPUTS if size == -1 else size)
    if scattered:  # as by act-order
        groups = groups[torch.randperm(INPUTS)]
    scales, zeros = grid(layer, bits, groups, symmetric=symmetric)
    quantised.pack(layer, scales, zeros, groups)
    return quantised


def by_auto_round(bits: int, size: int) -> Any:
    packed = import_module("auto_round_extension.torch.qlinear_torch")
    layer, quantised = linear(), packed.QuantLinear(bits, size, INPUTS, OUTPUTS, False)
    groups = torch.arange(INPUTS) // size
    scales, zeros = grid(layer, bits, groups, symmetric=False)
    quantised.device = "cpu"
    quantised.pack(layer, scales, zeros, device="cpu")
    return quantised


def by_autoawq(size: int) -> Any:
    packed = module("autoawq", "awq/modules/linear/gemm.py")
    layer = linear()
    scales, zeros = grid(layer, 4, torch.arange(INPUTS) // size, symmetric=False)
    return packed.WQLinear_GEMM.from_linear(
        layer, 4, size, scales=scales.T.contiguous(), zeros=zeros.T.contiguous()
    )


def main() -> None:
    torch.manual_seed(0)
    sys.modules["datasets"] = MagicMock()  # only for what is not used here
    made = {
        "gptq-4-32": by_auto_gptq(4, 32, symmetric=True),
        "gptq-8-32": by_auto_gptq(8, 32, symmetric=True),
        "gptq-4-16-asymmetric": by_auto_gptq(4, 16, symmetric=False),
        "gptq-8-16-asymmetric": by_auto_gptq(8, 16, symmetric=False),
        "gptq-4--1-asymmetric": by_auto_gptq(4, -1, symmetric=False),
        "gptq-4-16-scattered": by_auto_gptq(4, 16, symmetric=False, scattered=True),
        "gptq_v2-4-16": by_auto_round(4, 16),
        "gptq_v2-8-32": by_auto_round(8, 32),
        "awq-4-16": by_autoawq(16),
    }
    tensors: dict[str, torch.Tensor] = {}
    for name, layer in made.items():
        parts = {part: getattr(layer, part) for part in PARTS if hasattr(layer, part)}
        tensors |= {f"{name}.{part}": tensor for part, tensor in parts.items()}
        unpacked = layer(torch.eye(INPUTS, dtype=torch.float16))
        tensors[f"{name}.unpacked"] = unpacked.reshape(INPUTS, OUTPUTS).T
    save_file(
        {name: tensor.detach().contiguous() for name, tensor in tensors.items()},
        Path(__file__).with_name("matrices.safetensors"),
    )


if __name__ == "__main__":
    main()
