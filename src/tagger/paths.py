"""Files: where tagger keeps what it can fetch or compute again, and how it writes them."""

import os
import tempfile
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


def write_atomically(path: Path, text: str) -> None:
    """Write a file that is either whole or not there, whoever else writes it.

    It may be read by whom the user's umask lets read files.

    Raises:
        OSError: the folder cannot be written.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
