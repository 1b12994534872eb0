"""`tagger batch` as its users meet it: sources, outputs, resuming, failures, signals."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

import tagger.cli
from support import tiny
from support.console import TAGS, Outcome, Run
from support.messages import check_line
from tagger.cli import progress

pytestmark = pytest.mark.slow

COUNT = 8


@pytest.fixture
def catalogue(workplace: Path) -> Path:
    """A folder of READMEs, three levels deep."""
    for number in range(COUNT):
        path = workplace / "catalogue" / f"repo-{number}" / "README.md"
        path.parent.mkdir(parents=True)
        path.write_text(
            f"# Number {number}\n\n" + "A game engine for terminals. " * (number % 3 + 1)
        )
    return workplace / "catalogue"


def rows(text: str | Path) -> list[Any]:
    text = text.read_text() if isinstance(text, Path) else text
    return [json.loads(line) for line in text.splitlines()]


def dump(path: Path, count: int = COUNT) -> Path:
    lines = [json.dumps({"id": n, "readme": f"A game, number {n}."}) for n in range(count)]
    path.write_text("\n".join(lines) + "\n")
    return path


def good(outcome: Outcome) -> Outcome:
    assert outcome.code == 0, outcome.err
    return outcome


def test_a_folder_to_standard_output(run: Run, catalogue: Path) -> None:
    outcome = good(run("batch", "catalogue", "--tags", "tags.json"))
    replies = rows(outcome.out)
    assert [reply["id"] for reply in replies] == [f"repo-{n}/README.md" for n in range(COUNT)]
    assert all(tag in json.loads(TAGS) for reply in replies for tag in reply["tags"])
    assert sorted(path.name for path in catalogue.parent.iterdir()) == [
        "README.md",
        "catalogue",
        "tags.json",
    ], "nothing is left behind"


def test_a_hyphen_is_standard_output_too(run: Run, catalogue: Path) -> None:
    args = ("batch", "catalogue", "--tags", "tags.json")
    assert run(*args, "-o", "-").out == run(*args).out
    assert not (catalogue.parent / "-").exists()


def test_the_rows_are_those_of_run(run: Run, catalogue: Path) -> None:
    paths = [f"catalogue/repo-{n}/README.md" for n in range(COUNT)]
    options = ("--tags", "tags.json", "--scores", "--tags-as", "names", "--quiet")
    batch = good(run("batch", "catalogue", "--id-from", "path", *options))
    assert batch.out == run("run", *paths, *options).out
    assert batch.out == run("batch", *paths, *options).out
    assert batch.err == ""


def test_a_file_of_json_lines(run: Run, workplace: Path) -> None:
    dump(workplace / "dump.jsonl")
    replies = rows(good(run("batch", "dump.jsonl", "--tags", "tags.json")).out)
    assert [reply["id"] for reply in replies] == [str(n) for n in range(COUNT)]


def test_sources_may_be_mixed(run: Run, workplace: Path, catalogue: Path) -> None:
    dump(workplace / "dump.ndjson", 2)
    outcome = good(run("batch", "README.md", "dump.ndjson", "catalogue", "--tags", "tags.json"))
    assert [reply["id"] for reply in rows(outcome.out)][:4] == [
        "README.md",
        "0",
        "1",
        "repo-0/README.md",
    ]


def test_parquet_in_and_out(run: Run, workplace: Path) -> None:
    table = {"name": ["a", "b"], "text": ["A game.", ""]}
    pyarrow.parquet.write_table(pyarrow.table(table), workplace / "in.parquet")
    names = ("--id-field", "name", "--readme-field", "text")
    args = ("batch", "in.parquet", *names, "--tags", "tags.json", "-o", "out.parquet", "--scores")
    assert run(*args).code == 1
    lines = rows(workplace / "out.parquet.jsonl")
    assert lines[1]["error"]["type"] == "ReadmeError"
    read = pyarrow.parquet.read_table(workplace / "out.parquet").to_pylist()
    assert read == [
        {
            "id": "a",
            "tags": lines[0]["tags"],
            "error": None,
            "suspicious": False,
            "source": None,
        },
        lines[1] | {"tags": None, "suspicious": None, "source": None},
    ]
    assert run(*args).code == 1, "and again, over the one that is there"


@pytest.mark.parametrize("tags_as", ["objects", "ids", "names"])
@pytest.mark.parametrize("scores", [(), ("--scores",)], ids=["plain", "scores"])
def test_a_table_holds_what_the_lines_hold(
    run: Run, catalogue: Path, tags_as: str, scores: tuple[str, ...]
) -> None:
    work = catalogue.parent
    args = ("--tags", "tags.json", "--tags-as", tags_as, *scores)
    good(run("batch", "catalogue", *args, "-o", "out.parquet"))
    read = pyarrow.parquet.read_table(work / "out.parquet").to_pylist()
    assert [{"id": row["id"], "tags": row["tags"]} for row in read] == rows(
        work / "out.parquet.jsonl"
    )


# Going on where it was.


@pytest.fixture
def tagged(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the number of READMEs of each pass of the model."""
    from tagger.methods.rank.rank import Encoded, Rank

    passes: list[int] = []
    plain = Rank.read

    def counted(self: Rank, readmes: Sequence[Encoded]) -> list[bytes]:
        passes.append(len(readmes))
        return plain(self, readmes)

    monkeypatch.setattr(Rank, "read", counted)
    return passes


BATCH = ("batch", "catalogue", "--tags", "tags.json", "-o", "out.jsonl")


def test_a_second_run_has_nothing_to_do(run: Run, catalogue: Path, tagged: list[int]) -> None:
    good(run(*BATCH))
    assert len(tagged) == COUNT
    before = (catalogue.parent / "out.jsonl").read_bytes()
    outcome = good(run(*BATCH))
    assert len(tagged) == COUNT
    assert (catalogue.parent / "out.jsonl").read_bytes() == before
    assert f"{COUNT} known already" in outcome.err


@pytest.mark.parametrize("torn", ["", "{", '{"id":"repo-3/README.md","tags":[{"id":7'])
def test_a_torn_file_is_repaired(run: Run, catalogue: Path, tagged: list[int], torn: str) -> None:
    good(run(*BATCH))
    path = catalogue.parent / "out.jsonl"
    whole = path.read_text()
    path.write_text("".join(whole.splitlines(keepends=True)[:3]) + torn)
    good(run(*BATCH))
    assert path.read_text() == whole
    assert len(tagged) == COUNT, "what was done is known without its lines"


def test_a_changed_readme_is_done_again_and_a_new_one_takes_its_place(
    run: Run, catalogue: Path, tagged: list[int]
) -> None:
    good(run(*BATCH))
    (catalogue / "repo-2" / "README.md").write_text("Something else.")
    (catalogue / "new").mkdir()
    (catalogue / "new" / "README.md").write_text("A new one.")
    good(run(*BATCH))
    assert len(tagged) == COUNT + 2
    replies = rows(catalogue.parent / "out.jsonl")
    assert replies[0]["id"] == "new/README.md"
    assert len(replies) == COUNT + 1


def test_a_readme_that_is_gone_leaves_the_output(run: Run, catalogue: Path) -> None:
    good(run(*BATCH))
    (catalogue / f"repo-{COUNT - 1}" / "README.md").unlink()
    outcome = good(run(*BATCH))
    assert len(rows(catalogue.parent / "out.jsonl")) == COUNT - 1
    assert "rows left out because their READMEs are gone: 1" in outcome.err


def test_a_failed_readme_is_tried_again(run: Run, catalogue: Path, tagged: list[int]) -> None:
    (catalogue / "repo-2" / "README.md").write_text("")
    outcome = run(*BATCH)
    assert outcome.code == 1
    assert "1 failed (ReadmeError 1)" in outcome.err
    failed = rows(catalogue.parent / "out.jsonl")[2]
    assert failed == {
        "id": "repo-2/README.md",
        "error": {
            "type": "ReadmeError",
            "message": "catalogue/repo-2/README.md: is empty; there is nothing to tag",
        },
    }
    (catalogue / "repo-2" / "README.md").write_text("Mended.")
    good(run(*BATCH))
    assert rows(catalogue.parent / "out.jsonl")[2]["tags"]
    assert len(tagged) == COUNT


def test_how_tags_are_given_and_written_may_change_without_reading_again(
    run: Run, catalogue: Path, tagged: list[int]
) -> None:
    good(run(*BATCH))
    good(run(*BATCH, "--max-tags", "1", "--tags-as", "names"))
    assert len(tagged) == COUNT
    assert all(len(row["tags"]) == 1 for row in rows(catalogue.parent / "out.jsonl"))


def test_what_changes_the_ranking_is_said_and_done_again(
    run: Run, catalogue: Path, tagged: list[int]
) -> None:
    good(run(*BATCH))
    outcome = good(run(*BATCH, "--readme-tokens", "5"))
    assert "reading again: README tokens changed" in outcome.err
    assert len(tagged) == 2 * COUNT


def test_another_model_or_vocabulary_is_refused_before_anything_is_lost(
    run: Run, catalogue: Path, tiny_folder: Path, tagged: list[int]
) -> None:
    work = catalogue.parent
    good(run(*BATCH))
    before = (work / "out.jsonl").read_bytes()
    (work / "other.json").write_text('["cli", "web"]')
    refused = run(*BATCH[:2], "--tags", "other.json", "-o", "out.jsonl")
    assert refused.code == 2
    check_line(refused.err)
    shutil.copytree(tiny_folder, work / "model")
    good(run(*BATCH, model="model"))
    assert len(tagged) == COUNT, "the same model, wherever it lies"
    other = tiny.save(work / "other", seed=1)
    refused = run(*BATCH, "--quiet", model=str(other))
    assert refused.code == 2
    check_line(refused.err)
    assert (work / "out.jsonl").read_bytes() == before
    good(run(*BATCH[:2], "--tags", "other.json", "-o", "out.jsonl", "--restart"))
    assert len(tagged) == 2 * COUNT
    assert {tag["name"] for row in rows(work / "out.jsonl") for tag in row["tags"]} <= {
        "cli",
        "web",
    }


# Links, and files that go away.


@pytest.mark.parametrize("restart", [(), ("--restart",)], ids=["", "restart"])
@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.state", "out.jsonl.state-wal"])
def test_a_link_that_came_with_a_folder_is_not_written_through(
    run: Run, catalogue: Path, name: str, restart: tuple[str, ...]
) -> None:
    good(run(*BATCH))
    victim = catalogue.parent.parent / "precious"
    victim.write_text("precious")
    link = catalogue.parent / name
    link.unlink(missing_ok=True)
    link.symlink_to(victim)
    refused = run(*BATCH, *restart, "--quiet")
    assert refused.code == 2
    check_line(refused.err)
    assert victim.read_text() == "precious"


def test_a_table_is_not_written_through_a_link(run: Run, catalogue: Path) -> None:
    victim = catalogue.parent.parent / "precious"
    victim.write_text("precious")
    (catalogue.parent / ".out.parquet.part").symlink_to(victim)
    good(run(*BATCH[:-1], "out.parquet"))
    assert victim.read_text() == "precious"
    (catalogue.parent / "out.parquet").unlink()
    (catalogue.parent / "out.parquet").symlink_to(victim)
    refused = run(*BATCH[:-1], "out.parquet", "--quiet")
    assert refused.code == 2
    check_line(refused.err)
    assert victim.read_text() == "precious"


def test_what_a_link_leads_to_outside_is_not_read_unless_asked_for(
    run: Run, catalogue: Path
) -> None:
    (catalogue.parent / "secret").write_text("A key.")
    path = catalogue / "repo-2" / "README.md"
    path.unlink()
    path.symlink_to("../../secret")
    outcome = good(run(*BATCH))
    assert outcome.err.count("links that lead out of catalogue are not followed: 1") == 1
    assert len(rows(catalogue.parent / "out.jsonl")) == COUNT - 1
    good(run(*BATCH, "--follow-links"))
    assert len(rows(catalogue.parent / "out.jsonl")) == COUNT


def test_an_output_removed_meanwhile_is_an_error_and_written_by_the_next_run(
    run: Run, catalogue: Path, tagged: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tagger.batch.output import LinesFile

    plain = LinesFile.finish

    def remove(self: LinesFile) -> int:
        (catalogue.parent / "out.jsonl").unlink()
        return plain(self)

    with monkeypatch.context() as patch:
        patch.setattr(LinesFile, "finish", remove)
        outcome = run(*BATCH, "--quiet")
    assert outcome.code == tagger.cli.OUTPUT_ERROR
    check_line(outcome.err)
    good(run(*BATCH))
    assert len(rows(catalogue.parent / "out.jsonl")) == COUNT == len(tagged)


def test_a_memory_removed_meanwhile_is_written_again(
    run: Run, catalogue: Path, tagged: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tagger.batch.output import LinesFile

    plain = LinesFile.finish

    def remove(self: LinesFile) -> int:
        (catalogue.parent / "out.jsonl.state").unlink()
        return plain(self)

    with monkeypatch.context() as patch:
        patch.setattr(LinesFile, "finish", remove)
        assert "out.jsonl.state was removed while it was in use" in good(run(*BATCH)).err
    good(run(*BATCH))
    assert len(tagged) == COUNT


def test_a_table_of_mixed_ids(run: Run, catalogue: Path) -> None:
    (catalogue.parent / "mixed.json").write_text('[{"id":1,"name":"cli"},{"id":"b","name":"web"}]')
    outcome = good(run("batch", "catalogue", "--tags", "mixed.json", "-o", "out.parquet"))
    assert outcome.err.count("the table holds them as text") == 1
    ids = {
        tag["id"]
        for row in pyarrow.parquet.read_table(catalogue.parent / "out.parquet").to_pylist()
        for tag in row["tags"]
    }
    assert ids <= {"1", "b"}


# Bad input.


def prepare(work: Path) -> None:
    (work / "nothing").mkdir()
    (work / "none.jsonl").write_text("")
    (work / "bad.jsonl").write_text('{"name":"a","readme":"x"}\n{"name":"b","readme":"x"}\n')
    (work / "twice.jsonl").write_text('{"id":1,"readme":"x"}\n{"id":"1","readme":"y"}\n')
    (work / "no.parquet").write_text("x")
    (work / "precious.jsonl").write_text("mine\n")
    (work / "strange.jsonl.state").write_text("not a database")


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("nowhere",), 2),
        (("nothing",), 2),
        (("nothing", "--glob", "*.x"), 2),
        (("none.jsonl",), 2),
        (("bad.jsonl",), 2),
        (("twice.jsonl",), 2),
        (("README.md", "README.md"), 2),
        (("no.parquet",), 2),
        (("twice.jsonl", "-o", "twice.jsonl"), 2),
        (("README.md", "-o", "nothing"), 74),
        (("README.md", "-o", "/dev/null"), 2),
        (("README.md", "-o", "precious.jsonl"), 2),
        (("README.md", "-o", "precious.jsonl", "--restart"), 2),
        (("README.md", "-o", "tags.json", "--restart"), 2),
        (("README.md", "-o", "strange.jsonl"), 2),
        (("README.md", "-o", "nowhere/out.jsonl"), 74),
        (("README.md", "-o", "/proc/out.jsonl"), 74),
        (("README.md", "--restart"), 2),
        (("README.md", "--batch-tokens", "0"), 2),
        (("README.md", "--on-duplicate", "guess"), 2),
        (("README.md", "--tags", "nowhere.json"), 2),
        ((), 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_line_and_a_code(
    run: Run, workplace: Path, args: tuple[str, ...], code: int
) -> None:
    prepare(workplace)
    if "--tags" not in args:
        args = (*args, "--tags", "tags.json")
    outcome = run("batch", *args, "--quiet", model="no such model, and none is needed")
    assert (outcome.code, outcome.out) == (code, "")
    check_line(outcome.err)
    assert (workplace / "precious.jsonl").read_text() == "mine\n"


def test_another_versions_output_is_refused(run: Run, catalogue: Path) -> None:
    import sqlite3

    good(run(*BATCH))
    with sqlite3.connect(catalogue.parent / "out.jsonl.state") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    outcome = run(*BATCH)
    assert outcome.code == 2
    check_line(outcome.err)


@pytest.mark.parametrize(
    ("policy", "expected"), [("keep-first", ["1", "2"]), ("suffix", ["1", "1-2", "2"])]
)
def test_ids_that_come_twice(run: Run, workplace: Path, policy: str, expected: list[str]) -> None:
    lines = [{"id": 1, "readme": "x"}, {"id": 1, "readme": "y"}, {"id": 2, "readme": "z"}]
    (workplace / "d.jsonl").write_text("\n".join(map(json.dumps, lines)))
    outcome = good(run("batch", "d.jsonl", "--tags", "tags.json", "--on-duplicate", policy))
    assert [row["id"] for row in rows(outcome.out)] == expected


def test_odd_files_among_good_ones_are_rows(run: Run, catalogue: Path) -> None:
    (catalogue / "repo-1" / "README.md").write_bytes(b"")
    (catalogue / "repo-2" / "README.md").write_bytes(b"\x7fELF\0\0")
    (catalogue / "repo-3" / "README.md").write_bytes(bytes(range(128, 160)) * 9)
    (catalogue / "repo-4" / "README.md").write_text("A game. " * 1_000_000)
    (catalogue / "repo-5" / "README.md").unlink()
    (catalogue / "repo-5" / "README.md").symlink_to("README.md")
    (catalogue / "repo-6" / "README.md").rename(catalogue / "repo-6" / os.fsdecode(b"README.\xff"))
    (catalogue / "repo-7" / "up").symlink_to("..", target_is_directory=True)
    outcome = run("batch", "catalogue", "--tags", "tags.json", "--glob", "README.*")
    assert outcome.code == 1
    replies = rows(outcome.out)
    said = [row["error"]["message"] if "error" in row else "" for row in replies]
    assert [bool(text) for text in said] == [False, True, True, True, False, True, False, False]
    for number, words in ((1, "empty"), (2, "binary"), (3, "no encoding"), (5, "symbolic links")):
        assert words in said[number]
    assert replies[6]["id"] == "repo-6/README.\\udcff"


def test_fail_fast_stops_at_the_first_failure(run: Run, catalogue: Path, tagged: list[int]) -> None:
    (catalogue / "repo-2" / "README.md").write_text("")
    outcome = run(*BATCH, "--fail-fast")
    assert outcome.code == 1
    assert "repo-2/README.md: is empty" in outcome.err
    assert "stopped after 3 READMEs; fix or leave out the last one" in outcome.err
    replies = rows(catalogue.parent / "out.jsonl")
    assert "error" in replies[2]
    assert len(replies) == len(tagged) + 1 == 3


def test_progress_in_plain_lines(
    run: Run, catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    (catalogue / "repo-0" / "README.md").write_text("")
    lines = run(*BATCH).err.splitlines()
    state = next(line for line in lines if line.startswith(f"tagger: {COUNT - 1} of {COUNT}"))
    for part in ("1 failed", "READMEs/s", "tokens/s", "left"):
        assert part in state


def test_the_summary_draws_the_tags(run: Run, catalogue: Path) -> None:
    err = run(*BATCH, "--max-tags", "1").err
    (summary,) = [line for line in err.splitlines() if f"{COUNT} READMEs:" in line]
    assert f"{COUNT} tagged in" in summary
    chart = err.splitlines()[err.splitlines().index(summary) + 1 :]
    assert sum(int(line.split()[-1]) for line in chart) == COUNT
    assert "█" in chart[0]


# From here on in a process of its own, because pipes and signals are a process's.


@pytest.fixture
def command(tiny_folder: Path, workplace: Path) -> list[str]:
    assert workplace.is_dir()
    executable = str(Path(sys.executable).with_name("tagger"))
    return [executable, "batch", "--tags", "tags.json", "--model", str(tiny_folder)]


def started(command: list[str], path: Path, lines: int = 3) -> "subprocess.Popen[str]":
    """Start a batch, and return when it has written some lines."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while not path.exists() or path.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    return process


def test_standard_input(command: list[str], workplace: Path) -> None:
    dump(workplace / "dump.jsonl")
    line = f"cat dump.jsonl | {shlex.join(command)} - | head -2"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert [row["id"] for row in rows(done.stdout)] == ["0", "1"]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("redirection", "code"),
    [
        ("</dev/null", 2),
        ("<&-", 2),
        ("<dump.jsonl >/dev/full", 74),
    ],
)
def test_odd_streams(command: list[str], workplace: Path, redirection: str, code: int) -> None:
    dump(workplace / "dump.jsonl")
    line = f"{shlex.join(command)} - --quiet {redirection}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert done.returncode == code
    check_line(done.stderr)


def test_the_first_interrupt_finishes_what_is_in_hand_and_the_batch_goes_on_later(
    command: list[str], workplace: Path
) -> None:
    dump(workplace / "dump.jsonl", 3000)
    path = workplace / "out.jsonl"
    command = [*command, "dump.jsonl", "-o", "out.jsonl"]
    process = started(command, path)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == tagger.cli.INTERRUPTED
    assert "run the same command again to go on" in err
    assert err.endswith("tagger: interrupted\n")
    written = path.read_text()
    assert written.endswith("\n"), "no row is torn"
    assert len(rows(written)) < 3000
    process = started(command, path, len(rows(written)) + 3)
    process.kill()
    process.communicate()
    assert path.read_text().startswith(written)


def test_two_batches_with_one_output(command: list[str], workplace: Path) -> None:
    dump(workplace / "dump.jsonl", 3000)
    command = [*command, "dump.jsonl", "-o", "out.jsonl"]
    process = started(command, workplace / "out.jsonl")
    second = subprocess.run(command, capture_output=True, text=True)
    process.kill()
    process.communicate()
    assert second.returncode == 2
    check_line(second.stderr)


def test_a_full_disk_loses_nothing(command: list[str], workplace: Path) -> None:
    dump(workplace / "dump.jsonl", 400)
    inner = shlex.join([*command, "dump.jsonl", "-o", "out.jsonl", "--quiet"])
    limited = f"trap '' XFSZ; ulimit -f 200; exec {inner}"
    done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True)
    assert done.returncode == tagger.cli.OUTPUT_ERROR
    check_line(done.stderr)
    done = subprocess.run(["bash", "-c", inner], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(rows(workplace / "out.jsonl")) == 400
