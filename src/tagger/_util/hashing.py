"""Digests, by which things are told apart: all of them SHA-256 in hexadecimal."""

import hashlib
import json
from pathlib import Path
from typing import Annotated

from pydantic import Field

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def digest(described: object) -> str:
    """Return the digest of anything that JSON can write."""
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Return the digest of a file, which is read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
