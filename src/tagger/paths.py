"""Files: where tagger keeps what it can fetch or compute again, and how it writes them."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs


def cache_home() -> Path:
    """Return the cache folder: `TAGGER_HOME`, or the platform's own place for caches."""
    home = os.environ.get("TAGGER_HOME")
    return Path(home) if home else platformdirs.user_cache_path("tagger", appauthor=False)


def user_settings() -> Path:
    """Return the user's own settings file, which need not be there."""
    return platformdirs.user_config_path("tagger", appauthor=False) / "config.toml"


def real(path: Path) -> Path:
    """Return where a path leads once links are followed; one that goes in circles stays itself."""
    return Path(os.path.realpath(path))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new, empty file beside `path` that takes its place at the end, unless anything fails.

    A link that goes by the name `path` is replaced, never followed. The new file's name cannot be
    foreseen and it did not exist before, so no link can lie in wait for it either. Its permissions
    are those that the user's umask gives to new files.

    Raises:
        OSError: the folder cannot be written. Whatever `path` was is then as it was.

    """
    part = path.with_name(f".tagger-{secrets.token_hex(8)}.part")
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Write a file that is either whole or not there, whoever else writes it.

    Raises:
        OSError: the folder cannot be written.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
