"""A batch that is run again keeps what people have decided."""

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet
import pytest

from support import tiny
from support.messages import refused
from tagger.batch.batch import Batch
from tagger.batch.decisions import Decisions, review_of
from tagger.batch.ledger import Ledger
from tagger.batch.pipeline import Row
from tagger.errors import UsageError
from tagger.methods.rank.rank import Rank
from tagger.models.language import LanguageModel
from tagger.readme.sources import Sources
from tagger.review.review import Review
from tagger.tagger import Tagger
from tagger.tagging import Tagging
from tagger.vocabulary import Tag, Vocabulary

VOCABULARY = Vocabulary(
    tuple(Tag(id=n, name=name) for n, name in enumerate(("http", "game", "cli", "web")))
)


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    path = tmp_path / "dump.jsonl"
    texts = [{"id": f"r{n}", "readme": f"A web server, number {n}."} for n in range(5)]
    path.write_text("".join(json.dumps(row) + "\n" for row in texts))
    return Sources((str(path),))


@pytest.fixture
def output(tmp_path: Path, sources: Sources, tiny_model: LanguageModel) -> Path:
    """An output of which the tags of two READMEs were decided."""
    path = tmp_path / "out.jsonl"
    run(path, sources, tiny_model)
    with Review(path, VOCABULARY) as review:
        review.decide("r1", ["1", "3"], 0)
        review.decide("r2", [], 0)
        review.skip("r3", 0)
    return path


def run(
    output: Path,
    sources: Sources,
    model: LanguageModel,
    vocabulary: Vocabulary = VOCABULARY,
    *,
    restart: bool = False,
) -> list[Row]:
    with Batch(sources, vocabulary, output=output, scores=True, restart=restart) as batch:
        return list(batch.run(Tagger(Rank(model, vocabulary))))


def rows(path: Path) -> Iterator[dict[str, object]]:
    return map(json.loads, path.read_text().splitlines())


def by_people(path: Path) -> dict[object, object]:
    return {row["id"]: row["tags"] for row in rows(path) if row.get("source") == "human"}


DECIDED = {
    "r1": [
        {"id": 1, "name": "game", "confidence": None},
        {"id": 3, "name": "web", "confidence": None},
    ],
    "r2": [],
}


def test_decided_tags_replace_suggested_ones(
    output: Path, sources: Sources, tiny_model: LanguageModel
) -> None:
    before = {row["id"]: row for row in rows(output)}
    run(output, sources, tiny_model)
    assert by_people(output) == DECIDED
    for row in rows(output):
        assert row["id"] in DECIDED or row == before[row["id"]]


def test_they_stay_with_another_model_and_nothing_is_read_for_them(
    output: Path, sources: Sources
) -> None:
    done = run(output, sources, tiny.model(seed=1), restart=True)
    assert by_people(output) == DECIDED
    assert [bool(row.tokens) for row in done] == [True, False, False, True, True]


def test_they_stay_when_their_readme_cannot_be_read_any_more(
    output: Path, sources: Sources, tiny_model: LanguageModel
) -> None:
    path = Path(sources.paths[0])
    path.write_text(path.read_text().replace("A web server, number 1.", " "))
    run(output, sources, tiny_model)
    assert by_people(output) == DECIDED


def test_renamed_and_dropped_tags_are_said_with_their_readmes(
    output: Path,
    sources: Sources,
    tiny_model: LanguageModel,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tags = (Tag(id=0, name="http"), Tag(id=2, name="cli"), Tag(id=3, name="the web"))
    with caplog.at_level(logging.WARNING):
        run(output, sources, tiny_model, Vocabulary(tags), restart=True)
    assert by_people(output) == {
        "r1": [{"id": 3, "name": "the web", "confidence": None}],
        "r2": [],
    }
    assert "no longer has 'game', which was decided for 1 README (r1): it is left" in caplog.text
    assert "now has 'the web' for 'web', which was decided for 1 README (r1)" in caplog.text


def test_a_readme_none_of_whose_tags_is_left_is_tagged_by_the_model(
    output: Path, sources: Sources, tiny_model: LanguageModel
) -> None:
    tags = Vocabulary((Tag(id=0, name="http"), Tag(id=2, name="cli")))
    run(output, sources, tiny_model, tags, restart=True)
    assert by_people(output) == {"r2": []}


def test_what_was_undone_is_no_longer_kept(
    output: Path, sources: Sources, tiny_model: LanguageModel
) -> None:
    with Review(output, VOCABULARY) as review:
        for _ in range(2):
            review.undo()
    run(output, sources, tiny_model)
    assert by_people(output) == {"r1": DECIDED["r1"]}


def test_also_without_scores_it_is_said_who_has_decided(
    output: Path, sources: Sources, tiny_model: LanguageModel
) -> None:
    with Batch(sources, VOCABULARY, output=output) as batch:
        done = list(batch.run(Tagger(Rank(tiny_model, VOCABULARY))))
    assert list(rows(output))[1] == {
        "id": "r1",
        "tags": [{"id": 1, "name": "game"}, {"id": 3, "name": "web"}],
        "source": "human",
    }
    assert isinstance(done[1].reply, Tagging)
    assert done[1].reply.source == "human"


@pytest.mark.parametrize("left", [None, b""], ids=["missing", "empty"])
def test_a_review_that_has_gone_is_refused_before_anything_is_overwritten(
    output: Path, sources: Sources, tiny_model: LanguageModel, left: bytes | None
) -> None:
    run(output, sources, tiny_model)
    before, store = output.read_bytes(), review_of(output)
    kept = store.read_bytes()
    store.unlink()
    if left is not None:
        store.write_bytes(left)
    with refused(UsageError):
        run(output, sources, tiny_model)
    assert output.read_bytes() == before
    store.write_bytes(kept)
    run(output, sources, tiny_model)
    assert output.read_bytes() == before


def test_a_table_has_a_column_for_it(
    tmp_path: Path, sources: Sources, tiny_model: LanguageModel
) -> None:
    table = tmp_path / "out.parquet"
    run(table, sources, tiny_model)
    with Review(table, VOCABULARY) as review:
        review.decide("r1", ["1"], 0)
    run(table, sources, tiny_model)
    found = pyarrow.parquet.read_table(table).to_pylist()
    assert [row["source"] for row in found] == [None, "human", None, None, None]
    assert found[1]["tags"] == [{"id": 1, "name": "game", "confidence": None}]


def test_the_review_finds_the_readmes_where_the_batch_has_found_them(output: Path) -> None:
    with Review(output, VOCABULARY) as review:
        readme = review.readme("r0")
        assert readme
        assert readme.text == "A web server, number 0."


def test_the_ledger_of_a_stranger_names_no_files_of_elsewhere(
    output: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "secret.jsonl").write_text('{"id": "r0", "readme": "secret"}')
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in ("out.jsonl", "out.jsonl.state"):
        shutil.move(output.with_name(name), clone / name)
    (clone / "link.jsonl").symlink_to(home / "secret.jsonl")
    for path in (home / "secret.jsonl", clone / "link.jsonl"):
        with Ledger(clone / "out.jsonl.state") as ledger:
            ledger.note("sources", Sources((str(path),)).to_json(clone))
        with Review(clone / "out.jsonl", VOCABULARY) as review:
            assert review.readme("r0") is None
        assert "lie outside of this folder" in caplog.text
        caplog.clear()


def test_what_a_tag_was_is_decided_by_its_name_before_its_id(tmp_path: Path) -> None:
    path = review_of(tmp_path / "out.jsonl")
    with Decisions(path, Vocabulary.from_names(["a", "b"])) as decisions:
        assert decisions.changes == []
        with decisions.writing() as database:
            decisions.note(database)
    swapped = Vocabulary((Tag(id="b", name="a"), Tag(id="a", name="b")))
    with Decisions(path, swapped) as decisions:
        assert decisions.names.tag("a", "a") == swapped.tags[0]
