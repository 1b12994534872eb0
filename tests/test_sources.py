"""Where READMEs are found, what names them, and what becomes of the odd ones."""

import io
import json
import os
from contextlib import suppress
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger import sources
from tagger.errors import InputError, ReadmeError, UsageError
from tagger.paths import real
from tagger.sources import Item, Sources


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
    with pytest.raises(UsageError, match="both read and written"):
        found(folder / "a" / "guide.md", own=own)


def test_links_to_folders_are_not_followed_and_links_to_files_are(folder: Path) -> None:
    (folder / "a" / "again").symlink_to(folder, target_is_directory=True)
    (folder / "c").mkdir()
    (folder / "c" / "README.md").symlink_to(folder / "b" / "README.md")
    assert ids(folder) == ["a/readme.rst", "a/docs/README", "b/README.md", "c/README.md"]
    assert found(folder)[-1].read().text == "The README b/README.md."


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
    with pytest.raises(ReadmeError, match="b: cannot list this folder: Permission denied"):
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
    ("line", "id_", "says"),
    [
        ("{", "LINE", "is not JSON"),
        ("[1]", "LINE", "is not a JSON object"),
        ("[" * 100_000, "LINE", "nested too deep"),
        ({"readme": "x"}, "LINE", "lacks the field 'id'"),
        ({"id": None, "readme": "x"}, "LINE", "neither text nor a whole number"),
        ({"id": True, "readme": "x"}, "LINE", "neither text nor a whole number"),
        ({"id": " ", "readme": "x"}, "LINE", "the field 'id' is empty"),
        ('{"id": ' + "1" * 5000 + "}", "LINE", "holds a number that is too long"),
        ('{"id": "caf\udce9"}', "LINE", "is not UTF-8"),
        ({"id": "a"}, "a", "lacks the field 'readme'"),
        ({"id": "a", "readme": None}, "a", "'readme' is not text"),
        ({"id": "a", "readme": " \n"}, "a", "is empty"),
        ({"id": "a", "readme": "\0"}, "a", "is a binary file"),
    ],
)
def test_a_bad_line_is_one_bad_readme_with_its_number(
    tmp_path: Path, line: object, id_: str, says: str
) -> None:
    path = rows(tmp_path, {"id": "good", "readme": "x"}, line, {"id": "last", "readme": "x"})
    good, bad, last = found(path)
    assert (good.id, last.id) == ("good", "last")
    assert bad.id == id_.replace("LINE", f"{path}:2")
    with pytest.raises(ReadmeError, match=f"line 2.*{says}"):
        bad.read()


def test_a_line_without_end_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_LINE", 100)
    path = rows(tmp_path, "x" * 1000, {"id": "a", "readme": "x"})
    endless, good = found(path)
    assert good.id == "a"
    assert good.place.endswith("line 2")
    with pytest.raises(ReadmeError, match="longer than 100 bytes"):
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
    with pytest.raises(ReadmeError, match=r"dump.parquet, row 2: the field 'readme' is not text"):
        second.read()


def test_parquet_that_is_none_or_lacks_a_column(tmp_path: Path) -> None:
    (tmp_path / "no.parquet").write_text("PAR?")
    with pytest.raises(InputError, match=r"no.parquet: not a Parquet file"):
        found(tmp_path / "no.parquet")
    path = parquet(tmp_path / "dump.parquet", name=["a"], readme=["x"])
    with pytest.raises(InputError, match="no column 'id' among name, readme; name it with"):
        found(path)


def test_a_missing_source_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: No such file"):
        Sources((str(tmp_path / "nowhere"),))
    with pytest.raises(UsageError, match="only once"):
        Sources(("-", "-"))


def test_pipes_cannot_be_walked_twice(tmp_path: Path, folder: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert Sources((str(folder),)).rereadable
    assert not Sources((str(folder), "-")).rereadable
    assert not Sources((str(tmp_path / "pipe.jsonl"),)).rereadable
