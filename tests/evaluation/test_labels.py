"""Label files: what they may hold, and how it is said what they may not."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from support.messages import refused
from tagger.errors import LabelsError, NoReadmesError
from tagger.evaluation.label import counted, once, text_digest
from tagger.evaluation.labels import Label, load_labels
from tagger.readme.readme import MAX_BYTES
from tagger.readme.sources import Sources
from tagger.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_names(["ai", "cli", "web ", "game", "lib"])


def write(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def row(id_: str = "a", **more: object) -> dict[str, object]:
    return {"id": id_, "readme": "words", "tags": ["ai"]} | more


def without(key: str, **more: Any) -> dict[str, object]:
    return {name: value for name, value in row(**more).items() if name != key}


def refusal(path: Path, readmes: Sources | None = None) -> str:
    """The one line that says what is wrong with a file."""
    with refused(LabelsError) as caught:
        load_labels(path, VOCABULARY, readmes)
    message = str(caught.value)
    assert "\n" not in message
    return message


# Rows that are refused.


@pytest.mark.parametrize(
    "rows",
    [
        ["{"],
        ["[1]"],
        ["", row(), "5"],
        [without("tags")],
        [without("id", tags="ai")],
        [row(id="")],
        [row(id=None)],
        [row(tags=["ai", 5])],
        [row(readme=7)],
        [row(readme=" \n")],
        [row(readme="a\0b")],
        [without("readme")],
        [row(readme=None)],
        [row(readme_digest="ab")],
        [row(readme_digest="ab" * 32)],
        [row(tags=["ai"], rejected=["AI "])],
        [row(acceptable=["lib"], rejected=["lib"])],
        [row(source="")],
        [row(source="x" * 41)],
        [row(source="a\x1b[31m")],
        [row(source=5)],
        [row(selection="best")],
        [row(), "", row(readme="other words")],
        [row(acceptible=["lib"], notes="of somebody's own")],
    ],
)
def test_what_is_wrong_with_a_row_is_said_with_file_and_line(
    tmp_path: Path, rows: list[object]
) -> None:
    path = write(tmp_path / "labels.jsonl", *rows)
    message = refusal(path)
    assert message.startswith(f"{path}: line ")
    assert message.endswith("; correct these rows")
    assert message.count("correct") == 1


def test_what_is_wrong_is_said_all_at_once(tmp_path: Path) -> None:
    path = write(
        tmp_path / "labels.jsonl", row(id=None), row("b", tags=["x"]), "{", row("d", tags=["y"])
    )
    refusal(path)
    write(path, *["{"] * 30)
    assert refusal(path).startswith(f"{path}: 30 rows from line 1 on: is not JSON; ")
    write(path, *(row(str(n), source="x\n" * n) for n in range(1, 31)), *map(str, range(30)))
    assert refusal(path).count("; ") == 3, "each reason is said once"
    write(path, *(row("odd", selection=f"way {n}") for n in range(30)))
    refusal(path)


def test_unknown_tags_are_one_error(tmp_path: Path) -> None:
    rows = [row(str(n), tags=["ai", f"unheard of {n % 9}"]) for n in range(1000)]
    path = write(tmp_path / "labels.jsonl", row("known"), *rows)
    refusal(path)


def test_an_unknown_tag_is_named_with_the_nearest_that_is_known(tmp_path: Path) -> None:
    path = write(
        tmp_path / "labels.jsonl",
        row(tags=["Gmae", " gmae"], acceptable=["wep"], rejected=["z" * 100_000, "no\x1bpe"]),
    )
    refusal(path)


def test_a_message_about_labels_has_an_end(tmp_path: Path) -> None:
    for hostile in (
        row(tags=["x" * 100_000]),
        row("x" * 100_000),
        row(selection="x" * 100_000),
        row(rejected=["x" * 100_000], tags=["x" * 100_000]),
    ):
        path = write(tmp_path / "labels.jsonl", hostile, hostile | {"readme": "other"})
        assert len(refusal(path)) < 1000


@pytest.mark.parametrize("rows", [[], ["", "  "]])
def test_a_file_without_rows_is_refused(tmp_path: Path, rows: list[object]) -> None:
    assert refusal(write(tmp_path / "labels.jsonl", *rows)).endswith("holds no labels")


@pytest.mark.parametrize("char", ["\u2028", "\u2029", "\x85", "\x0b"])
def test_only_line_feeds_end_a_row(tmp_path: Path, char: str) -> None:
    path = tmp_path / "labels.jsonl"
    lines = [json.dumps(row(id_, readme=f"a{char}b"), ensure_ascii=False) for id_ in "ab"]
    path.write_bytes("\r\n".join(lines).encode())
    assert [label.readme for label in load_labels(path, VOCABULARY)] == [f"a{char}b"] * 2


def test_label_files_that_cannot_be_read(tmp_path: Path) -> None:
    refusal(tmp_path / "none")
    refusal(tmp_path)
    (tmp_path / "latin").write_bytes(b"\xe9")
    refusal(tmp_path / "latin")


# Rows that are taken.


def test_a_tag_that_a_row_names_twice_counts_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    rows = [row(tags=["web", "ai", "WEB "], acceptable=["ai"]), row("b"), row("c", tags=["ai"] * 5)]
    labels = load_labels(write(tmp_path / "labels.jsonl", *rows), VOCABULARY)
    assert [label.tags for label in labels] == [("web", "ai"), ("ai",), ("ai",)]
    assert caplog.messages == ["rows that name one of their tags twice, which counts once: 2"]


def test_a_row_says_who_labelled_it_and_why(tmp_path: Path) -> None:
    rows = [row(), row("b", source=" Human"), row("c", source="Qwen2.5-72B, é", selection="bulk")]
    labels = load_labels(write(tmp_path / "labels.jsonl", *rows), VOCABULARY)
    assert [label.by_a_person for label in labels] == [True, True, False]
    assert [label.selection for label in labels] == ["random", "random", "bulk"]


def test_a_readme_may_come_several_times_in_a_file(tmp_path: Path) -> None:
    rows = [row(), row("b", tags=["cli"], source="teacher"), row(tags=["web"])]
    labels = load_labels(write(tmp_path / "labels.jsonl", *rows), VOCABULARY)
    assert [label.id for label in labels] == ["a", "b", "a"], "all of them are there"
    assert [(label.id, label.tags) for label in once(labels)] == [("a", ("web",))]


def test_files_have_ids_of_their_own(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "one.jsonl", row()),
        write(tmp_path / "two.jsonl", row(readme="other words"), row("b", tags=["cli"])),
    ]
    labels = load_labels(paths, VOCABULARY)
    assert [(label.id, label.readme) for label in labels] == [
        ("a", "words"),
        ("a", "other words"),
        ("b", "words"),
    ]
    assert [label.readme for label in once(labels)] == ["words", "other words"]
    write(paths[1], row(tags=["nope"]))
    with refused(LabelsError):
        load_labels(paths, VOCABULARY)


# How many there are.


def labels_of(*texts_and_tags: tuple[str, tuple[str, ...]]) -> list[Label]:
    return [
        Label(id=str(number), readme=text, tags=tags)
        for number, (text, tags) in enumerate(texts_and_tags)
    ]


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([], "are 0"),
        ([("a", ("ai",))], "is one"),
        ([("a", ("ai",)), ("b", ("ai",))], "are 2"),
        ([("a", ("ai",)), ("b", ())], "is one (1 without a tag)"),
        ([("a", ("ai",))] * 40, "is one (40 rows, but only 1 different README)"),
        (
            [("a", ("ai",)), ("a", ("web",)), ("b", ("ai",)), ("b", ("ai",)), ("c", ())],
            "is one (5 rows, but only 3 different READMEs; 2 without a tag, or with labels that "
            "have no tag in common)",
        ),
    ],
)
def test_it_is_said_how_many_readmes_have_a_tag_and_why_not_more(
    labels: list[tuple[str, tuple[str, ...]]], says: str
) -> None:
    rows = labels_of(*labels)
    assert counted(rows, once(rows)) == says


# READMEs that lie elsewhere.


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    for name in ("one", "two", "three"):
        (tmp_path / "catalogue" / name).mkdir(parents=True)
        (tmp_path / "catalogue" / name / "README.md").write_text(f"# Project {name}\r\n\n😀")
    return tmp_path / "catalogue"


def beside(*paths: Path, **more: Any) -> Sources:
    return Sources(tuple(map(str, paths)), **more)


def by_digest(text: str, id_: str = "a", **more: Any) -> dict[str, object]:
    return without("readme", id_=id_, readme_digest=text_digest(text)) | more


def test_a_row_may_hold_the_digest_of_its_readme(tmp_path: Path, catalogue: Path) -> None:
    readme = catalogue / "two" / "README.md"
    digest = hashlib.sha256(readme.read_bytes()).hexdigest()
    rows = [row("b"), without("readme", readme_digest=digest.upper(), tags=["web", "WEB"])]
    path = write(tmp_path / "labels.jsonl", *rows)
    plain, found = load_labels(path, VOCABULARY, beside(catalogue))
    assert plain.readme == "words"
    assert found.readme == readme.read_bytes().decode(), "sha256sum gives the digest"
    assert found.text_digest == digest
    assert (found.id, found.tags) == ("a", ("web",))
    assert found.to_readme().source == str(readme)


def test_the_place_of_a_readme_tells_its_markup(tmp_path: Path) -> None:
    (tmp_path / "README.rst").write_text("Title\n=====\n\n.. image:: x.png\n\nWords.\n")
    text = (tmp_path / "README.rst").read_text()
    path = write(tmp_path / "labels.jsonl", by_digest(text))
    (found,) = load_labels(path, VOCABULARY, beside(tmp_path / "README.rst"))
    assert "image" not in found.to_readme().plain_text
    (merged,) = once([found, found])
    assert merged.to_readme().markup == "rst"


def test_digests_are_found_in_dumps_of_several_sources(tmp_path: Path, catalogue: Path) -> None:
    dump = write(tmp_path / "dump.jsonl", {"name": 5, "text": "A web server."}, "{", "")
    long = write(tmp_path / "long.md", "x" * (MAX_BYTES + 9))
    rows = [by_digest("A web server."), by_digest("x" * MAX_BYTES, "b"), row("c")]
    path = write(tmp_path / "labels.jsonl", *rows, by_digest("A web server.", "d", tags=["web"]))
    sources = beside(catalogue, dump, long, id_field="name", readme_field="text")
    labels = load_labels(path, VOCABULARY, sources)
    assert [label.id for label in labels] == ["a", "b", "c", "d"]
    assert labels[0].readme == labels[3].readme == "A web server."


def test_sources_are_walked_only_for_digests(tmp_path: Path) -> None:
    path = write(tmp_path / "labels.jsonl", row())
    (tmp_path / "empty").mkdir()
    assert len(load_labels(path, VOCABULARY, beside(tmp_path / "empty"))) == 1


def test_digests_that_are_found_nowhere_are_one_error(tmp_path: Path, catalogue: Path) -> None:
    rows = [row("x"), *(by_digest(f"gone {n}", f"id {n}") for n in range(9))]
    path = write(tmp_path / "labels.jsonl", *rows)
    refusal(path, beside(catalogue))
    broken = catalogue / "one" / "README.md"
    broken.write_bytes(b"")
    refusal(path, beside(catalogue))


def test_digests_without_readmes_beside_are_one_error(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "one.jsonl", row()),
        write(tmp_path / "two.jsonl", by_digest("b", "b"), by_digest("c", "c")),
    ]
    with refused(NoReadmesError):
        load_labels(paths, VOCABULARY)


def test_an_id_of_another_digest_is_refused(tmp_path: Path, catalogue: Path) -> None:
    path = write(tmp_path / "labels.jsonl", row(), by_digest("words"), by_digest("other"))
    refusal(path, beside(catalogue))
