"""The library as its README shows it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import tagger
from tagger import (
    Selection,
    Readme,
    Tagger,
    Vocabulary,
)
from tagger.errors import UsageError
from tagger.models.language import LanguageModel

VOCABULARY = Vocabulary.from_names(["cli", "web", "game"])


def test_all_public_names_are_there_and_documented() -> None:
    for name in tagger.__all__:
        assert getattr(tagger, name).__doc__
    with pytest.raises(AttributeError):
        tagger.nothing  # noqa: B018


def test_a_few_lines_tag_a_readme(tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Voxel\n\nA game.")
    (tmp_path / "tags.json").write_text('["cli", "game"]')
    mine = Tagger(str(tiny_folder), Vocabulary.load(tmp_path / "tags.json"))
    (tagging,) = mine.tag([Readme.read(tmp_path / "README.md", id="1375")])
    assert json.loads(tagging.to_json())["id"] == "1375"
    assert {tag.name for tag in tagging.tags} <= {"cli", "game"}


def test_readmes_are_tagged_in_order_as_they_come(tiny_model: LanguageModel) -> None:
    taken = []

    def source() -> object:
        for number in range(3):
            taken.append(number)
            yield Readme(id=str(number), text="text")

    results = Tagger(tiny_model, VOCABULARY).tag(source())  # type: ignore[arg-type]
    assert next(results).id == "0"
    assert taken == [0], "the second is not read before the first is answered"
    assert [tagging.id for tagging in results] == ["1", "2"]


@pytest.mark.parametrize(
    ("choice", "count"),
    [
        (Selection(threshold=1.0, min_tags=0), 0),
        (Selection(threshold=1.0), 1),
        (Selection(threshold=1.0, min_tags=2), 2),
        (Selection(threshold=0.0), 3),
        (Selection(threshold=0.0, max_tags=2), 2),
    ],
)
def test_how_many_tags_are_given(tiny_model: LanguageModel, choice: Selection, count: int) -> None:
    (tagging,) = Tagger(tiny_model, VOCABULARY, choice=choice).tag([Readme(id="a", text="text")])
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
    Tagger(tiny_model, VOCABULARY, readme_tokens=100_000)
    assert "the model's context holds no more" in caplog.text


def test_importing_the_package_is_cheap() -> None:
    script = "import sys, tagger; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
