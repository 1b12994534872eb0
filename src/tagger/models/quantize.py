"""The weights of linear layers in eight bits, for machines that are short of memory.

torchao holds each row of a weight matrix, which is one output, as whole numbers from -128 to 127
and a scale in float32. Whenever a layer is used, its matrix is widened to the number format of what
comes in, and the product multiplied by the scales: processors that run tagger have no product of
eight bits with anything wider that would be faster. So memory is saved, and no time.

Transformers quantises a matrix as soon as it has been read, so that memory holds the quantised
model and one matrix as it was.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tagger._util.extras import need
from tagger.errors import LoadError
from tagger.models.shape import packing


def check(folder: Path, stated: Mapping[str, Any], config: Any) -> None:
    """Make sure that a model can be quantised.

    Args:
        folder: the model.
        stated: its configuration, as `checkpoint.check` returns it.
        config: the Transformers configuration of that.

    Raises:
        LoadError: it is quantised already, or is a mixture of experts.

    """
    if (how := packing(stated)) is not None:
        raise LoadError(
            f"{folder}: is already quantised ({how.quant_method}, {how.bits} bits) and cannot be "
            "quantised to int8: use it as it is, or the unquantised model"
        )
    if getattr(config, "num_experts", None):
        # Experts are stacked in tensors that are no linear layers.
        raise LoadError(
            f"{folder}: is a mixture of experts, which cannot be quantised to int8: use it as it "
            "is, or a dense model"
        )


def settings() -> Any:
    """Return what has Transformers quantise. Raises `MissingPackageError`."""
    need("quantize")
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import TorchAoConfig

    # Otherwise torchao changes settings of PyTorch's compiler, which is not used.
    return TorchAoConfig(Int8WeightOnlyConfig(set_inductor_config=False))


@dataclass(frozen=True)
class Sizes:
    """The bytes of a network that is quantised.

    Attributes:
        quantized: the weights of linear layers, with their scales.
        others: all other weights.
        widened: what the largest of these layers takes while it is used.

    """

    quantized: int
    others: int
    widened: int

    @classmethod
    def of(cls, network: Any, dtype: torch.dtype) -> "Sizes":
        """Return the sizes of a network.

        Args:
            network: as it is before; it may be on the meta device.
            dtype: the number format of what is not quantised, as the embeddings.

        """
        layers = [
            each
            for each in network.modules()
            if isinstance(each, nn.Linear) and each is not network.get_output_embeddings()
        ]
        numbers = [each.weight.numel() for each in layers]
        scales = sum(each.out_features for each in layers)
        others = sum(weight.numel() for weight in network.parameters()) - sum(numbers)
        return cls(
            sum(numbers) + scales * torch.float32.itemsize,
            others * dtype.itemsize,
            max(numbers, default=0) * dtype.itemsize,
        )
