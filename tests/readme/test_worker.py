"""Cleaning in a process of its own."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.hostile_inputs import KINDS
from support.messages import refused
from tagger.errors import ReadmeError
from tagger.readme.readme import MAX_BYTES, Readme
from tagger.readme.worker import Worker

SLOW = KINDS["emphasis: alternating marks"].text(MAX_BYTES)


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker(cpu_seconds=0.1)
    yield made
    made.stop()


def process(worker: Worker) -> int:
    """The worker's process, started if need be."""
    worker.clean("words", ".md")
    assert worker.pid is not None
    return worker.pid


def gone(pid: int) -> bool:
    """Whether a process ends within seconds."""
    for _ in range(500):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        state = Path(f"/proc/{pid}/stat")
        if state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z":
            return True  # of a test's own child, which nobody else waits for
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(
    ("text", "suffix", "words"),
    [
        ("# *Voxel*", ".md", "# Voxel"),
        ("Voxel\n=====\n", ".rst", "# Voxel"),
        ("= *Voxel*", ".adoc", "# Voxel"),
        ("", ".md", ""),
        ("lone \ud800 surrogate", ".md", "lone \ud800 surrogate"),
        ("é" * 200_000, "", "é" * 200_000),
    ],
)
def test_it_cleans_as_one_would_here(text: str, suffix: str, words: str) -> None:
    worker = Worker()
    try:
        assert worker.clean(text, suffix) == words
    finally:
        worker.stop()


def test_what_takes_too_long_is_an_error_and_the_next_readme_is_cleaned(worker: Worker) -> None:
    before = process(worker)
    with refused(ReadmeError):
        worker.clean(SLOW, ".md")
    assert process(worker) != before
    assert gone(before)


def test_a_parser_that_fails_is_an_error_that_names_the_readme(
    monkeypatch: pytest.MonkeyPatch, worker: Worker
) -> None:
    monkeypatch.setattr("tagger.readme.readme.worker", worker)
    with refused(ReadmeError):
        _ = Readme("x", SLOW, "big.md").plain_text


def test_a_process_that_dies_costs_one_readme(worker: Worker) -> None:
    worker = Worker(cpu_seconds=60)
    pid = process(worker)
    timer = threading.Timer(0.1, os.kill, (pid, signal.SIGKILL))
    timer.start()
    with refused(ReadmeError):
        worker.clean(SLOW * 10, ".md")
    timer.join()
    pid = process(worker)
    os.kill(pid, signal.SIGKILL)
    assert gone(pid)
    assert worker.clean("# one that died in between costs none", "").startswith("# one")
    worker.stop()


def test_an_interrupt_is_heard_at_once_and_the_next_answer_is_the_right_one() -> None:
    worker = Worker(cpu_seconds=60)
    process(worker)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        start = time.monotonic()
        timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            worker.clean(SLOW * 100, ".md")
        assert time.monotonic() - start < 2
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert worker.clean("# next", ".md") == "# next"
    worker.stop()


def test_many_threads_get_their_own_answers(worker: Worker) -> None:
    answers: dict[int, str] = {}

    def ask(number: int) -> None:
        answers[number] = worker.clean(f"# *{number}*", ".md")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: f"# {number}" for number in range(20)}


def test_where_no_process_starts_cleaning_goes_on_here(
    monkeypatch: pytest.MonkeyPatch, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert worker.clean("# *one*", ".md") == "# one"
    assert worker.clean("# *two*", ".md") == "# two"
    assert caplog.text.count("without a time limit") == 1


def program(code: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, stdout=subprocess.PIPE, text=True
    )


CLEAN = """
import os, time
from tagger.readme.readme import Readme
from tagger.readme.worker import worker
assert Readme("x", "# *a*").plain_text == "# a"
print(worker.pid, flush=True)
"""


@pytest.mark.parametrize("end", ["", "os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_nothing_is_left_of_it_however_a_program_ends(tmp_path: Path, end: str) -> None:
    with program(CLEAN + end, tmp_path) as done:
        assert done.stdout
        pid = int(done.stdout.readline())
    assert gone(pid)


def test_a_fork_has_a_worker_of_its_own(tmp_path: Path) -> None:
    code = """
child = os.fork()
assert worker.clean("# *b*", "") == "# b"
print(worker.pid, flush=True)
if child:
    assert os.waitpid(child, 0)[1] == 0
    assert Readme("x", "# *c*").plain_text == "# c"
"""
    with program(CLEAN + code, tmp_path) as done:
        assert done.stdout
        pids = set(done.stdout.read().split())
    assert done.returncode == 0
    assert len(pids) == 2
    assert all(gone(int(pid)) for pid in pids)


def test_modules_of_the_current_folder_are_not_taken(tmp_path: Path) -> None:
    for name in ("markdown_it.py", "html.py", "signal.py"):
        (tmp_path / name).write_text("raise SystemExit('not to be run')")
    code = f"import sys\nsys.path.remove('')\n{CLEAN}"
    with program(code, tmp_path) as done:
        done.communicate()
    assert done.returncode == 0


def test_a_lock_that_a_signal_has_left_taken_does_not_keep_it_from_ending(worker: Worker) -> None:
    """As when the handler raises within `Popen.poll`, after that has taken the lock."""
    pid = process(worker)
    running: Any = worker._process
    assert running._waitpid_lock.acquire(blocking=False)
    worker.stop()
    assert gone(pid)
    assert running.returncode == -signal.SIGKILL
    assert process(worker) != pid
