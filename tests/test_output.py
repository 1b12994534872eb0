"""The file of lines: what an earlier run wrote is kept as far as it is written again."""

import resource
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger.errors import OutputError, UsageError
from tagger.output import LinesFile, Place


def write(path: Path, *lines: str, finish: bool = True, restart: bool = False) -> int:
    with LinesFile(path, restart=restart) as file:
        for line in lines:
            file.write(line)
        return file.finish() if finish else 0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


@pytest.mark.parametrize(
    ("earlier", "left"),
    [
        ("", 0),
        ("a\nb\nc\n", 0),
        ("a\n", 0),
        ("a\nb", 0),
        ("a\nB\nc\n", 0),
        ("a\nbb\nc\n", 0),
        ("a\nb\nc\nd\n", 1),
        ("a\nb\nc\nd\ne", 2),
        ("\xff\0" * 5000, 0),
    ],
)
def test_whatever_lies_there_the_new_lines_stand_in_the_end(
    path: Path, earlier: str, left: int
) -> None:
    path.write_text(earlier)
    assert write(path, "a", "b", "c") == left
    assert path.read_text() == "a\nb\nc\n"


@given(st.text("ab\n", max_size=12), st.lists(st.text("ab", max_size=3), max_size=5))
def test_any_remains_are_overwritten(
    tmp_path_factory: pytest.TempPathFactory, earlier: str, lines: list[str]
) -> None:
    path = tmp_path_factory.mktemp("any") / "out"
    path.write_text(earlier)
    write(path, *lines)
    assert path.read_text() == "".join(line + "\n" for line in lines)


def test_nothing_is_touched_before_the_lines_differ(path: Path) -> None:
    path.write_text("a\nb\nc\n")
    write(path, "a", "b", finish=False)
    assert path.read_text() == "a\nb\nc\n", "stopped before it came to c"


def test_a_restart_forgets_what_was_there(path: Path) -> None:
    path.write_text("a\nb\nc\n")
    write(path, "a", finish=False, restart=True)
    assert path.read_text() == "a\n"


def test_a_line_can_be_read_as_soon_as_it_is_written(path: Path) -> None:
    with LinesFile(path) as file:
        file.write("a")
        assert path.read_text() == "a\n"


def test_a_full_disk_is_an_error_that_says_what_to_do(path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OutputError, match="make room and run the same command again"):
            write(path, *["x" * 99] * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_text().startswith("x" * 99 + "\n")


def test_the_files_of_an_output(tmp_path: Path) -> None:
    plain = Place.of(tmp_path / "out.jsonl")
    assert (plain.lines.name, plain.state.name) == ("out.jsonl", "out.jsonl.state")
    table = Place.of(tmp_path / "out.parquet")
    assert table.is_table
    assert (table.lines.name, table.state.name) == ("out.parquet.jsonl", "out.parquet.jsonl.state")
    for wrong, says in (
        (tmp_path, "is a folder"),
        (Path("/dev/null"), "no regular file"),
        (tmp_path / "no" / "out.jsonl", "there is no folder"),
    ):
        with pytest.raises(UsageError, match=says):
            Place.of(wrong)


def test_a_file_that_no_batch_has_begun_is_not_overwritten(path: Path) -> None:
    place = Place.of(path)
    place.check_ours()
    path.touch()
    place.check_ours()
    path.write_text("precious")
    with pytest.raises(UsageError, match="no batch is known to have written it"):
        place.check_ours()
    place.state.touch()
    with pytest.raises(UsageError, match="no batch is known"):
        place.check_ours()
    place.state.write_text("something")
    place.check_ours()
