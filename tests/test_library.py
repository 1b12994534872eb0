"""The library as its README shows it."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import tagger
from support import tiny
from support.messages import refused
from tagger import (
    Batch,
    Rank,
    Readme,
    Selection,
    Sources,
    Tagger,
    Vocabulary,
)
from tagger.errors import InputError, UsageError
from tagger.methods.rank.calibration import Calibration
from tagger.methods.rank.rank import Encoded
from tagger.models.language import LanguageModel
from tagger.tagging import Failure

VOCABULARY = Vocabulary.from_names(["cli", "web", "game"])


def test_all_public_names_are_there_and_documented() -> None:
    for name in tagger.__all__:
        assert getattr(tagger, name).__doc__
    with pytest.raises(AttributeError):
        tagger.nothing  # noqa: B018


def test_a_few_lines_tag_a_readme(tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Voxel\n\nA game.")
    (tmp_path / "tags.json").write_text('["cli", "game"]')
    mine = Tagger.load(str(tiny_folder), Vocabulary.load(tmp_path / "tags.json"))
    (tagging,) = mine.tag([Readme.read(tmp_path / "README.md", id="1375")])
    assert json.loads(tagging.to_json())["id"] == "1375"
    assert {tag.name for tag in tagging.tags} <= {"cli", "game"}


def test_readmes_are_tagged_in_order_as_they_come(tiny_model: LanguageModel) -> None:
    taken = []

    def source() -> object:
        for number in range(3):
            taken.append(number)
            yield Readme(id=str(number), text="text")

    results = Tagger(Rank(tiny_model, VOCABULARY)).tag(source())  # type: ignore[arg-type]
    assert next(results).id == "0"
    assert taken == [0], "the second is not read before the first is answered"
    assert [tagging.id for tagging in results] == ["1", "2"]


@pytest.mark.parametrize(
    ("selection", "count"),
    [
        (Selection(threshold=1.0, min_tags=0), 0),
        (Selection(threshold=1.0), 1),
        (Selection(threshold=1.0, min_tags=2), 2),
        (Selection(threshold=0.0), 3),
        (Selection(threshold=0.0, max_tags=2), 2),
    ],
)
def test_how_many_tags_are_given(
    tiny_model: LanguageModel, selection: Selection, count: int
) -> None:
    mine = Tagger(Rank(tiny_model, VOCABULARY), selection)
    (tagging,) = mine.tag([Readme(id="a", text="text")])
    assert len(tagging.tags) == count
    confidences = [tag.confidence or 0.0 for tag in tagging.tags]
    assert confidences == sorted(confidences, reverse=True)


@pytest.mark.parametrize(
    "numbers",
    [
        {"max_tags": 0},
        {"max_tags": 11},
        {"min_tags": -1},
        {"min_tags": 4},
        {"threshold": -0.1},
        {"threshold": float("nan")},
    ],
)
def test_numbers_that_contradict_each_other_are_refused(numbers: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        Selection(**numbers)


def test_a_budget_beyond_the_context_is_lowered_and_said_so(
    tiny_model: LanguageModel, caplog: pytest.LogCaptureFixture
) -> None:
    Rank(tiny_model, VOCABULARY, readme_tokens=100_000)
    assert "the model's context holds no more" in caplog.text


# Many READMEs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five READMEs, the last of which is empty."""
    for number in range(5):
        path = tmp_path / "readmes" / str(number) / "README.md"
        path.parent.mkdir(parents=True)
        path.write_text(f"# Game {number}\n\nFor the terminal." if number < 4 else "")
    return tmp_path / "readmes"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the number of READMEs of each pass of the model."""
    passes: list[int] = []
    plain = Rank.read

    def counted(self: Rank, readmes: Sequence[Encoded]) -> list[bytes]:
        passes.append(len(readmes))
        return plain(self, readmes)

    monkeypatch.setattr(Rank, "read", counted)
    return passes


def test_a_batch_yields_a_row_each_and_goes_on_where_it_was(
    tiny_model: LanguageModel, folder: Path, read: list[int]
) -> None:
    mine = Tagger(Rank(tiny_model, VOCABULARY))
    output = folder.parent / "out.jsonl"
    for _ in range(2):
        with Batch(Sources((str(folder),)), VOCABULARY, output=output) as batch:
            assert batch.total == 5
            rows = list(batch.run(mine))
        assert [row.reply.id for row in rows] == [f"{n}/README.md" for n in range(5)]
        assert [isinstance(row.reply, Failure) for row in rows] == 4 * [False] + [True]
        assert output.read_text() == "".join(row.to_json() + "\n" for row in rows)
    assert read == 4 * [1], "the second run knows them"


def test_a_batch_without_an_output_keeps_nothing(
    tiny_model: LanguageModel, folder: Path, read: list[int]
) -> None:
    for _ in range(2):
        with Batch(Sources((str(folder),)), VOCABULARY) as batch:
            assert len(list(batch.run(Tagger(Rank(tiny_model, VOCABULARY))))) == 5
    assert read == 8 * [1]
    assert [path.name for path in folder.parent.iterdir() if path.name != "cache"] == ["readmes"]


def test_a_batch_is_ranked_by_another_calibration_without_being_read_again(
    tiny_model: LanguageModel, folder: Path, read: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    shipped = Calibration.shipped("tiny")
    confidences = []
    for calibration in (shipped, replace(shipped, intercept=shipped.intercept - 1)):
        mine = Tagger(Rank(tiny_model, VOCABULARY, calibration=calibration))
        output = folder.parent / "out.jsonl"
        with Batch(Sources((str(folder),)), VOCABULARY, output=output, scores=True) as batch:
            rows = list(batch.run(mine))
        assert output.read_text() == "".join(row.to_json(scores=True) + "\n" for row in rows)
        alone = mine.tag(Readme.read(folder / f"{n}/README.md", f"{n}/README.md") for n in range(4))
        assert [row.reply for row in rows[:4]] == list(alone)
        confidences.append(rows[0].to_json(scores=True))
    assert confidences[0] != confidences[1]
    assert read == 4 * [1] + 8 * [1], "once by the batch, and twice to compare"
    assert "ranking again: calibration changed" in caplog.text


def test_what_can_be_said_without_a_model_is_said_on_entering_a_batch(tmp_path: Path) -> None:
    (tmp_path / "twice.jsonl").write_text(2 * '{"id": 1, "readme": "text"}\n')
    (tmp_path / "precious.jsonl").write_text("mine")
    twice = Sources((str(tmp_path / "twice.jsonl"),))
    with refused(InputError), Batch(twice, VOCABULARY):
        pass
    precious = Batch(twice, VOCABULARY, output=tmp_path / "precious.jsonl")
    with refused(UsageError), precious:
        pass


def test_a_batch_of_another_model_is_refused_before_the_first_row_is_asked_for(
    tiny_model: LanguageModel, folder: Path
) -> None:
    output = folder.parent / "out.jsonl"
    with Batch(Sources((str(folder),)), VOCABULARY, output=output) as batch:
        list(batch.run(Tagger(Rank(tiny_model, VOCABULARY))))
    with Batch(Sources((str(folder),)), VOCABULARY, output=output) as batch:
        other = Tagger(Rank(tiny.model(seed=1), VOCABULARY))
        with refused(UsageError):
            batch.run(other)


def test_a_batch_that_is_stopped_goes_on_in_the_next_run(
    tiny_model: LanguageModel, folder: Path, read: list[int]
) -> None:
    mine = Tagger(Rank(tiny_model, VOCABULARY))
    output = folder.parent / "out.jsonl"
    with Batch(Sources((str(folder),)), VOCABULARY, output=output) as batch:
        for row in batch.run(mine):
            if row.reply.id == "1/README.md":
                batch.stop()
        assert batch.stopped
    assert len(output.read_text().splitlines()) == 2
    with Batch(Sources((str(folder),)), VOCABULARY, output=output) as batch:
        batch.stop()
        assert list(batch.run(mine)) == [], "it was stopped before it began"
    with Batch(Sources((str(folder),)), VOCABULARY, output=output) as batch:
        assert len(list(batch.run(mine))) == 5
        assert not batch.stopped
    assert read == 4 * [1]


def test_importing_the_package_is_cheap() -> None:
    script = "import sys, tagger; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
