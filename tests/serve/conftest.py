"""A server for many tests."""

from collections.abc import Iterator

import httpx2
import pytest

from support import serving
from tagger.methods.rank.rank import Rank


@pytest.fixture(scope="session")
def rank() -> Rank:
    return serving.rank()


@pytest.fixture(scope="session")
def address(rank: Rank, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server without a key, for tests that leave it as it was."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAGGER_HOME", str(tmp_path_factory.mktemp("served")))
        with serving.serving(rank) as address:
            yield address


@pytest.fixture(scope="session")
def client(address: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=address, timeout=serving.PATIENCE) as client:
        yield client
