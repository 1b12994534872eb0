"""Folders: where tagger keeps what it can fetch or compute again, and the user's settings."""

import os
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
