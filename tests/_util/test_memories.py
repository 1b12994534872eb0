"""KV caches of the list of tags, saved from one process to the next."""

from pathlib import Path
from typing import Any

import pytest
import torch

from support import tiny
from tagger.methods.rank import cache as memories
from tagger.methods.rank.evidence import ScoredTag
from tagger.methods.rank.rank import Rank
from tagger.models.language import LanguageModel
from tagger.prompts.prompt import PromptTemplate
from tagger.readme.readme import Readme
from tagger.vocabulary import Vocabulary

NAMES = ["http", "http-client", "game", "game-engine", "cli", "web server"]
TEMPLATE = PromptTemplate(system="You tag.", user="Tags: {tags}\n{readme}\nChoose.")


def ranking(names: list[str] = NAMES) -> list[ScoredTag]:
    method = Rank(tiny.model(), Vocabulary.from_names(names), TEMPLATE, readme_tokens=200)
    (ranked,) = method.score([method.encode(Readme("x", "A web server."))])
    return ranked


@pytest.fixture
def prefills(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The rows of every prefill."""
    calls: list[Any] = []
    prefill = LanguageModel.prefill

    def record(self: LanguageModel, rows: Any, prefix: Any = None) -> Any:
        calls.append(rows)
        return prefill(self, rows, prefix)

    monkeypatch.setattr(LanguageModel, "prefill", record)
    return calls


def test_a_second_process_prefills_no_list_and_ranks_the_same(
    cache: Path, prefills: list[Any]
) -> None:
    first = ranking()
    prefills.clear()
    assert ranking() == first
    assert not prefills


def test_a_damaged_file_is_computed_again(cache: Path, prefills: list[Any]) -> None:
    first = ranking()
    (path,) = (cache / "lists").iterdir()
    whole = path.read_bytes()
    for content in (b"", b"{", whole[: len(whole) // 2], whole[:64] + b"x" + whole[65:]):
        path.write_bytes(content)
        prefills.clear()
        assert ranking() == first
        assert len(prefills) > 1
        assert path.read_bytes() == whole


def test_the_oldest_files_are_removed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memories, "MOST_FILES", 2)
    for count in range(2, 6):
        ranking(NAMES[:count])
    assert len(list((cache / "lists").iterdir())) == 2


def test_a_cache_is_loaded_as_it_was_saved(cache: Path) -> None:
    model = tiny.model()
    computed = [model.prefill([[1, 2, 3]]), model.prefill([[4, 5]])]
    device = torch.device("cpu")
    memories.cached("name", 2, device, lambda: computed)
    loaded = memories.cached("name", 2, device, lambda: pytest.fail("computed twice"))
    for ours, expected in zip(loaded, computed, strict=True):
        assert ours.mask.equal(expected.mask)
        assert ours.next_position.equal(expected.next_position)
        for layer, expected_layer in zip(ours.layers, expected.layers, strict=True):
            assert layer[0].equal(expected_layer[0])
            assert layer[1].equal(expected_layer[1])
