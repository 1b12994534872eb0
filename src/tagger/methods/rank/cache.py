"""The KV caches of the prompt's fixed parts, saved from one process to the next.

Prefilling a list of a hundred tags takes a CPU seconds, and one of thousands minutes; loading its
KV cache from disk takes next to nothing.
"""

import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from tagger._util.paths import cache_home
from tagger.models.kv import KVCache, Pairs

MOST_FILES = 8
"""Files that stay in the cache folder; one of a thousand tags has 80 MB (0.5B) to 170 MB (1.5B)."""

log = logging.getLogger(__name__)


def cached(
    identity: str, count: int, device: torch.device, prefill: Callable[[], Sequence[KVCache]]
) -> list[KVCache]:
    """Return KV caches from the cache folder, or compute them and save them there.

    If the file is damaged they are computed again; if the folder cannot be written, a warning is
    logged. The oldest files beyond `MOST_FILES` are removed.

    Args:
        identity: a digest of everything that `prefill` depends on.
        count: the number of KV caches.
        device: where they are needed.
        prefill: computes them.

    """
    path = cache_home() / "lists" / f"{identity[:40]}.safetensors"
    caches = _load(path, count, device)
    if caches is not None:
        return caches
    caches = list(prefill())
    try:
        _save(path, caches)
    except (OSError, SafetensorError) as error:
        log.warning("the list of tags cannot be cached for the next run: %s", error)
    return caches


def _load(path: Path, count: int, device: torch.device) -> list[KVCache] | None:
    """Return the KV caches of a file; None if there is none or it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:

            def pairs(number: int, what: str, first: str, second: str) -> Pairs:
                return tuple(
                    (
                        file.get_tensor(f"{number}.{layer}.{first}").to(device),
                        file.get_tensor(f"{number}.{layer}.{second}").to(device),
                    )
                    for layer in range(int(file.metadata().get(what, 0)))
                )

            return [
                KVCache(
                    pairs(number, "layers", "keys", "values"),
                    file.get_tensor(f"{number}.mask"),
                    file.get_tensor(f"{number}.next_position"),
                    pairs(number, "states", "inputs", "state"),
                )
                for number in range(count)
            ]
    except (OSError, SafetensorError, ValueError, TypeError, KeyError):
        return None


def _save(path: Path, caches: Sequence[KVCache]) -> None:
    tensors = {}
    for number, cache in enumerate(caches):
        for layer, (keys, values) in enumerate(cache.layers):
            tensors[f"{number}.{layer}.keys"] = keys.contiguous()
            tensors[f"{number}.{layer}.values"] = values.contiguous()
        for layer, (inputs, state) in enumerate(cache.states):
            tensors[f"{number}.{layer}.inputs"] = inputs.contiguous()
            tensors[f"{number}.{layer}.state"] = state.contiguous()
        tensors[f"{number}.mask"] = cache.mask
        tensors[f"{number}.next_position"] = cache.next_position
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written elsewhere and then moved: another process may read or write the same file.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        part = Path(folder, path.name)
        counts = {"layers": len(caches[0].layers), "states": len(caches[0].states)}
        save_file(tensors, part, {what: str(count) for what, count in counts.items() if count})
        part.replace(path)
    files = sorted(path.parent.glob("*.safetensors"), key=lambda file: file.stat().st_mtime)
    for old in files[:-MOST_FILES]:
        old.unlink(missing_ok=True)
