"""Fixtures: no test touches the user's cache folder or the network unless it says so."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# Before PyTorch is imported, here and in the processes that tests start: tiny models gain nothing
# from a second thread, and on a busy machine threads that wait for one another take many times as
# long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

import tagger.cli
from support import ROOT, tiny
from support.console import TAGS, Outcome, Run
from support.messages import MESSAGES
from tagger.cli import signals
from tagger.models.language import LanguageModel

if TYPE_CHECKING:
    import httpx2

    from tagger.methods.rank.rank import Rank

# A busy machine may take any time for an example.
settings.register_profile("tagger", settings.default, deadline=None)
settings.load_profile("tagger")

SHARED = ROOT.parent / "shared"
# Whoever starts the tests may have SIGINT ignored, as `make test &` in a script does, and processes
# that they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

REAL_HOME = os.environ.get("TAGGER_HOME")
"""Where the real model is kept, read before any test redirects it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-messages", action="store_true", help="write tests/messages.json")


def pytest_configure(config: pytest.Config) -> None:
    MESSAGES.update = config.getoption("--update-messages")


def pytest_sessionfinish() -> None:
    MESSAGES.save()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of the test's own, and no settings of the user's."""
    for name in [name for name in os.environ if name.startswith("TAGGER_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "cache"
    monkeypatch.setenv("TAGGER_HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    return home


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """Handlers of signals are restored, and no signal is left noted: later tests would hear it."""
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    yield
    for each, handler in handlers.items():
        signal.signal(each, handler)
    left = list(signals._signalled)
    signals._signalled.clear()
    assert not left, "a test has left a signal noted"


@pytest.fixture(scope="session")
def tiny_model() -> LanguageModel:
    return tiny.model()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def server_rank() -> "Rank":
    """The method of the server."""
    from support import serving

    return serving.rank()


@pytest.fixture(scope="session")
def server_address(server_rank: "Rank", tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server without a key, for tests that leave it as it was."""
    from support import serving

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAGGER_HOME", str(tmp_path_factory.mktemp("served")))
        with serving.serving(server_rank) as address:
            yield address


@pytest.fixture(scope="session")
def server(server_address: str) -> Iterator["httpx2.Client"]:
    """A client of that server."""
    import httpx2

    with httpx2.Client(base_url=server_address, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def shared() -> Path:
    """The labelled READMEs; a clone without them skips, CI must have them."""
    if not SHARED.is_dir():
        if os.environ.get("CI"):
            pytest.fail("CI runs with ../shared beside the checkout, and it is not there")
        pytest.skip("needs ../shared, which is not beside this clone")
    return SHARED


@pytest.fixture(scope="session")
def real_home() -> str | None:
    """The user's own cache folder as TAGGER_HOME names it, or None for the platform's."""
    return REAL_HOME


@pytest.fixture(scope="session")
def real_model() -> LanguageModel:
    """The real 0.5B model, from the user's own cache folder."""
    from tagger.models.load import load

    with pytest.MonkeyPatch.context() as patch:
        if REAL_HOME is None:
            patch.delenv("TAGGER_HOME", raising=False)
        else:
            patch.setenv("TAGGER_HOME", REAL_HOME)
        return load("qwen2.5-coder-0.5b", device="cpu", threads=os.cpu_count())


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a README and a vocabulary, the current one."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "README.md").write_text("# Voxel\n\nA game engine for the terminal.\n")
    (folder / "tags.json").write_text(TAGS)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run(
    workplace: Path,
    tiny_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Run]:
    """Call `tagger` in this process, with the tiny model unless the test says otherwise."""

    def call(*args: str, model: str | None = str(tiny_folder)) -> Outcome:
        if model is not None:
            monkeypatch.setenv("TAGGER_MODEL", model)
        monkeypatch.setattr(sys, "argv", ["tagger", *args])
        with pytest.raises(SystemExit) as exit_:
            tagger.cli.main()
        captured = capsys.readouterr()
        return Outcome(int(exit_.value.code or 0), captured.out, captured.err)

    yield call
    logger = logging.getLogger("tagger")
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)
