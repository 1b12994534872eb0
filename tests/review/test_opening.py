"""What a review is opened with, and what becomes of its store when something is wrong."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.messages import refused
from support.reviews import VOCABULARY, again, opened, write
from tagger.batch.batch import Batch
from tagger.errors import InputError, ModelMissingError, OutputError, UsageError
from tagger.methods.rank.rank import Rank
from tagger.models.language import LanguageModel
from tagger.readme.sources import Sources
from tagger.review.review import Review
from tagger.selection import Selection
from tagger.tagger import Tagger
from tagger.vocabulary import Tag, Vocabulary

OTHER = Vocabulary(tuple(Tag(id=n, name=name) for n, name in enumerate(("soup", "salad"), 50)))


@pytest.fixture
def review(tmp_path: Path) -> Iterator[Review]:
    with opened(tmp_path) as review:
        yield review


def decide(review: Review, *ids: str) -> None:
    for id_ in ids:
        review.decide(id_, ["4"], review.item(id_).revision)


def test_a_full_disk_is_said_and_nothing_that_was_decided_is_lost(
    tmp_path: Path, review: Review
) -> None:
    decide(review, "readme-1")
    with review._store.reading() as database:
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        database.execute(f"PRAGMA max_page_count = {pages}")
    with refused(OutputError):
        for _ in range(10_000):
            decide(review, "readme-2")
    seen = review.item("readme-2")
    review.close()
    with again(tmp_path) as later:
        assert later.item("readme-1").state == "reviewed"
        assert later.item("readme-2") == seen
        decide(later, "readme-3")


@pytest.mark.parametrize("reviewed", [False, True])
def test_another_list_is_refused_every_time(
    tmp_path: Path, review: Review, *, reviewed: bool
) -> None:
    if reviewed:
        decide(review, "readme-3")
    review.close()
    for _ in range(2):
        with refused(UsageError):
            again(tmp_path, OTHER)


def test_a_wrong_list_does_not_make_renames_forgotten(
    tmp_path: Path, review: Review, tiny_model: LanguageModel
) -> None:
    decide(review, "readme-3")
    review.close()
    before = (tmp_path / "out.jsonl.review").read_bytes()
    with refused(UsageError):
        again(tmp_path, OTHER)
    batch = Batch(
        Sources((str(tmp_path / "readmes.jsonl"),)), VOCABULARY, output=tmp_path / "out.jsonl"
    )
    (tmp_path / "out.jsonl").unlink()
    with batch:
        list(batch.run(Tagger(Rank(tiny_model, VOCABULARY))))
    with refused(UsageError), Batch(batch._sources, OTHER, output=tmp_path / "out.jsonl"):
        pass
    assert (tmp_path / "out.jsonl.review").read_bytes() == before
    renamed = Vocabulary(
        tuple(Tag(id=tag.id, name="www" if tag.id == 4 else tag.name) for tag in VOCABULARY)
    )
    with again(tmp_path, renamed) as later:
        assert [tag.name for tag in later.item("readme-3").decided] == ["www"]


def test_a_review_that_is_refused_leaves_no_store(tmp_path: Path) -> None:
    output = write(tmp_path)
    with pytest.raises(UsageError):
        Review(output, OTHER)
    output.with_name("out.jsonl.state").write_text("precious")
    with pytest.raises(UsageError):
        Review(output, VOCABULARY)
    output.with_name("out.jsonl.state").unlink()
    output.write_text("no rows")
    with pytest.raises(InputError):
        Review(output, VOCABULARY)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "out.jsonl",
        "readmes.jsonl",
    ]


def test_a_store_that_is_removed_meanwhile_is_written_again(
    tmp_path: Path, review: Review, caplog: pytest.LogCaptureFixture
) -> None:
    decide(review, "readme-1")
    (tmp_path / "out.jsonl.review").unlink()
    decide(review, "readme-2")
    assert "was removed while it was in use, and has been written again" in caplog.text
    review.close()
    with again(tmp_path) as later:
        assert later.states()["reviewed"] == 2


def test_a_store_that_is_replaced_meanwhile_takes_no_decision(tmp_path: Path) -> None:
    review = opened(tmp_path)
    decide(review, "readme-1")
    path = tmp_path / "out.jsonl.review"
    path.unlink()
    path.write_text("another")
    with refused(OutputError):
        decide(review, "readme-2")
    with pytest.raises(OutputError):
        review.close()
    assert path.read_text() == "another"


def test_an_export_overwrites_only_what_an_export_has_written(
    tmp_path: Path, review: Review
) -> None:
    decide(review, "readme-1")
    labels = tmp_path / "labels.jsonl"
    row = json.dumps({"id": "x", "readme": "text", "tags": ["cli"]}) + "\n"
    labels.write_text(row)
    for name in ("labels.jsonl", "out.jsonl", "readmes.jsonl", "out.jsonl.review"):
        before = (tmp_path / name).read_bytes()
        with refused(UsageError):
            review.export(tmp_path / name)
        assert (tmp_path / name).read_bytes() == before
    mine = tmp_path / "mine.jsonl"
    review.export(mine)
    decide(review, "readme-2")
    assert review.export(mine) == 2
    mine.write_text(mine.read_text() + row)
    with refused(UsageError):
        review.export(mine)


def test_what_is_left_out_of_an_export_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Review(write(tmp_path), VOCABULARY) as review:
        decide(review, "readme-1", "readme-2")
        assert review.export(tmp_path / "labels.jsonl") == 0
    assert "left out because their texts were not found: 2" in caplog.text


def test_tags_that_a_person_has_decided_are_no_suggestions(tmp_path: Path) -> None:
    output = write(tmp_path)
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    rows[3]["source"] = "human"
    output.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with Review(output, VOCABULARY) as review:
        item = review.item("readme-3")
        assert [each.given for each in item.suggestions] == [False]
        assert review.statistics().sampled == 0
        assert review.bulk_accept(0.0) == 9
        decide(review, "readme-3")
        review.undo()
        assert review.item("readme-3").suggestions == item.suggestions


def test_suggestions_stay_when_the_batch_has_written_decisions(
    tmp_path: Path, review: Review
) -> None:
    before = review.item("readme-3").suggestions
    decide(review, "readme-3")
    review.undo()
    review.close()
    row = {"id": "readme-3", "tags": [{"id": 2, "name": "game"}], "source": "human"}
    path = tmp_path / "out.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], json.dumps(row), *lines[4:], ""]))
    with again(tmp_path) as later:
        assert later.item("readme-3").suggestions == before


def test_a_review_works_without_a_model(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def missing() -> Rank:
        raise ModelMissingError("no model here")

    with Review(write(tmp_path), VOCABULARY, rank=missing) as review:
        review.prepare()
        assert "nothing can be learned, without the model that learns (no model" in caplog.text
        decide(review, "readme-1")
        with pytest.raises(ModelMissingError):
            review.learn()


# What the batch has noted.


@pytest.fixture
def home(tmp_path: Path, tiny_model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a batch has tagged relative sources."""
    home = tmp_path / "home"
    for name in "abc":
        (home / "texts" / name).mkdir(parents=True)
        (home / "texts" / name / "README.md").write_text(f"A web server called {name}.")
    monkeypatch.chdir(home)
    with Batch(Sources(("texts",)), VOCABULARY, output=Path("out.jsonl"), scores=True) as batch:
        list(batch.run(Tagger(Rank(tiny_model, VOCABULARY), Selection(max_tags=2, min_tags=2))))
    monkeypatch.chdir(tmp_path)
    return home


def test_readmes_are_found_from_another_folder(home: Path) -> None:
    (home.parent / "texts" / "a").mkdir(parents=True)
    (home.parent / "texts" / "a" / "README.md").write_text("another")
    with again(home) as review:
        readme = review.readme("a/README.md")
        assert readme
        assert readme.text == "A web server called a."
        assert not review.item("a/README.md").changed


def test_a_readme_that_has_changed_since_is_said(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (home / "texts" / "b" / "README.md").write_text("A game.")
    with again(home) as review:
        assert review.item("b/README.md").changed
        assert not review.item("a/README.md").changed
    assert "not as the batch has tagged them: 1 (b/README.md)" in caplog.text


def test_a_text_that_was_tagged_or_decided_is_not_replaced(home: Path) -> None:
    (home / "texts" / "b" / "README.md").write_text("A game.")
    with again(home) as review:
        decide(review, "b/README.md")
    for name in "abc":
        (home / "texts" / name / "README.md").write_text("Something else.")
    (home / "out.jsonl").touch()
    with again(home) as review:
        texts = [review.readme(f"{name}/README.md") for name in "abc"]
        assert [readme and readme.text for readme in texts] == [
            "A web server called a.",
            "A game.",
            "A web server called c.",
        ]


def test_the_selection_of_the_batch_is_known(home: Path) -> None:
    with again(home) as review:
        assert review._opened.selection == Selection(max_tags=2, min_tags=2)


def test_a_review_whose_decisions_have_gone_is_begun_anew_with_a_warning(
    home: Path,
    tiny_model: LanguageModel,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(home)
    output = Path("out.jsonl")
    with Review(output, VOCABULARY) as review:
        decide(review, "a/README.md")
    with Batch(Sources(("texts",)), VOCABULARY, output=output) as batch:
        list(batch.run(Tagger(Rank(tiny_model, VOCABULARY))))
    Path("out.jsonl.review").write_bytes(b"")
    with refused(InputError), Review(output, VOCABULARY, new=False):
        pass
    caplog.clear()
    with Review(output, VOCABULARY):
        assert "is missing" in caplog.text


def test_it_is_said_where_no_text_is_known(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path):
        assert "no texts" not in caplog.text
    (tmp_path / "out.jsonl.review").unlink()
    with Review(tmp_path / "out.jsonl", VOCABULARY):
        assert "no texts of the READMEs are known" in caplog.text
