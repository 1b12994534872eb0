"""The cache folder of converted models: where each lies, and whether it is whole.

::

    models/
      NAME.lock                 held by whoever changes NAME
      NAME.partial/             a pull at work, or what one that ended early has got
      NAME/                     appears in one step, complete
        model*.safetensors, config.json, tokenizer.json, ...
        manifest.json           every other file with its size and digest

A folder counts as complete when its manifest names the digest the catalogue has today, so that a
new revision of a model is fetched and an old one never taken for it.
"""

import shutil
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from tagger._util.hashing import file_digest
from tagger._util.paths import cache_home
from tagger.errors import DigestError, LoadError, ModelMissingError
from tagger.models.fetch.catalogue import CatalogueEntry

_MANIFEST = "manifest.json"
_LAYOUT = 1
"""Raised whenever the conversion writes something else, so that older folders are made again."""


class _File(BaseModel):
    bytes: int
    sha256: str


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    source_sha256: str
    layout: int
    files: dict[str, _File]


def models_home() -> Path:
    """Return the folder of all models."""
    return cache_home() / "models"


def folder(entry: CatalogueEntry) -> Path:
    """Return the folder the converted model has, or would have."""
    return models_home() / entry.name


def is_complete(entry: CatalogueEntry) -> bool:
    """Say whether the converted model is here: its manifest, and each file at its size."""
    manifest = _manifest(entry)
    return manifest is not None and all(
        (path := folder(entry) / name).is_file() and path.stat().st_size == file.bytes
        for name, file in manifest.files.items()
    )


def seal(entry: CatalogueEntry, staging: Path) -> None:
    """Write the manifest of the finished model in `staging`, and put it in the model's place.

    What may lie there is older or broken, and goes. Whoever calls holds the model's lock.
    """
    files = {
        path.name: _File(bytes=path.stat().st_size, sha256=file_digest(path))
        for path in sorted(staging.iterdir())
    }
    manifest = _Manifest(name=entry.name, source_sha256=entry.sha256, layout=_LAYOUT, files=files)
    (staging / _MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")
    shutil.rmtree(folder(entry), ignore_errors=True)
    staging.replace(folder(entry))


def verify(entry: CatalogueEntry) -> None:
    """Read every file of the model again and compare it with the manifest.

    Raises:
        ModelMissingError: the model is not here.
        LoadError: a file of it is gone.
        DigestError: a file of it has changed.

    """
    manifest = _manifest(entry)
    if manifest is None:
        raise missing(entry)
    again = f"`tagger models pull {entry.name}` repairs it"
    for name, file in manifest.files.items():
        path = folder(entry) / name
        if not path.is_file():
            raise LoadError(f"{path} is gone; {again}")
        if file_digest(path) != file.sha256:
            raise DigestError(f"{path} has changed since it was written; {again}")


def missing(entry: CatalogueEntry) -> ModelMissingError:
    """Return the error for a model that is not here, or not all of it."""
    lack = "is only partly here" if folder(entry).exists() else "is not on this machine"
    return ModelMissingError(f"{entry.name} {lack}; `tagger models pull {entry.name}` fetches it")


def _manifest(entry: CatalogueEntry) -> _Manifest | None:
    """Return the manifest, or None if there is none that fits today's catalogue and layout."""
    try:
        manifest = _Manifest.model_validate_json((folder(entry) / _MANIFEST).read_bytes())
    except (OSError, ValidationError):
        return None
    return (
        manifest if (manifest.source_sha256, manifest.layout) == (entry.sha256, _LAYOUT) else None
    )
