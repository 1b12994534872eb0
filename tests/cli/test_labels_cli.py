"""`tagger labels`: label rows from a catalogue, checked and merged."""

import json
from pathlib import Path

import pytest

from support.console import Run
from support.messages import check_line


@pytest.fixture
def catalogue(workplace: Path) -> Path:
    """READMEs in folders, and a table of their tags."""
    for name in ("engine", "shell", "empty"):
        (workplace / "repos" / name).mkdir(parents=True)
        (workplace / "repos" / name / "README.md").write_text(f"# {name}\n\nA tool.")
    path = workplace / "catalogue.csv"
    path.write_text("id,tags\nengine,game-engine;3D\nshell,cli;posix\nempty,\ngone,cli\n")
    return path


CONVERT = ("labels", "convert", "catalogue.csv", "--readmes", "repos", "--tags", "tags.json")


def rows(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_catalogue_becomes_label_rows(run: Run, catalogue: Path) -> None:
    outcome = run(*CONVERT, "--id-from", "parent")
    assert outcome.code == 0, outcome.err
    assert rows(outcome.out) == [
        {"id": "engine", "readme": "# engine\n\nA tool.", "tags": ["game-engine", "3d"]},
        {"id": "shell", "readme": "# shell\n\nA tool.", "tags": ["cli"]},
    ]
    assert outcome.err.splitlines() == [
        "tagger: catalogue.csv: 4 rows with 4 ids; labels for 2 READMEs, with 3 tags",
        "tagger: ids without a README: 1, such as 'gone'",
        "tagger: READMEs whose rows have no tags, left out: 1, such as 'empty'",
        "tagger: tags that are not in the vocabulary, and how often: 1: 'posix' 1",
    ]


def test_ids_that_match_no_readme_leave_the_output_as_it_was(
    run: Run, catalogue: Path, workplace: Path
) -> None:
    before = '{"id": "x", "readme": "y", "tags": []}'
    (workplace / "labels.jsonl").write_text(before)
    outcome = run(*CONVERT, "-o", "labels.jsonl")
    assert (outcome.code, outcome.out) == (2, "")
    check_line(outcome.err)
    assert (workplace / "labels.jsonl").read_text() == before
    assert [path.name for path in workplace.glob(".tagger-*")] == []


@pytest.mark.parametrize(
    "more",
    [
        ("-o", "catalogue.csv"),
        ("-o", "notes.txt"),
        ("-o", "link.jsonl"),
        ("-o", "nowhere/labels.jsonl"),
        ("-o", "repos"),
        ("--unknown", "notes.txt"),
        ("--unknown", "labels.jsonl"),
        ("--unknown", "-"),
        ("--unknown", "map.json", "--map", "map.json"),
        ("--separator", ""),
        ("--map", "notes.txt"),
        ("--map", "nowhere.json"),
    ],
    ids=" ".join,
)
def test_nothing_else_is_overwritten(
    run: Run, catalogue: Path, workplace: Path, more: tuple[str, ...]
) -> None:
    (workplace / "notes.txt").write_text("notes")
    (workplace / "map.json").write_text('{"posix": "cli"}')
    (workplace / "labels.jsonl").write_text('{"id": "x", "readme": "y", "tags": []}')
    (workplace / "link.jsonl").symlink_to("notes.txt")
    before = {path: path.read_bytes() for path in workplace.iterdir() if path.is_file()}
    outcome = run(*CONVERT, "--id-from", "parent", *more)
    assert (outcome.code, outcome.out) in ((2, ""), (74, ""))
    check_line(outcome.err)
    assert {path: path.read_bytes() for path in workplace.iterdir() if path.is_file()} == before


def test_unknown_tags_are_written_to_be_mapped(run: Run, catalogue: Path, workplace: Path) -> None:
    arguments = (*CONVERT, "--id-from", "parent", "-o", "labels.jsonl", "--digests")
    assert run(*arguments, "--unknown", "map.json").code == 0
    assert json.loads((workplace / "map.json").read_text()) == {"posix": None}
    (workplace / "map.json").write_text('{"posix": ["3d", "cli"]}')
    assert run(*arguments, "--unknown", "map.json").code == 0
    assert json.loads((workplace / "map.json").read_text()) == {"posix": ["3d", "cli"]}
    assert run(*arguments, "--map", "map.json").code == 0
    shell = rows((workplace / "labels.jsonl").read_text())[1]
    assert shell["tags"] == ["cli", "3d"]
    assert "readme" not in shell


def test_where_no_tag_is_known_the_unknown_ones_are_written_all_the_same(
    run: Run, catalogue: Path, workplace: Path
) -> None:
    catalogue.write_text("id,tags\nengine,render;clii\nshell,render\n")
    outcome = run(*CONVERT, "--id-from", "parent", "--unknown", "map.json")
    assert (outcome.code, outcome.out) == (2, "")
    check_line(outcome.err)
    assert json.loads((workplace / "map.json").read_text()) == {"render": None, "clii": "cli"}


def test_a_dump_whose_rows_cannot_be_read_is_said(
    run: Run, catalogue: Path, workplace: Path
) -> None:
    (workplace / "dump.jsonl").write_text(
        '{"repo": "engine"}\n{"id": "shell", "readme": "A shell."}'
    )
    outcome = run("labels", "convert", "catalogue.csv", "--readmes", "dump.jsonl")
    assert [row["id"] for row in rows(outcome.out)] == ["shell"]
    assert "READMEs that cannot be read, left out: 1" in outcome.err


def test_label_files_are_counted_and_merged(run: Run, workplace: Path) -> None:
    row = {"id": "a", "readme": "words", "tags": ["cli", "3d"]}
    (workplace / "one.jsonl").write_text(json.dumps(row | {"source": "teacher"}))
    other = {"id": "b", "readme": "more words", "tags": []}
    text = "\n".join(map(json.dumps, (row | {"tags": ["cli"]}, other)))
    (workplace / "two.jsonl").write_text(text)
    files = ("one.jsonl", "two.jsonl", "--tags", "tags.json")
    outcome = run("labels", "check", *files)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [
        "rows: 3, of 2 different READMEs",
        "by: human 2, teacher 1",
        "tags: 1, 0.50 a README",
        "READMEs without a tag: 1",
        "tags with fewer than 3 labels: 1 (cli)",
        "tags without a label: 2 (3d, game-engine)",
    ]
    outcome = run("labels", "merge", *files)
    assert rows(outcome.out) == [row | {"tags": ["cli"]}, other]
    assert outcome.err == "tagger: labels merged with earlier ones of the same README: 1\n"


def test_merged_labels_have_ids_of_their_own(run: Run, workplace: Path) -> None:
    for name in ("one", "two"):
        label = {"id": "1", "readme": f"words of {name}", "tags": ["cli"]}
        (workplace / f"{name}.jsonl").write_text(json.dumps(label))
    outcome = run("labels", "merge", "one.jsonl", "two.jsonl", "-o", "all.jsonl")
    assert outcome.code == 0, outcome.err
    first, second = rows((workplace / "all.jsonl").read_text())
    assert first["id"] == "1"
    assert str(second["id"]).startswith("1 ")
    assert run("labels", "check", "all.jsonl").code == 0
    again = run("labels", "merge", "one.jsonl", "two.jsonl", "-o", "all.jsonl")
    assert again.code == 0, "its own output may be replaced"


def test_merging_does_not_overwrite_what_is_read(run: Run, workplace: Path) -> None:
    label = json.dumps({"id": "1", "readme": "words", "tags": ["cli"]})
    for name in ("labels.jsonl", "readmes.jsonl"):
        (workplace / name).write_text(label)
        outcome = run("labels", "merge", "labels.jsonl", "--readmes", "readmes.jsonl", "-o", name)
        assert (outcome.code, outcome.out) == (2, "")
        check_line(outcome.err)
        assert (workplace / name).read_text() == label


def test_label_rows_that_cannot_be_used_are_refused(run: Run, workplace: Path) -> None:
    (workplace / "bad.jsonl").write_text('{"id": "a", "readme": "x", "tags": ["clu"]}')
    for command in ("check", "merge"):
        outcome = run("labels", command, "bad.jsonl", "--tags", "tags.json")
        assert (outcome.code, outcome.out) == (2, "")
        check_line(outcome.err)
