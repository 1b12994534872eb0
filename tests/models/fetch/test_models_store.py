"""A model's folder is complete or it is not there; what changed later is found."""

from pathlib import Path

import pytest

from support.fake_models import published
from support.messages import refused
from tagger.errors import DigestError, LoadError, ModelMissingError
from tagger.models.fetch import store
from tagger.models.fetch.catalogue import CatalogueEntry


@pytest.fixture
def entry(tmp_path: Path) -> CatalogueEntry:
    return published(b"weights", tmp_path / "wheels")


@pytest.fixture
def sealed(entry: CatalogueEntry, tmp_path: Path) -> Path:
    """A model in its place."""
    return seal(entry, tmp_path)


def seal(entry: CatalogueEntry, tmp_path: Path) -> Path:
    staging = tmp_path / "staging"
    staging.mkdir()
    (staging / "config.json").write_text("{}")
    (staging / "model.safetensors").write_bytes(b"bfloat16")
    store.models_home().mkdir(parents=True, exist_ok=True)
    store.seal(entry, staging)
    return store.folder(entry)


def test_nothing_is_complete_at_first(entry: CatalogueEntry) -> None:
    assert not store.is_complete(entry)


def test_a_sealed_model_is_complete_and_verifies(entry: CatalogueEntry, sealed: Path) -> None:
    assert store.is_complete(entry)
    store.verify(entry)
    assert sealed == store.models_home() / entry.name


@pytest.mark.parametrize("name", ["manifest.json", "config.json"])
def test_without_one_of_its_files_it_is_not_complete(
    entry: CatalogueEntry, sealed: Path, name: str
) -> None:
    (sealed / name).unlink()
    assert not store.is_complete(entry)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "tiny-coder"}', "\xff"])
def test_a_broken_manifest_is_no_manifest(entry: CatalogueEntry, sealed: Path, text: str) -> None:
    (sealed / "manifest.json").write_bytes(text.encode("latin-1"))
    assert not store.is_complete(entry)


def test_a_file_cut_short_is_not_complete(entry: CatalogueEntry, sealed: Path) -> None:
    (sealed / "model.safetensors").write_bytes(b"bfloat1")
    assert not store.is_complete(entry)


def test_another_revision_in_the_catalogue_is_not_complete(
    entry: CatalogueEntry, sealed: Path
) -> None:
    newer = entry.model_copy(update={"sha256": "0" * 64})
    assert not store.is_complete(newer)


def test_sealing_replaces_what_lay_there(
    entry: CatalogueEntry, sealed: Path, tmp_path: Path
) -> None:
    (sealed / "manifest.json").unlink()
    (sealed / "left-over").touch()
    seal(entry, tmp_path)
    assert store.is_complete(entry)
    assert not (sealed / "left-over").exists()


def test_verify_names_the_file_that_changed(entry: CatalogueEntry, sealed: Path) -> None:
    (sealed / "model.safetensors").write_bytes(b"BFLOAT16")
    assert store.is_complete(entry)
    with refused(DigestError):
        store.verify(entry)


def test_verify_names_the_file_that_is_gone(entry: CatalogueEntry, sealed: Path) -> None:
    (sealed / "config.json").unlink()
    with refused(LoadError):
        store.verify(entry)


def test_verify_needs_a_model(entry: CatalogueEntry) -> None:
    with refused(ModelMissingError):
        store.verify(entry)
