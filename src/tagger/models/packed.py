"""Matrices quantised by GPTQ or AWQ, read as ordinary ones.

Both store small whole numbers q, and for each output and group of inputs a scale s and a zero z,
of which the weight is s · (q - z) (Frantar et al. 2022, "GPTQ"; Lin et al. 2023, "AWQ"). Several q
lie in a number of 32 bits: with GPTQ those of inputs that follow each other, the first in the
lowest bits; with AWQ those of outputs, of which every other comes first. Zeros are stored in the
same ways, by outputs, and in GPTQ's first format each is one less than it should be.

Transformers' own loading takes a matrix when its turn comes, from a dictionary of whatever can be
sliced. Only then is it read and unpacked, a block at a time, so that memory holds the unpacked
model once and of the packed one some matrices.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from tagger.errors import LoadError
from tagger.models.checkpoint import PACKED, placement
from tagger.models.shape import Packing

_WORD = 32
"""Bits of the whole numbers."""

_APART = (0, 4, 1, 5, 2, 6, 3, 7)
"""Where in a word AWQ puts each of eight outputs."""

_BLOCK = 2**18
"""Weights that are unpacked at a time: few enough to stay in a processor's cache."""


class Matrix:
    """A quantised matrix, which `[...]` unpacks as [outputs, inputs].

    Args:
        name: the name of its layer.
        parts: slices of a file: `qweight`, `qzeros`, `scales` and, if the file has it, `g_idx`.
        packing: how it is stored.
        dtype: the number format of what is unpacked.

    Raises:
        LoadError: its parts do not fit together.

    """

    def __init__(
        self, name: str, parts: Mapping[str, Any], packing: Packing, dtype: torch.dtype
    ) -> None:
        self._name, self._parts, self._packing, self._dtype = name, parts, packing, dtype
        needed = {"qweight", "qzeros", "scales"} | ({"g_idx"} if packing.desc_act else set())
        if lacking := sorted(needed - parts.keys()):
            raise LoadError(f"the weights lack {name}.{lacking[0]}: fetch them again")
        each = _WORD // packing.bits
        rows, columns = self._shape("qweight", 2)
        self._by_inputs = packing.quant_method == "gptq"
        self.inputs, self.outputs = (
            (rows * each, columns) if self._by_inputs else (rows, columns * each)
        )
        self._group = self.inputs if packing.group_size == -1 else packing.group_size
        groups = -(-self.inputs // max(1, self._group))
        self._expect("scales", (groups, self.outputs))
        self._expect("qzeros", (groups, -(-self.outputs // each)))
        if "g_idx" in parts:
            self._expect("g_idx", (self.inputs,))
            of = parts["g_idx"][...]
            if self.inputs and not 0 <= of.min() <= of.max() < groups:
                raise LoadError(
                    f"{name}.g_idx names the groups {of.min()} to {of.max()}, and there are 0 to "
                    f"{groups - 1}: the weights are damaged"
                )

    def get_shape(self) -> list[int]:
        """Return the shape of the unpacked matrix."""
        return [self.outputs, self.inputs]

    def __getitem__(self, _everything: Any) -> Tensor:
        """Return the unpacked matrix."""
        scales = self._parts["scales"][...].float().T.contiguous()
        zeros = self._zeros().float()
        groups = (
            self._parts["g_idx"][...]
            if "g_idx" in self._parts
            else torch.arange(self.inputs) // max(1, self._group)
        )
        # By outputs, as weights are wanted: to turn what is packed takes an eighth of the time.
        words = self._parts["qweight"][...].T.contiguous()
        weights = torch.empty(self.outputs, self.inputs, dtype=self._dtype)
        each = 1 if self._by_inputs else _WORD // self._packing.bits
        step = max(1, _BLOCK // max(1, self.inputs) // each)
        for start in range(0, len(words), step):
            outputs = slice(start * each, (start + step) * each)
            numbers = self._numbers(words[start : start + step], by_inputs=self._by_inputs).float()
            # Exact in float32: eleven bits of the scale by at most nine.
            numbers.sub_(zeros[outputs].index_select(1, groups))
            weights[outputs] = numbers.mul_(scales[outputs].index_select(1, groups))
        return weights

    def _zeros(self) -> Tensor:
        """Return [outputs, groups] zeros."""
        words = self._parts["qzeros"][...].T.contiguous()
        zeros = self._numbers(words, by_inputs=False)[: self.outputs]
        if self._by_inputs and self._packing.checkpoint_format != "gptq_v2":
            # What was 0 less one has all bits set.
            zeros = (zeros + 1) & self._mask
        return zeros

    def _numbers(self, words: Tensor, *, by_inputs: bool) -> Tensor:
        """Return the numbers in [outputs, inputs] words, of several inputs or outputs each."""
        shifts = torch.arange(0, _WORD, self._packing.bits, dtype=torch.int32)
        if by_inputs:
            return (words[..., None] >> shifts).bitwise_and_(self._mask).flatten(1)
        if self._packing.quant_method == "awq":
            shifts = shifts[list(_APART)]
        return (words[:, None] >> shifts[:, None]).bitwise_and_(self._mask).flatten(0, 1)

    @property
    def _mask(self) -> int:
        return (1 << self._packing.bits) - 1

    def _shape(self, part: str, dimensions: int) -> tuple[int, ...]:
        """Return the shape of a part, which is of the kind of numbers that it should be of."""
        stored = self._parts[part]
        whole = part != "scales"
        if whole != (stored.get_dtype() == "I32"):
            raise LoadError(
                f"{self._name}.{part} is stored as {stored.get_dtype()}: the weights are damaged"
            )
        shape = tuple(stored.get_shape())
        if len(shape) != dimensions:
            raise self._unfit(part, shape, f"{dimensions} dimensions are")
        return shape

    def _expect(self, part: str, expected: tuple[int, ...]) -> None:
        shape = self._shape(part, len(expected))
        if shape != expected:
            raise self._unfit(part, shape, f"{expected} is")

    def _unfit(self, part: str, shape: tuple[int, ...], expected: str) -> LoadError:
        return LoadError(
            f"{self._name}.{part} has the shape {shape}, and {expected} expected: the weights and "
            "the quantization_config do not belong to the same model"
        )


class Bias:
    """What is added after a quantised matrix, and whether `[...]` has read it.

    Args:
        stored: a slice of a file.

    """

    def __init__(self, stored: Any) -> None:
        self._stored = stored
        self._read = False

    def get_shape(self) -> list[int]:
        """Return its shape."""
        return list(self._stored.get_shape())

    def __getitem__(self, everything: Any) -> Tensor:
        """Return what is stored."""
        self._read = True
        bias: Tensor = self._stored[everything]
        return bias

    @property
    def is_lost(self) -> bool:
        """Whether it was not read, and is not zero."""
        return not self._read and bool(self._stored[...].any())


@contextmanager
def opened(
    folder: Path, packing: Packing, dtype: torch.dtype, parameters: int
) -> Iterator[dict[str, Any]]:
    """Give a quantised model's weights by their names in an unquantised one.

    Each is read, and unpacked if need be, when it is sliced.

    Args:
        folder: the model, as `checkpoint.check` has checked it.
        packing: how it is quantised.
        dtype: the number format of unpacked matrices.
        parameters: how many weights the network has.

    Raises:
        LoadError: the weights do not fit together, or one of them was not read and would have made
            a difference.

    """
    with ExitStack() as files:
        stored: dict[str, Any] = {}
        for shard, names in placement(folder).items():
            file = files.enter_context(safe_open(folder / shard, framework="pt"))
            stored |= {name: file.get_slice(name) for name in names}
        try:
            weights = _unpacked(stored, packing, dtype)
        except LoadError as error:
            raise LoadError(f"{folder}: {error}") from error
        matrices = [each for each in weights.values() if isinstance(each, Matrix)]
        # A network takes no more than it has, but what does not fit is unpacked to find that out.
        if sum(each.inputs * each.outputs for each in matrices) > 2 * parameters:
            raise LoadError(
                f"{folder}: its matrices are larger than its config.json describes: they do not "
                "belong to the same model"
            )
        yield weights
        # Some quantisers give every layer a bias, of zeros where there was none.
        for name, tensor in weights.items():
            if isinstance(tensor, Bias) and tensor.is_lost:
                raise LoadError(
                    f"{folder}: its weights have a {name} that is not zero, and the architecture "
                    "has none: use the unquantised model"
                )


def _unpacked(stored: Mapping[str, Any], packing: Packing, dtype: torch.dtype) -> dict[str, Any]:
    """Return weights in which the parts of each quantised matrix have become one."""
    layers = {name.rpartition(".")[0] for name in stored if name.endswith(PACKED)}
    parts: dict[str, dict[str, Any]] = {layer: {} for layer in sorted(layers)}
    weights: dict[str, Any] = {}
    for name, tensor in stored.items():
        layer, _, part = name.rpartition(".")
        if layer not in layers:
            weights[name] = tensor
        elif part == "bias":
            weights[name] = Bias(tensor)
        elif part == "weight":
            raise LoadError(
                f"the weights have both {name} and {layer}.qweight: their conversion was not "
                "finished, fetch them again"
            )
        else:
            parts[layer][part] = tensor
    for layer, each in parts.items():
        weights[f"{layer}.weight"] = Matrix(layer, each, packing, dtype)
    return weights
