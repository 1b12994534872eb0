"""Reading READMEs from files, and refusing what is none."""

import io
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from support.messages import refused
from tagger.errors import ReadmeError
from tagger.readme.readme import MAX_BYTES, Readme


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
    "content",
    [
        b"",
        b" \n\t\r\n ",
        b"\xef\xbb\xbf",
        b"\x89PNG\r\n\x1a\n\0\0",
        bytes(range(128, 160)) * 9,
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(content)
    with refused(ReadmeError):
        Readme.read(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with refused(ReadmeError):
        Readme.read(tmp_path / "nothing.md")
    with refused(ReadmeError):
        Readme.read(tmp_path)
    with refused(ReadmeError):
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


ENGLISH = "# Game\n\nA game engine for the terminal."
TEXTS = {
    "utf-8-sig": ENGLISH,
    "utf-16": ENGLISH,
    "utf-16-le": ENGLISH,
    "utf-32": ENGLISH,
    "latin-1": "# Café\n\nUne bibliothèque très légère pour créer des fenêtres.",
    "gb18030": "# 游戏引擎\n\n这是一个用于终端的游戏引擎，支持多种平台。",
    "shift_jis": "# ゲームエンジン\n\nこれは端末用のゲームエンジンです。日本語の説明。",
    "cp1251": "# Игровой движок\n\nЭто игровой движок для терминала.",
}


@pytest.mark.parametrize("encoding", TEXTS)
def test_other_encodings_are_found_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, encoding: str
) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(TEXTS[encoding].encode(encoding))
    with caplog.at_level("INFO"):
        assert Readme.read(path).text == TEXTS[encoding]
    assert ("is not UTF-8, and is read as" in caplog.text) == (encoding != "utf-8-sig")


def test_a_long_text_in_another_encoding_is_cut_between_characters(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_bytes((TEXTS["gb18030"] + "\n").encode("gb18030") * 3000)
    assert Readme.read(path).text.startswith(TEXTS["gb18030"])


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (
            "Fast “café” — quick.\nbad ".encode() + b"\xff\xfe byte",
            "Fast “café” — quick.\nbad �� byte",
        ),
        ("这是一个用于终端的游戏引擎".encode()[:-2], "这是一个用于终端的游戏引�"),
        ("# Café\n\nA game.\n".encode("latin-1"), "# Café\n\nA game.\n"),
    ],
    ids=["stray bytes", "cut at its end", "one accent"],
)
def test_a_few_odd_bytes_do_not_change_the_rest(tmp_path: Path, data: bytes, text: str) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(data)
    assert Readme.read(path).text == text


def test_a_restructured_text_may_hold_lines_of_any_length(tmp_path: Path) -> None:
    path = tmp_path / "README.rst"
    image = f".. image:: data:image/png;base64,{'A' * 20_000}\n"
    path.write_text(f"Voxel\n=====\n\nA game engine.\n\n{image}")
    assert "A game engine." in Readme.read(path).plain_text


def test_line_ends_and_writing_from_right_to_left_are_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_bytes("# לוח\r\n\r\nספרייה ליצירת משחקים\r\n".encode())
    assert Readme.read(path).plain_text == "# לוח\n\nספרייה ליצירת משחקים"


def test_one_line_of_megabytes_is_read_in_part(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("word " * 1_000_000)
    assert len(Readme.read(path).plain_text) <= MAX_BYTES


RST = """
=====
Voxel
=====

.. image:: https://ci/badge.svg
   :alt: Build

A *game engine* for the `terminal <https://x.y>`_, see :func:`foo`.

.. code-block:: python

   1
   2
   3
   4
   5
   6
   7

.. include:: /etc/passwd
.. raw:: html

   <b>raw</b>

Install
-------

* one
* two
"""

ASCIIDOC = """
= Voxel
:toc: left
image:https://ci/badge.svg[Build,link=x]

A *game engine* for the https://x.y[terminal^], see <<install,Install>>.

// a comment
[source,python]
----
1
2
3
4
5
6
7
----

== Install

* one
** two

include::/etc/passwd[]
"""


@pytest.mark.parametrize(("name", "text"), [("README.rst", RST), ("README.adoc", ASCIIDOC)])
def test_other_markup_is_reduced_to_its_words(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    words = Readme.read(path).plain_text
    assert words.startswith("# Voxel")
    assert "A game engine for the terminal" in words
    assert "## Install" in words
    assert "- one" in words
    assert "Build" in words
    assert "\n6" in words
    for gone in ("7", "https", "root:", "raw", "comment", "toc", "source", "::"):
        assert gone not in words


@pytest.mark.parametrize("name", ["x.rst", "x.adoc"])
def test_hostile_markup_takes_seconds_at_most(name: str) -> None:
    nested = "".join("  " * depth + "* a\n\n" for depth in range(300))
    for text in (nested, "a_b *c* " * 16_000, "<<a *b* [[http://x[" * 7_000, "=" * 100_000):
        start = time.perf_counter()
        assert isinstance(Readme("x", text, name).plain_text, str)
        assert time.perf_counter() - start < 20
