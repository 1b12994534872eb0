"""Catalogues: tables of ids and tags, made into label rows."""

import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.messages import refused
from tagger._util.text import printable_json
from tagger.errors import InputError, LabelsError
from tagger.evaluation.catalogue import Conversion, Names, load_mapping
from tagger.evaluation.label import Label
from tagger.evaluation.labels import load_labels
from tagger.evaluation.table import Table
from tagger.readme.sources import Sources
from tagger.vocabulary import Tag, Vocabulary

VOCABULARY = Vocabulary(
    (
        Tag(id=77, name="3d "),
        Tag(id=21, name="cli", aliases=("command line", "tool")),
        Tag(id=22, name="game", aliases=("tool",)),
        Tag(id=6, name="25"),
        Tag(id=25, name="web"),
    )
)


@pytest.fixture
def readmes(workplace: Path) -> Sources:
    rows = [{"id": id_, "readme": f"words of {id_}"} for id_ in ("a", "b", "c")]
    path = workplace / "readmes.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return Sources((str(path),))


def table(name: str, content: str | bytes, **more: str) -> Table:
    path = Path(name)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Table(path, **more)


def converted(
    content: Table, readmes: Sources, **mapping: tuple[str, ...]
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """The tags of each label, and what is said of the rest."""
    conversion = Conversion(content, Names(VOCABULARY, mapping), readmes)
    labels = {label.id: label.tags for label in conversion.labels()}
    return labels, list(conversion.report())


# Tables.


def parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


SEVERAL = [{"id": "a", "tags": ["cli", "3D"]}, {"id": "b", "tags": ["game"]}]


@pytest.mark.parametrize(
    ("name", "content"),
    {
        "commas": ("t.csv", "id,tags\na,cli; 3D\nb,game\n"),
        "semicolons": ("t.csv", 'id;tags\r\na;"cli;3D"\r\nb;game\r\n'),
        "quoted semicolons": ("t.csv", '"id";"tags"\na;"cli;3D"\nb;game\n'),
        "long fields": ("t.csv", f"id,tags,readme\na,cli;3D,{'x' * 200_000}\nb,game,x\n"),
        "tabs": ("t.tsv", "\ufeffid\tname\ttags\na\tx\tcli;3D;\nb\tx\tgame\n"),
        "JSON in CSV": ("t.csv", 'id,tags\na,"[""cli"", ""3d""]"\nb,"[""game""]"\n'),
        "lists": ("t.jsonl", "\n".join(map(json.dumps, SEVERAL))),
        "ids": ("t.jsonl", '{"id": "a", "tags": [21, 77]}\n\n{"id": "b", "tags": 22}'),
        "objects": (
            "t.ndjson",
            '{"id": "a", "tags": [{"id": 1, "name": "cli"}, {"id": 77}]}\n'
            '{"id": "b", "tags": [{"name": "game"}, null]}',
        ),
        "text": ("t.jsonl", '{"id": "a", "tags": "cli;3d"}\n{"id": "b", "tags": "game"}'),
        "Parquet": ("t.parquet", parquet(SEVERAL)),
        "Parquet of numbers": (
            "t.parquet",
            parquet([{"id": "a", "tags": [21, 77]}, {"id": "b", "tags": [22]}]),
        ),
        "Parquet of text": (
            "t.parquet",
            parquet([{"id": "a", "tags": "cli;3d"}, {"id": "b", "tags": "game"}]),
        ),
        "Parquet of objects": (
            "t.parquet",
            parquet(
                [
                    {"id": "a", "tags": [{"id": 21, "name": "cli"}, {"id": 77, "name": "3d"}]},
                    {"id": "b", "tags": [{"id": 22, "name": "game"}]},
                ]
            ),
        ),
    }.values(),
)
def test_a_table_may_hold_tags_in_many_ways(
    readmes: Sources, name: str, content: str | bytes
) -> None:
    labels, _ = converted(table(name, content), readmes)
    assert {id_: sorted(tags) for id_, tags in labels.items()} == {
        "a": ["3d", "cli"],
        "b": ["game"],
    }


def test_columns_and_the_separator_may_be_named(readmes: Sources) -> None:
    content = "repo,topics,id\na,cli+3d,1\n"
    options = {"id_field": "repo", "label_field": "topics", "separator": "+"}
    assert converted(table("t.csv", content, **options), readmes)[0] == {"a": ("cli", "3d")}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", "name,topics\na,cli\n"),
        ("t.csv", "id,tags,tags\na,cli,cli\n"),
        ("t.csv", 'id,tags\na,"cli\n'),
        ("t.csv", "id,tags\n"),
        ("t.csv", "id,tags\n,cli\nb\n"),
        ("t.csv", b"id,tags\na,caf\xe9\n"),
        ("t.xlsx", "id,tags\n"),
        ("t.jsonl", "[]\n{"),
        ("t.jsonl", '{"id": true, "tags": []}'),
        ("t.jsonl", '{"id": "a", "tags": [1.5]}'),
        ("t.jsonl", '{"id": "a", "topics": []}'),
        ("t.jsonl", json.dumps({"id": "a", "tags": ["cli"] * 1001})),
        ("t.jsonl", ""),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(
    readmes: Sources, name: str, content: str | bytes
) -> None:
    with refused(LabelsError):
        converted(table(name, content), readmes)


def test_a_missing_table_and_a_damaged_one_are_refused(readmes: Sources) -> None:
    with refused(LabelsError):
        converted(Table(Path("nowhere.csv")), readmes)
    with refused(InputError):
        converted(table("t.parquet", b"PAR1 and nothing else PAR1"), readmes)
    with refused(InputError):
        converted(table("u.parquet", parquet([{"id": "a", "tags": 1.5}])), readmes)


@given(
    st.text() | st.lists(st.sampled_from(["id,tags", "a,cli", '"', "\n", ";", "\0"])).map("".join)
)
def test_a_table_of_anything_is_read_or_refused(text: str) -> None:
    for name in ("any.csv", "any.jsonl"):
        with TemporaryDirectory() as folder:
            path = Path(folder, name)
            path.write_text(text, encoding="utf-8", errors="replace", newline="")
            with suppress(LabelsError):
                for entry in Table(path):
                    assert bool(entry.id) != bool(entry.fault)


# What tags are called.


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ("3D", ("3d",)),
        ("77", ("3d",)),
        ("Command Line", ("cli",)),
        ("25", ("25",)),
        ("tool", None),
        ("css", None),
    ],
    ids=["name", "id", "alias", "name before id", "alias of two", "unknown"],
)
def test_tags_are_known_by_name_id_or_alias(said: str, names: tuple[str, ...] | None) -> None:
    assert Names(VOCABULARY)[said] == names


def test_a_mapping_says_what_other_tags_mean(workplace: Path, readmes: Sources) -> None:
    path = workplace / "map.json"
    path.write_text('{"Render": ["3D", "game"], "misc": null, "cli": "game"}')
    mapping = load_mapping(path, VOCABULARY)
    content = table("t.csv", "id,tags\na,render;misc\nb,misc\nc,CLI\n")
    labels, said = converted(content, readmes, **mapping)
    assert labels == {"a": ("3d", "game"), "c": ("game",)}
    assert not any("not in the vocabulary" in line for line in said)


@pytest.mark.parametrize(
    "content", ["[]", "{", '{"a": 1}', '{"a": {"b": "cli"}}', '{"a": "clj"}', '{"a": ["cli", "x"]}']
)
def test_a_mapping_that_cannot_be_used_is_refused(workplace: Path, content: str) -> None:
    (workplace / "map.json").write_text(content)
    with refused(LabelsError):
        load_mapping(workplace / "map.json", VOCABULARY)


def test_unknown_tags_make_a_mapping_to_edit(workplace: Path, readmes: Sources) -> None:
    content = table("t.csv", "id,tags\na,clis;css\nb,CSS;cli\n")
    conversion = Conversion(content, Names(VOCABULARY), readmes)
    assert [label.id for label in conversion.labels()] == ["b"]
    text = conversion.mapping({})
    assert json.loads(text) == {"css": None, "clis": "cli"}
    (workplace / "map.json").write_text(text)
    mapping = load_mapping(workplace / "map.json", VOCABULARY)
    assert converted(content, readmes, **mapping)[0] == {"a": ("cli",), "b": ("cli",)}


# What is said.


def test_all_that_does_not_fit_is_said(workplace: Path, readmes: Sources) -> None:
    (workplace / "more.jsonl").write_text(
        '{"id": "a", "readme": "again"}\n{"id": "d"}\n{"id": "e", "readme": "x"}'
    )
    sources = Sources((*readmes.paths, "more.jsonl"))
    rows = ["id,tags", "a,cli", "a,3d;cli", "b,", "c,clj;css", "d,cli", "x,cli", "", ",game"]
    labels, said = converted(table("t.csv", "\n".join(rows)), sources)
    assert labels == {"a": ("cli", "3d")}
    assert said == [
        "t.csv: 7 rows with 5 ids; labels for 1 READMEs, with 2 tags",
        "rows whose tags were joined to those of an earlier row: 1",
        "rows that cannot be used: 1, such as row 7 ('id' is empty)",
        "ids without a README: 1, such as 'x'",
        "READMEs without a row: 1, such as 'e'",
        "READMEs with the id of an earlier one, left out: 1, such as 'a'",
        "READMEs that cannot be read, left out: 1, such as 'd' (more.jsonl, line 2: has no README "
        "field 'readme')",
        "READMEs whose rows have no tags, left out: 1, such as 'b'",
        "READMEs none of whose tags is known, left out: 1, such as 'c'",
        "tags that are not in the vocabulary, and how often: 2: 'clj' (did you mean 'cli'?) 1, "
        "'css' 1",
    ]


def test_another_separator_is_recognised(readmes: Sources) -> None:
    _, said = converted(table("t.csv", 'id,tags\na,"cli, game"\nb,cli\n'), readmes)
    assert (
        said[-1] == "'cli, game' looks like several tags: is their separator ',' rather than ';'?"
    )


def test_ids_of_another_kind_are_shown_beside_those_of_the_readmes(readmes: Sources) -> None:
    with refused(LabelsError):
        converted(table("t.csv", "id,tags\n1,cli\n2,cli\n3,cli\n4,cli\n"), readmes)


# Rows.


@given(
    st.builds(
        Label,
        id=st.text(min_size=1),
        readme=st.text(min_size=1),
        tags=st.sampled_from([(), ("cli",), ("game", "3d")]),
        acceptable=st.sampled_from([(), ("25",)]),
        source=st.sampled_from(["human", "teacher"]),
        selection=st.sampled_from(["random", "bulk"]),
    )
)
def test_a_row_gives_the_same_label(label: Label) -> None:
    row = label.to_json()
    assert row == printable_json(row)
    assert Label.model_validate_json(row) == label


def test_a_row_holds_what_utf_8_cannot_hold_in_another_way() -> None:
    label = Label(id="a", readme="a lone \ud800", tags=())
    found = Label.model_validate_json(label.to_json())
    assert found.text_digest == label.text_digest


def test_a_row_may_hold_a_digest(workplace: Path, readmes: Sources) -> None:
    content = table("t.csv", "id,tags\na,cli\n")
    (label,) = Conversion(content, Names(VOCABULARY), readmes).labels()
    (workplace / "rows.jsonl").write_text(label.to_json(digest=True))
    assert "words" not in label.to_json(digest=True)
    (found,) = load_labels(workplace / "rows.jsonl", VOCABULARY, readmes)
    assert (found.readme, found.tags) == ("words of a", ("cli",))
