"""One name for everything that a result depends on."""

import hashlib
import json


def digest(described: object) -> str:
    """Return the SHA-256 of anything that JSON can write, in hexadecimal."""
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()
