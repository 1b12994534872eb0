"""The file of lines: what an earlier run wrote is kept as far as it is written again."""

import os
import resource
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.messages import refused
from tagger._util.files import check_target, replacing, write_atomically
from tagger.batch.output import LinesFile, Place
from tagger.errors import OutputError, UsageError


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
        with refused(OutputError):
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
    with refused(UsageError):
        Place.of(Path("/dev/null"))
    for wrong in (tmp_path, tmp_path / "no" / "out.jsonl"):
        with refused(OutputError):
            Place.of(wrong)


def test_a_file_that_no_batch_has_begun_is_not_overwritten(path: Path) -> None:
    place = Place.of(path)
    place.check_ours()
    path.touch()
    place.check_ours()
    path.write_text("precious")
    with refused(UsageError):
        place.check_ours()
    place.state.touch()
    with refused(UsageError):
        place.check_ours()
    place.state.write_text("something")
    place.check_ours()


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file elsewhere that a link leads to."""
    (tmp_path / "elsewhere").mkdir()
    victim = tmp_path / "elsewhere" / "precious"
    victim.write_text("precious")
    return victim


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet", "out.parquet.jsonl"])
@pytest.mark.parametrize("dangling", [True, False])
def test_an_output_that_is_a_link_is_refused(
    tmp_path: Path, victim: Path, name: str, dangling: bool
) -> None:
    if dangling:
        victim.unlink()
    (tmp_path / name).symlink_to(victim)
    with refused(UsageError):
        Place.of(tmp_path / name.removesuffix(".jsonl") if "parquet" in name else tmp_path / name)
    with refused(UsageError):
        write(tmp_path / name, "a", restart=True)
    assert victim.exists() is not dangling
    assert dangling or victim.read_text() == "precious"


def test_an_output_of_two_names_is_refused(path: Path, victim: Path) -> None:
    path.hardlink_to(victim)
    with refused(UsageError):
        Place.of(path)
    with refused(UsageError):
        write(path, "a")
    assert victim.read_text() == "precious"


def test_a_folder_may_be_reached_by_a_link(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "here").symlink_to(victim.parent, target_is_directory=True)
    output = tmp_path / "here" / "out.jsonl"
    assert Place.of(output).files == Place.of(victim.parent / "out.jsonl").files
    write(output, "a")
    assert (victim.parent / "out.jsonl").read_text() == "a\n"


@pytest.mark.parametrize("then", ["removed", "replaced"])
def test_an_output_that_goes_away_meanwhile_is_an_error(path: Path, then: str) -> None:
    with LinesFile(path) as file:
        file.write("a")
        path.unlink()
        if then == "replaced":
            path.write_text("another's")
        with refused(OutputError):
            file.finish()


def test_what_is_replaced_whole_replaces_a_link_and_follows_none(path: Path, victim: Path) -> None:
    path.symlink_to(victim)
    # Names that a part might be expected to have.
    for name in (".out.jsonl.part", "out.jsonl.part", ".out.jsonl.tmp"):
        path.with_name(name).symlink_to(victim)
    check_target(path, lambda: True, "report")
    write_atomically(path, "new")
    assert not path.is_symlink()
    assert path.read_text() == "new"
    assert victim.read_text() == "precious"


def test_parts_have_names_that_nobody_can_foresee_and_go_when_writing_fails(path: Path) -> None:
    path.write_text("old")
    with replacing(path) as first, replacing(path) as second:
        assert first != second
        second.unlink()
        second.write_text("second")
        first.write_text("first")
    with pytest.raises(ZeroDivisionError), replacing(path):
        raise ZeroDivisionError
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


def test_written_files_have_the_permissions_that_the_umask_gives(path: Path) -> None:
    umask = os.umask(0o027)
    try:
        write_atomically(path, "new")
    finally:
        os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o640
