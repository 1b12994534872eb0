"""What a model remembers of a prompt's fixed parts, kept from one process to the next.

Reading the list of tags takes a processor seconds for a hundred of them and minutes for
thousands; reading what is kept of it from disk takes none.
"""

import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from tagger.models.language import Memory
from tagger.paths import cache_home

KEPT = 8
"""Files that are kept; those of a thousand tags take 80 MB (0.5B) to 170 MB (1.5B)."""

log = logging.getLogger(__name__)


def kept(
    identity: str, count: int, device: torch.device, read: Callable[[], Sequence[Memory]]
) -> list[Memory]:
    """Return memories from the cache folder, or read them and keep them there.

    A damaged file is read anew, and a folder that cannot be written is only warned of. The
    oldest files beyond `KEPT` are removed.

    Args:
        identity: a digest of everything that `read` depends on.
        count: the number of memories.
        device: where they are wanted.
        read: has the model read them.

    """
    path = cache_home() / "lists" / f"{identity[:40]}.safetensors"
    known = _load(path, count, device)
    if known is None:
        known = list(read())
        try:
            _save(path, known)
        except (OSError, SafetensorError) as error:
            log.warning("the list of tags cannot be kept for the next run: %s", error)
    return known


def _load(path: Path, count: int, device: torch.device) -> list[Memory] | None:
    """Return what a file holds, or nothing if there is none or it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return [
                Memory(
                    tuple(
                        (
                            file.get_tensor(f"{memory}.{layer}.keys").to(device),
                            file.get_tensor(f"{memory}.{layer}.values").to(device),
                        )
                        for layer in range(int(file.metadata()["layers"]))
                    ),
                    file.get_tensor(f"{memory}.present"),
                    file.get_tensor(f"{memory}.ends"),
                )
                for memory in range(count)
            ]
    except (OSError, SafetensorError, ValueError, TypeError, KeyError):
        return None


def _save(path: Path, memories: Sequence[Memory]) -> None:
    tensors = {}
    for number, memory in enumerate(memories):
        for layer, (keys, values) in enumerate(memory.layers):
            tensors[f"{number}.{layer}.keys"] = keys.contiguous()
            tensors[f"{number}.{layer}.values"] = values.contiguous()
        tensors[f"{number}.present"] = memory.present
        tensors[f"{number}.ends"] = memory.ends
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside its place and then moved there: another process may read or write the same.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        part = Path(folder, path.name)
        save_file(tensors, part, {"layers": str(len(memories[0].layers))})
        part.replace(path)
    files = sorted(path.parent.glob("*.safetensors"), key=lambda file: file.stat().st_mtime)
    for old in files[:-KEPT]:
        old.unlink(missing_ok=True)
