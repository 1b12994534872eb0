"""The catalogue holds what the publisher published, and names are easy to get right."""

import pytest

from support.messages import refused
from tagger.errors import UnknownModelError
from tagger.models.fetch.catalogue import CatalogueEntry, catalogue, entry
from tagger.models.fetch.mirror import Mirror, mirrors


@pytest.mark.parametrize(
    ("name", "file", "size", "sha256", "parts"),
    [
        (
            "qwen2.5-coder-0.5b",
            "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            491400064,
            "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            6,
        ),
        (
            "qwen2.5-coder-1.5b",
            "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            1117320768,
            "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            22,
        ),
    ],
)
def test_models_are_the_publishers_own_files(
    name: str, file: str, size: int, sha256: str, parts: int
) -> None:
    found = entry(name)
    assert (found.file, found.bytes, found.sha256) == (file, size, sha256)
    assert found.repository.startswith("Qwen/")
    assert found.licence == "Apache-2.0"
    assert found.mirror
    assert len(found.mirror.wheels) == parts


def test_mirrors_are_those_of_known_models() -> None:
    assert set(mirrors()) == set(catalogue())


@pytest.mark.parametrize("known", mirrors().values(), ids=mirrors())
def test_mirrors_list_each_part_once_and_in_order(known: Mirror) -> None:
    packages = [wheel.package for wheel in known.wheels]
    stem = packages[0].removesuffix("1")
    assert packages == [f"{stem}{number}" for number in range(1, len(packages) + 1)]


@pytest.mark.parametrize("known", catalogue().values(), ids=lambda known: known.name)
def test_memory_holds_at_least_the_weights(known: CatalogueEntry) -> None:
    assert known.memory_bytes > known.weights_bytes > known.bytes


def test_an_unknown_name_is_told_the_nearest_and_all_there_are() -> None:
    with pytest.raises(UnknownModelError) as caught:
        entry("Qwen2.5-Coder-1.5")
    assert "did you mean qwen2.5-coder-1.5b?" in str(caught.value)
    assert all(name in str(caught.value) for name in catalogue())


def test_a_name_like_no_other_gets_no_guess() -> None:
    with refused(UnknownModelError):
        entry("zzz")
