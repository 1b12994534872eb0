"""Ctrl-C and SIGTERM, sent to real processes: the first ends in order, the second at once."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.fake_server import Answer, Server, obedient, serving, stuck
from tagger.cli import INTERRUPTED, TERMINATED

pytestmark = pytest.mark.slow

SOON = 2.0
"""Seconds for what takes less than one, on a machine that is busy with other things."""

IN_ORDER = 10.0
"""Seconds for an end in order, with nothing to wait for, on such a machine."""

PATIENCE = 60.0
"""Seconds for a process to start."""

PROGRAM = [sys.executable, "-m", "tagger"]

BUSY = """
import re, sys, time
import tagger.cli
from tagger.methods.rank.rank import Rank
def read(self, readmes):
    print("busy", flush=True, file=sys.stderr)
    {}
Rank.read = read
sys.argv[0] = "tagger"
tagger.cli.main()
"""
ASLEEP = "time.sleep(600)"
IN_A_REGEX = "re.match('(a+)+$', 'a' * 60 + 'b')"

Process = subprocess.Popen[str]


@pytest.fixture
def command(tiny_folder: Path, workplace: Path) -> list[str]:
    """What `batch` is told, but for the program."""
    rows = [{"id": f"r{n}", "readme": f"Project {n}", "tags": ["cli"]} for n in range(40)]
    (workplace / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["batch", "rows.jsonl", "-o", "out.jsonl", "--model", str(tiny_folder)]


@contextmanager
def started(program: list[str], **options: Any) -> Iterator[Process]:
    """Run a program until the block ends, whatever becomes of it."""
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE} | options
    with subprocess.Popen(program, text=True, **streams) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(holds: Callable[[], bool], process: Process) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert process.poll() is None, "it has ended before its time"
        assert time.monotonic() < end, "it does not come so far"
        time.sleep(0.02)


def wait_for_line(process: Process, text: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    pytest.fail(f"it has ended without saying {text!r}")


def ends(process: Process, number: signal.Signals, within: float) -> None:
    process.send_signal(number)
    start = time.monotonic()
    process.wait(PATIENCE)
    assert time.monotonic() - start < within


def endpoint(url: str, *command: str) -> list[str]:
    return [*PROGRAM, *command, "--endpoint", url, "--model", "m"]


RUN = ("run", "README.md")
EVAL = ("eval", "rows.jsonl")
BATCH = ("batch", "rows.jsonl", "-o", "out.jsonl")


@pytest.mark.parametrize(
    ("words", "how", "number"),
    [
        (BATCH, "silent", signal.SIGINT),
        (BATCH, "dripping headers", signal.SIGTERM),
        (BATCH, "dripping body", signal.SIGINT),
        (EVAL, "silent", signal.SIGINT),
    ],
)
def test_the_second_ends_it_at_once_whatever_a_server_does(
    command: list[str], words: tuple[str, ...], how: str, number: signal.Signals
) -> None:
    with stuck(how) as server, started(endpoint(server.url, *words)) as process:
        wait_for(server.asked.is_set, process)
        process.send_signal(number)
        time.sleep(0.3)
        if words == BATCH:
            assert process.poll() is None, "the READMEs in hand are being finished"
        ends(process, number, within=SOON)
        assert process.returncode in (-number, 128 + number)


@pytest.mark.parametrize(
    ("words", "how", "lists_models", "number", "code", "says"),
    [
        (RUN, "silent", True, signal.SIGINT, INTERRUPTED, "tagger: interrupted\n"),
        (RUN, "dripping body", True, signal.SIGTERM, TERMINATED, ""),
        (BATCH, "dripping headers", False, signal.SIGINT, INTERRUPTED, "tagger: interrupted\n"),
    ],
    ids=["run", "run, terminated", "batch, before the first README"],
)
def test_the_first_is_enough_where_nothing_is_to_be_finished(
    command: list[str],
    words: tuple[str, ...],
    how: str,
    lists_models: bool,
    number: signal.Signals,
    code: int,
    says: str,
) -> None:
    with (
        stuck(how, lists_models=lists_models) as server,
        started([*endpoint(server.url, *words), "--quiet"]) as process,
    ):
        wait_for(server.asked.is_set, process)
        ends(process, number, within=IN_ORDER)
        assert process.stderr is not None
        assert (process.returncode, process.stderr.read()) == (code, says)


@pytest.mark.parametrize(
    ("doing", "first", "second"),
    [
        (ASLEEP, signal.SIGINT, signal.SIGINT),
        (ASLEEP, signal.SIGTERM, signal.SIGINT),
        (IN_A_REGEX, signal.SIGINT, signal.SIGTERM),
    ],
)
def test_the_second_ends_it_at_once_whatever_the_model_does(
    command: list[str], doing: str, first: signal.Signals, second: signal.Signals
) -> None:
    with started([sys.executable, "-c", BUSY.format(doing), *command]) as process:
        wait_for_line(process, "busy")
        process.send_signal(first)
        wait_for_line(process, "Ctrl-C again stops at once")
        assert process.poll() is None, "the README in hand is being finished"
        ends(process, second, within=SOON)
        assert process.returncode == -second


def test_the_second_ends_it_at_once_while_the_model_is_loaded(command: list[str]) -> None:
    with started([*PROGRAM, *command]) as process:
        maps = Path(f"/proc/{process.pid}/maps")
        wait_for(lambda: "libtorch_cpu" in maps.read_text(), process)
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        ends(process, signal.SIGINT, within=SOON)
        assert process.returncode in (-signal.SIGINT, INTERRUPTED)


SWALLOWED = """
    try:
        os.kill(os.getpid(), signal.{})
        time.sleep(60)
    except BaseException:
        raise RuntimeError("cannot be imported") from None
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_a_library_makes_another_error_of_is_not_lost(
    workplace: Path, tiny_folder: Path, number: signal.Signals
) -> None:
    program = "import os, signal\n" + BUSY.format(SWALLOWED.strip().format(number.name))
    words = ["run", "README.md", "--model", str(tiny_folder)]
    with started([sys.executable, "-c", program, *words]) as process:
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number
    assert "cannot be imported" not in err


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)]
)
def test_a_reader_that_waits_for_standard_input_holds_nothing_up(
    command: list[str], number: signal.Signals, code: int
) -> None:
    program = [*PROGRAM, "batch", "-", *command[4:]]
    with started(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        print(json.dumps({"id": "a", "readme": "text"}), file=process.stdin, flush=True)
        assert json.loads(process.stdout.readline())["id"] == "a"
        ends(process, number, within=IN_ORDER)
        assert process.returncode == code


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)]
)
def test_the_first_ends_a_batch_with_what_the_server_has_been_asked(
    command: list[str], workplace: Path, number: signal.Signals, code: int
) -> None:
    def answer(request: dict[str, Any]) -> Answer:
        time.sleep(1)
        return obedient(request)

    with serving() as server:
        server.answer = answer
        program = [*endpoint(server.url, *BATCH), "--concurrency", "3"]
        with started(program) as process:
            wait_for(lambda: len(server.requests) == 3, process)
            process.send_signal(number)
            _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == code
        assert "stopped after 3 READMEs; run the same command again to go on" in err
        assert ids(workplace) == ["r0", "r1", "r2"]
        assert len(server.requests) == 3, "none is asked about behind the signal"
        goes_on(server, program, workplace)


def goes_on(server: Server, program: list[str], workplace: Path) -> None:
    server.answer = obedient
    asked = len(server.requests)
    subprocess.run(program, check=True, capture_output=True)
    assert ids(workplace) == [f"r{n}" for n in range(40)]
    assert len(server.requests) == asked + 37


def ids(workplace: Path) -> list[str]:
    lines = (workplace / "out.jsonl").read_text().splitlines()
    return [json.loads(line)["id"] for line in lines]


def test_the_cursor_is_there_again_when_it_is_killed(command: list[str]) -> None:
    master, slave = pty.openpty()
    with ExitStack() as stack:
        stack.callback(os.close, master)
        program = [sys.executable, "-c", BUSY.format(ASLEEP), *command]
        environment = os.environ | {"TERM": "xterm"}
        process = stack.enter_context(started(program, stderr=slave, env=environment))
        os.close(slave)
        shown = read_until(master, b"busy")
        assert b"\x1b[?25l" in shown, "the progress bar hides it"
        process.send_signal(signal.SIGINT)
        shown = read_until(master, b"at once")
        ends(process, signal.SIGINT, within=SOON)
        shown += read_rest(master)
        assert shown.rindex(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l")


def read_until(terminal: int, text: bytes) -> bytes:
    shown = b""
    while text not in shown:
        shown += os.read(terminal, 4096)
    return shown


def read_rest(terminal: int) -> bytes:
    shown = b""
    try:
        while part := os.read(terminal, 4096):
            shown += part
    except OSError:  # as Linux says the end
        pass
    return shown


def test_an_interrupt_that_is_ignored_stays_ignored(command: list[str]) -> None:
    program = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-c"]
    with started([*program, BUSY.format(ASLEEP), *command]) as process:
        wait_for_line(process, "busy")
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        wait_for_line(process, "finishing the READMEs in hand")
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None
        ends(process, signal.SIGTERM, within=SOON)
