"""Where READMEs are found, what names them, and what becomes of the odd ones."""

import io
import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.messages import refused
from tagger._util.paths import real
from tagger.errors import InputError, ReadmeError, UsageError
from tagger.readme import sources
from tagger.readme.sources import Item, Sources


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A catalogue in the usual form: a folder a repository."""
    for name in ("b/README.md", "a/readme.rst", "a/docs/README", "a/guide.md", "README.zh-CN.md"):
        path = tmp_path / "catalogue" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"The README {name}.")
    return tmp_path / "catalogue"


def found(*paths: object, **options: object) -> list[Item]:
    return list(Sources(tuple(map(str, paths)), **options))  # type: ignore[arg-type]


def ids(*paths: object, **options: object) -> list[str]:
    return [item.id for item in found(*paths, **options)]


def test_a_folder_is_walked_in_order_for_the_usual_names(folder: Path) -> None:
    assert ids(folder) == ["a/readme.rst", "a/docs/README", "b/README.md"]
    assert ids(folder) == ids(f"{folder}/")
    assert [item.read().text for item in found(folder)][2] == "The README b/README.md."


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("*.md", ["README.zh-CN.md", "a/guide.md", "b/README.md"]),
        ("a/*.md", ["a/guide.md"]),
        ("*.adoc", []),
    ],
)
def test_a_glob_says_what_to_look_for(folder: Path, glob: str, expected: list[str]) -> None:
    assert ids(folder, globs=(glob,)) == expected


@pytest.mark.parametrize(
    ("id_from", "expected"),
    [
        ("stem", ["readme", "README", "README"]),
        ("parent", ["a", "docs", "b"]),
        ("path", ["catalogue/a/readme.rst", "catalogue/a/docs/README", "catalogue/b/README.md"]),
    ],
)
def test_what_names_a_readme(
    folder: Path, monkeypatch: pytest.MonkeyPatch, id_from: str, expected: list[str]
) -> None:
    monkeypatch.chdir(folder.parent)
    assert ids("catalogue", id_from=id_from) == expected


def test_the_folder_that_is_walked_can_be_a_parent_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder / "b")
    assert ids(".", id_from="parent") == ["b"]


def test_files_keep_the_names_they_were_given(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert ids("b/README.md", "a/guide.md") == ["b/README.md", "a/guide.md"]


def test_the_output_is_no_readme(folder: Path) -> None:
    own = frozenset({real(folder / "a" / "guide.md")})
    assert "a/guide.md" not in ids(folder, globs=("*.md",), own=own)
    with refused(UsageError):
        found(folder / "a" / "guide.md", own=own)


def test_links_to_folders_are_not_followed_and_links_to_files_are(folder: Path) -> None:
    (folder / "a" / "again").symlink_to(folder, target_is_directory=True)
    (folder / "c").mkdir()
    (folder / "c" / "README.md").symlink_to(folder / "b" / "README.md")
    assert ids(folder) == ["a/readme.rst", "a/docs/README", "b/README.md", "c/README.md"]
    assert found(folder)[-1].read().text == "The README b/README.md."


@pytest.fixture
def leading_out(folder: Path) -> Path:
    """A folder with links to files: one out of it, one within it, one out and back."""
    secret = folder.parent / "secret"
    secret.write_text("A key.")
    for name in ("out", "within", "back"):
        (folder / name).mkdir()
    (folder / "out" / "README.md").symlink_to(secret)
    (folder / "within" / "README.md").symlink_to("../b/README.md")
    (folder.parent / "again").symlink_to(folder / "b", target_is_directory=True)
    (folder / "back" / "README.md").symlink_to("../../again/README.md")
    return folder


def test_a_link_that_leads_out_of_the_folder_is_not_read_and_that_is_said_once(
    leading_out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sources = Sources((str(leading_out),))
    for _ in range(2):
        met = [item.id for item in sources]
        assert met[2:] == ["b/README.md", "back/README.md", "within/README.md"]
    (said,) = caplog.messages
    assert "are not followed: 1, the first" in said
    assert said.endswith("out/README.md")


def test_links_that_lead_out_are_read_by_the_users_own_word(
    leading_out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items = found(leading_out, follow_links=True)
    (out,) = [item for item in items if item.id == "out/README.md"]
    assert out.read().text == "A key."
    (named,) = found(leading_out / "out" / "README.md")
    assert named.read().text == "A key."
    (leading_out.parent / "link").symlink_to(leading_out, target_is_directory=True)
    assert "b/README.md" in ids(leading_out.parent / "link"), "the source itself may be a link"
    assert len(caplog.messages) == 1


def test_folders_within_folders_without_end(tmp_path: Path) -> None:
    """1,500 deep is more than Python recurses; below that lies more than a path may name."""
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(2500):
        os.mkdir("d", dir_fd=here)
        there = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = there
    os.close(here)
    (tmp_path / "README.md").write_text("words")
    (tmp_path / "/".join(["d"] * 1500) / "README.md").write_text("deep words")
    first, deep, beyond = found(tmp_path)
    assert first.read().text == "words"
    assert deep.read().text == "deep words"
    # Not `refused`: what is left of so long a path depends on the temporary folder's length.
    with pytest.raises(ReadmeError, match="cannot list this folder: File name too long"):
        beyond.read()
    subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)


def test_what_cannot_be_read_is_found_and_says_so_when_read(tmp_path: Path) -> None:
    for name in ("loop", "gone", "pipe"):
        (tmp_path / name).mkdir()
    (tmp_path / "loop" / "README.md").symlink_to("README.md")
    (tmp_path / "gone" / "README.md").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe" / "README.md")
    said = {}
    for item in found(tmp_path):
        with pytest.raises(ReadmeError) as caught:
            item.read()
        said[item.id] = str(caught.value).rpartition(": ")[2]
    assert said == {
        "gone/README.md": "No such file or directory",
        "loop/README.md": "Too many levels of symbolic links",
        "pipe/README.md": "is not a file but a device or a pipe",
    }


def test_a_folder_that_cannot_be_listed_is_reported(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    last = found(folder)[-1]
    with refused(ReadmeError):
        last.read()


def test_a_file_name_that_is_not_utf8_becomes_an_id_that_is(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.md")).write_text("words")
    (item,) = found(tmp_path, globs=("*.md",))
    assert item.id == "caf\\udce9.md"
    assert item.read().text == "words"


def rows(tmp_path: Path, *lines: object) -> Path:
    path = tmp_path / "dump.jsonl"
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(text) + "\n", errors="surrogateescape")
    return path


def test_json_lines(tmp_path: Path) -> None:
    path = rows(tmp_path, {"id": "a", "readme": "x"}, "", {"id": 7, "readme": "y", "more": 1})
    assert [(item.id, item.read().text) for item in found(path)] == [("a", "x"), ("7", "y")]
    assert found(path)[1].place == f"{path}, line 3"


def test_fields_of_other_names(tmp_path: Path) -> None:
    path = rows(tmp_path, {"full_name": "a/b", "text": "x"})
    (item,) = found(path, id_field="full_name", readme_field="text")
    assert (item.id, item.read().text) == ("a/b", "x")


@pytest.mark.parametrize(
    ("line", "id_"),
    [
        ("{", "LINE"),
        ("[1]", "LINE"),
        ("[" * 100_000, "LINE"),
        ({"readme": "x"}, "LINE"),
        ({"id": None, "readme": "x"}, "LINE"),
        ({"id": True, "readme": "x"}, "LINE"),
        ({"id": "y" * 5000, "readme": "x"}, "LINE"),
        ({"id": " ", "readme": "x"}, "LINE"),
        ('{"id": ' + "1" * 5000 + "}", "LINE"),
        ('{"id": "caf\udce9"}', "LINE"),
        ({"id": "a"}, "a"),
        ({"id": "a", "readme": None}, "a"),
        ({"id": "a", "readme": " \n"}, "a"),
        ({"id": "a", "readme": "\0"}, "a"),
    ],
)
def test_a_bad_line_is_one_bad_readme_with_its_number(
    tmp_path: Path, line: object, id_: str
) -> None:
    path = rows(tmp_path, {"id": "good", "readme": "x"}, line, {"id": "last", "readme": "x"})
    good, bad, last = found(path)
    assert (good.id, last.id) == ("good", "last")
    assert bad.id == id_.replace("LINE", f"{path}:2")
    with refused(ReadmeError):
        bad.read()


def test_a_line_without_end_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_LINE", 100)
    path = rows(tmp_path, "x" * 1000, {"id": "a", "readme": "x"})
    endless, good = found(path)
    assert good.id == "a"
    assert good.place.endswith("line 2")
    with refused(ReadmeError):
        endless.read()


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_are_items_with_storable_ids(lines: list[bytes]) -> None:
    whole = b"\n".join(lines)
    for item in Sources(())._json_lines(io.BytesIO(whole), "-", "standard input"):
        item.id.encode()
        item.place.encode()
        with suppress(ReadmeError):
            item.read()


def parquet(path: Path, **columns: object) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def test_parquet(tmp_path: Path) -> None:
    path = parquet(tmp_path / "dump.parquet", id=[1, 2], readme=["x", None], other=[0, 0])
    first, second = found(path)
    assert (first.id, first.read().text) == ("1", "x")
    with refused(ReadmeError):
        second.read()


def test_parquet_that_is_none_or_lacks_a_column(tmp_path: Path) -> None:
    (tmp_path / "no.parquet").write_text("PAR?")
    with refused(InputError):
        found(tmp_path / "no.parquet")
    path = parquet(tmp_path / "dump.parquet", name=["a"], readme=["x"])
    with refused(InputError):
        found(path)


def test_a_missing_source_is_an_error_at_once(tmp_path: Path) -> None:
    with refused(InputError):
        Sources((str(tmp_path / "nowhere"),))
    with refused(UsageError):
        Sources(("-", "-"))


def test_pipes_cannot_be_walked_twice(tmp_path: Path, folder: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert Sources((str(folder),)).rereadable
    assert not Sources((str(folder), "-")).rereadable
    assert not Sources((str(tmp_path / "pipe.jsonl"),)).rereadable


def test_a_parquet_value_that_is_not_utf8_is_one_bad_row(tmp_path: Path) -> None:
    texts = pyarrow.array([b"good", b"caf\xe9", b"good"]).cast(pyarrow.binary())
    odd = pyarrow.Array.from_buffers(pyarrow.string(), 3, texts.buffers())
    path = parquet(tmp_path / "dump.parquet", id=["a", "b", "c"], readme=odd)
    first, bad, last = found(path)
    assert (first.read().text, last.read().text) == ("good", "good")
    assert bad.id == "b"
    with refused(ReadmeError):
        bad.read()
    path = parquet(tmp_path / "dump.parquet", id=odd, readme=["x", "y", "z"])
    assert [item.sound for item in found(path)] == [True, False, True]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("id", pyarrow.array([10**18], pyarrow.timestamp("ns"))),
        ("id", pyarrow.array([10**9], pyarrow.date32())),
        ("id", pyarrow.array([0.5])),
        ("id", pyarrow.array([[1]])),
        ("id", pyarrow.nulls(1)),
        ("readme", pyarrow.array([1])),
        ("readme", pyarrow.array([["x"]])),
        ("readme", pyarrow.array([b"x"])),
    ],
)
def test_parquet_columns_of_other_types_are_refused_at_once(
    tmp_path: Path, column: str, values: pyarrow.Array
) -> None:
    columns = {"id": pyarrow.array(["a"]), "readme": pyarrow.array(["x"]), column: values}
    with refused(InputError):
        Sources((str(parquet(tmp_path / "dump.parquet", **columns)),))


@pytest.mark.parametrize(
    "kind",
    [
        pyarrow.large_string(),
        pyarrow.string_view(),
        pyarrow.dictionary(pyarrow.int8(), pyarrow.string()),
    ],
    ids=str,
)
def test_parquet_text_of_every_kind(tmp_path: Path, kind: pyarrow.DataType) -> None:
    text = pyarrow.array(["x", None, "x"], kind)
    ids = pyarrow.array([1, 2, 3], "uint64")
    try:
        path = parquet(tmp_path / "dump.parquet", id=ids, readme=text)
    except pyarrow.ArrowNotImplementedError as error:  # before 21: read as strings, not written
        pytest.skip(str(error))
    assert [(item.id, item.sound) for item in found(path)] == [
        ("1", True),
        ("2", False),
        ("3", True),
    ]


@pytest.mark.parametrize("long", ["A game. " * 40_000, "é" * 200_000, "a" + "é" * 200_000])
def test_a_long_text_of_parquet_is_read_as_that_of_a_file(tmp_path: Path, long: str) -> None:
    (tmp_path / "README.md").write_text(long)
    path = parquet(tmp_path / "dump.parquet", id=["a"], readme=[long])
    assert found(path)[0].read().text == found(tmp_path / "README.md")[0].read().text


def test_damaged_parquet_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = parquet(tmp_path / "dump.parquet", id=[*"abc"], readme=["some words " * 999, "y", "z"])
    whole = path.read_bytes()
    for start in range(4, len(whole) - 8, 7):
        path.write_bytes(whole[:start] + b"\xff" * 9 + whole[start + 9 :])
        try:
            for item in found(path):
                with suppress(ReadmeError):
                    item.read()
        except InputError as error:
            assert "dump.parquet" in str(error)  # noqa: PT017


HUGE = """
import resource, sys
import pyarrow, pyarrow.parquet
from tagger.errors import ReadmeError
from tagger.readme.sources import Sources
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for item in Sources((sys.argv[1],)):
    try:
        item.read()
    except ReadmeError as error:
        print(error, file=sys.stderr)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start)
"""
"""Says how many KiB of memory a dump takes at most."""


def memory(path: Path) -> float:
    """Return the MB that walking a dump takes, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", HUGE, str(path)], capture_output=True, text=True, check=True
    )
    return int(done.stdout) / 1000


@pytest.mark.parametrize("as_dictionary", [True, False])
def test_a_small_file_of_huge_texts_takes_bounded_memory(
    tmp_path: Path, as_dictionary: bool
) -> None:
    path = tmp_path / "dump.parquet"
    text = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array([0] * 16, "int8"), ["word " * 6_000_000]
    )
    column = text if as_dictionary else text.cast(pyarrow.string())
    table = pyarrow.table({"id": [str(n) for n in range(16)], "readme": column})
    pyarrow.parquet.write_table(table, path, compression="zstd", write_statistics=False)
    assert path.stat().st_size < 10_000
    assert memory(path) < 400


def test_a_line_of_many_values_takes_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "dump.jsonl"
    count = (sources.MAX_LINE - 100) // 3
    path.write_text('{"id": "a", "readme": "x", "more": [' + "[]," * count + "[]]}\n")
    assert memory(path) < 400
    path.write_text('{"id": "a", "readme": "x", "more": [' + "[]," * 9 * count + "[]]}\n")
    assert memory(path) < 60


def test_sources_come_back_as_they_were_named(tmp_path: Path) -> None:
    named = Sources((str(tmp_path),), globs=("*.md",), id_from="stem", readme_field="text")
    found = Sources.from_json(named.to_json(tmp_path), tmp_path)
    assert replace(found, folder=None) == named


def test_relative_sources_are_found_from_another_folder_and_after_a_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / "texts" / "a").mkdir(parents=True)
    (home / "texts" / "a" / "README.rst").write_text("hello")
    (home / "one.md").write_text("one")
    (home / "dump.jsonl").write_text('{"id": "b", "readme": "text"}\n{"id": 1}\n')
    monkeypatch.chdir(home)
    paths = ("texts", "one.md", "dump.jsonl")
    for id_from in ("relative", "path", "stem", "parent"):
        monkeypatch.chdir(home)
        named = Sources(paths, id_from=id_from)
        said, expected = named.to_json(home), [item.id for item in named]
        monkeypatch.chdir(tmp_path)
        home = home.rename(tmp_path / id_from)
        found = list(Sources.from_json(said, home))
        assert [item.id for item in found] == expected
        assert [item.read().text for item in found[:3]] == ["hello", "one", "text"]


@pytest.mark.parametrize("text", ["", "[]", '{"paths": 3}', '{"paths": []}'])
def test_what_names_no_sources_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="not sources"):
        Sources.from_json(text, Path())
