"""What is remembered of the list of tags, from one process to the next."""

from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from tagger.methods import memories
from tagger.methods.calibration import Calibration
from tagger.methods.rank import Rank, ScoredTag
from tagger.models.language import LanguageModel
from tagger.prompt import PromptTemplate
from tagger.vocabulary import Vocabulary

NAMES = ["http", "http-client", "game", "game-engine", "cli", "web server"]
TEMPLATE = PromptTemplate(system="You tag.", user="Tags: {tags}\n{readme}\nChoose.")


def ranking(names: list[str] = NAMES) -> list[ScoredTag]:
    vocabulary = Vocabulary.from_names(names)
    calibration = Calibration.of("tiny", vocabulary)
    method = Rank(tiny.model(), vocabulary, TEMPLATE, calibration, 200)
    (ranked,) = method.rank([method.encode("A web server.")])
    return ranked


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the model is given to read."""
    found: list[Any] = []
    plain = LanguageModel.read

    def counted(self: LanguageModel, rows: Any, after: Any = None) -> Any:
        found.append(rows)
        return plain(self, rows, after)

    monkeypatch.setattr(LanguageModel, "read", counted)
    return found


def test_a_second_process_reads_the_readme_alone_and_answers_the_same(
    cache: Path, reads: list[Any]
) -> None:
    first = ranking()
    reads.clear()
    assert ranking() == first
    assert len(reads) == 1


def test_a_damaged_file_is_read_anew(cache: Path, reads: list[Any]) -> None:
    first = ranking()
    (path,) = (cache / "lists").iterdir()
    whole = path.read_bytes()
    for content in (b"", b"{", whole[: len(whole) // 2], whole[:64] + b"x" + whole[65:]):
        path.write_bytes(content)
        reads.clear()
        assert ranking() == first
        assert len(reads) > 1
        assert path.read_bytes() == whole


def test_few_lists_are_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memories, "KEPT", 2)
    for count in range(2, 6):
        ranking(NAMES[:count])
    assert len(list((cache / "lists").iterdir())) == 2


def test_what_is_kept_is_what_was_read(cache: Path) -> None:
    model = tiny.model()
    read = [model.read([[1, 2, 3]]), model.read([[4, 5]])]
    device = torch.device("cpu")
    memories.kept("name", 2, device, lambda: read)
    again = memories.kept("name", 2, device, lambda: pytest.fail("read twice"))
    for kept, memory in zip(again, read, strict=True):
        assert kept.present.equal(memory.present)
        assert kept.ends.equal(memory.ends)
        for (keys, values), (others, more) in zip(kept.layers, memory.layers, strict=True):
            assert keys.equal(others)
            assert values.equal(more)
