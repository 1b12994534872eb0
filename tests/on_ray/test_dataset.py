"""What `tag` makes of the blocks of a Ray Dataset, without a cluster."""

from functools import partial
from typing import Any

import pyarrow
import pytest

from support.messages import refused
from tagger.errors import InputError
from tagger.methods.rank.rank import Rank
from tagger.models.language import LanguageModel
from tagger.ray import dataset
from tagger.ray.blocks import groups_of
from tagger.ray.worker import Recipe, Worker
from tagger.readme.readme import Readme
from tagger.readme.sources import Sources
from tagger.selection import Selection
from tagger.tagger import Tagger
from tagger.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_names(["http", "http-client", "game", "cli"])
SOURCES = Sources((), id_field="name", readme_field="text")


def block(rows: list[tuple[Any, str | None]]) -> Any:
    """The rows as one block, sorted by keys as Ray sorts them."""
    names, texts = zip(*rows, strict=True)
    table = pyarrow.table({"name": names, "text": texts, "stars": [1] * len(rows)})
    return dataset._groups(SOURCES, table).sort_by("key")


def tagged(rows: list[tuple[Any, str | None]], model: LanguageModel) -> list[Any]:
    rank = Rank(model, VOCABULARY)
    worker = Worker(
        Recipe(lambda: rank, Selection(), rank.identity), partial(dataset._table, VOCABULARY)
    )
    made: list[Any] = worker(dataset._merged(block(rows))).to_pylist()
    return sorted(made, key=lambda row: str(row["id"]))


def test_equal_readmes_are_one_row_of_a_block() -> None:
    rows = [(1, "A game."), (2, "A parser."), (3, "A game."), (4, None), (5, None)]
    groups = list(groups_of(dataset._merged(block(rows))))
    assert sorted([id_ for id_, _ in group.named] for group in groups) == [
        ["1", "3"],
        ["2"],
        ["4"],
        ["5"],
    ]


def test_a_row_has_the_tags_that_the_readme_has_by_itself(tiny_model: LanguageModel) -> None:
    (row,) = tagged([("a.rst", "A web server.")], tiny_model)
    (alone,) = Tagger[Any](Rank(tiny_model, VOCABULARY)).tag([Readme("a.rst", "A web server.")])
    assert [tag["name"] for tag in row["tags"]] == [tag.name for tag in alone.tags]
    assert (row["error"], row["suspicious"], row["source"]) == (None, False, None)


def test_what_cannot_be_read_is_a_row_that_says_why(tiny_model: LanguageModel) -> None:
    rows = tagged([("a", ""), ("b", None), ("a", "A game.")], tiny_model)
    assert [(row["id"], row["error"] is None) for row in rows] == [
        ("a", False),
        ("a", True),
        ("b", False),
    ]
    assert "is empty" in rows[0]["error"]["message"]
    assert rows[2]["error"] == {
        "type": "ReadmeError",
        "message": "the README 'b': the field 'text' is not text",
    }


def test_a_missing_column_is_found_at_once() -> None:
    class Dataset:
        def schema(self) -> Any:
            return pyarrow.schema([("id", pyarrow.string())])

    with refused(InputError):
        dataset.tag(Dataset(), VOCABULARY)


@pytest.mark.parametrize("kind", [pyarrow.float64(), pyarrow.list_(pyarrow.string())], ids=str)
def test_ids_of_another_type_are_found_at_once(kind: Any) -> None:
    class Dataset:
        def schema(self) -> Any:
            return pyarrow.schema([("id", kind), ("readme", pyarrow.string())])

    with refused(InputError):
        dataset.tag(Dataset(), VOCABULARY)


@pytest.mark.parametrize("name", ["x.rst", "x.adoc"])
def test_an_id_that_looks_like_a_file_is_no_markup(name: str) -> None:
    assert Readme("id", "text", dataset._place(name)).markup == "markdown"
