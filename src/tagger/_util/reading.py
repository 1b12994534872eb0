"""Small files that somebody else may have written: read whole, in bounded memory and time."""

import errno
import tomllib
from pathlib import Path
from typing import Any

_DOTS = 1_000
"""Dots in one line of TOML: `tomllib` takes time by the square of a dotted key's parts."""


def read_bounded(path: Path, most: int) -> bytes:
    """Return what a file holds, whether or not the file ever ends.

    Args:
        path: the file, which may be a pipe or a device.
        most: the size in bytes beyond which it is refused.

    Raises:
        OSError: it cannot be read, or is larger (`EFBIG`).

    """
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"larger than {most:,} bytes", str(path))
    return content


def parse_toml(content: bytes) -> dict[str, Any]:
    """Return the table that a TOML file holds.

    Raises:
        ValueError: it is not UTF-8, not TOML, or too deeply nested to be parsed.

    """
    text = content.decode("utf-8")
    if any(line.count(".") > _DOTS for line in text.splitlines()):
        raise ValueError(f"a line has more than {_DOTS:,} dots")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
