"""Reading READMEs from files, and refusing what is none."""

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tagger.errors import ReadmeError
from tagger.readme import MAX_BYTES, Readme


def test_the_id_is_the_path_unless_one_is_given(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("# Title")
    assert Readme.read(path).id == str(path)
    assert Readme.read(path, "1375").id == "1375"


def test_a_dash_reads_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"# Title")))
    readme = Readme.read("-")
    assert (readme.id, readme.text) == ("-", "# Title")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b" \n\t\r\n ", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0", "binary"),
        (b"caf\xe9 au lait", "not UTF-8"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(content)
    with pytest.raises(ReadmeError, match=says):
        Readme.read(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReadmeError, match="no such file"):
        Readme.read(tmp_path / "nothing.md")
    with pytest.raises(ReadmeError, match="is a folder"):
        Readme.read(tmp_path)
    with pytest.raises(ReadmeError, match="not a file name"):
        Readme.read("a\0b")


def test_only_the_beginning_of_an_enormous_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    with path.open("wb") as file:
        file.write("# Título é ".encode() * 10)
        file.write(b"a" * (MAX_BYTES - file.tell() - 1) + "é".encode())
        file.truncate(1 << 30)
    readme = Readme.read(path)
    assert len(readme.text.encode()) == MAX_BYTES - 1, "the character cut in two is left out"


def test_a_byte_order_mark_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(b"\xef\xbb\xbf# Title")
    assert Readme.read(path).text == "# Title"
