"""Cleaning takes little time, whatever it is given."""

import contextlib
import time

import pytest

from support.hostile_inputs import BYTES, KINDS
from tagger.errors import ReadmeError
from tagger.readme.cleaning import clean
from tagger.readme.decode import decode
from tagger.readme.rst import plain_rst

SIZE = 32 * 1024
SECONDS = 8
"""Of processor time. The slowest input takes 0.5 to 1.3 s on a machine that has nothing else to
do and three times that on a busy one; a quadratic pattern takes a minute."""


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_readme_made_to_be_slow_is_clean_in_seconds(name: str) -> None:
    kind = KINDS[name]
    start = time.process_time()
    clean(kind.text(SIZE), kind.suffix)
    assert time.process_time() - start < SECONDS


@pytest.mark.parametrize("name", BYTES)
def test_an_encoding_is_found_or_given_up_in_seconds(name: str) -> None:
    start = time.process_time()
    with contextlib.suppress(ReadmeError):
        decode((BYTES[name] * SIZE)[:SIZE], name, whole=False)
    assert time.process_time() - start < SECONDS


def test_substitutions_have_their_values_but_do_not_multiply() -> None:
    definitions = ".. |name| replace:: Voxel\n.. |badge| image:: x\n   :alt: Build\n\n"
    assert plain_rst(f"{definitions}|name| is a game. |badge|").endswith("Voxel is a game. Build")
    levels = "".join(f".. |a{n}| replace:: {f'|a{n - 1}| ' * 10}\n" for n in range(1, 10))
    words = plain_rst(f".. |a0| replace:: ha\n{levels}\n|a9|\n")
    assert len(words) < 10_000


def test_a_long_paragraph_of_restructured_text_is_whole() -> None:
    words = " ".join(f"word{number}" for number in range(1000))
    assert plain_rst(words) == words


def test_a_readme_of_many_lines_for_people_is_whole() -> None:
    lines = "\n".join(f"- [item {number}](x)" for number in range(5000))
    assert clean(lines, ".md").endswith("- item 4999")


def test_a_quotation_goes_on_without_a_mark() -> None:
    assert clean("> one\ntwo\n> three\n\nfour", ".md") == "one\ntwo\nthree\n\nfour"
