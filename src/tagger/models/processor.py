"""Where a model runs, and in which number format."""

from dataclasses import dataclass
from typing import Literal

import torch
import transformers

from tagger._util.hashing import digest
from tagger.errors import DeviceError

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


@dataclass(frozen=True)
class Processor:
    """A CPU or GPU, and the number format of the weights on it.

    Attributes:
        device: the device that input goes to.
        dtype: the number format.
        quantize: the one in which weights of linear layers are held, where it is another.

    """

    device: torch.device
    dtype: torch.dtype
    quantize: Literal["int8"] | None = None

    @classmethod
    def choose(
        cls, device: str = "auto", dtype: str = "auto", quantize: Literal["int8"] | None = None
    ) -> "Processor":
        """Return what these options name; see `load`.

        Raises:
            DeviceError: this machine has no such device.

        """
        target = _device(device)
        return cls(target, _dtype(dtype, target), quantize)

    @property
    def machine(self) -> str:
        """A digest of what the output depends on beside the weights."""
        processor = (
            torch.cuda.get_device_name(self.device)
            if self.device.type == "cuda"
            else (torch.backends.cpu.get_cpu_capability(), torch.get_num_threads())
        )
        versions = (torch.__version__, transformers.__version__)
        quantized = [self.quantize] if self.quantize else []
        return digest([str(self.dtype), self.device.type, processor, *versions, *quantized])


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
                f"{name}: this machine has {count} usable CUDA GPUs; use the device cpu"
            )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("mps: this machine has no Apple GPU; use the device cpu")
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
