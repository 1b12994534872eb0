"""`tagger models`: what each command prints, where, and with which exit code."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest
from filelock import FileLock

import tagger.cli
from support.fake_models import published
from tagger.models.fetch import catalogue, store
from tagger.models.fetch import pull as fetch
from tagger.models.fetch.catalogue import CatalogueEntry

Patch = pytest.MonkeyPatch
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CatalogueEntry:
    """The only model of the catalogue, which is not here."""
    made = published(b"weights", tmp_path / "wheels").model_copy(
        update={"bytes": 491_400_064, "parameters": 494_032_768}
    )
    monkeypatch.setattr(catalogue, "catalogue", lambda: MappingProxyType({made.name: made}))
    return made


@pytest.fixture
def here(entry: CatalogueEntry) -> Path:
    """The model's folder, complete."""
    staging = store.models_home() / "staging"
    staging.mkdir(parents=True)
    (staging / "config.json").write_text("{}")
    store.seal(entry, staging)
    return store.folder(entry)


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """The command line's handlers do not outlive the test."""
    yield
    logger = logging.getLogger("tagger")
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["tagger", "models", *arguments])
    with pytest.raises(SystemExit) as caught:
        tagger.cli.main()
    return int(caught.value.code or 0)


def test_list_shows_what_each_model_takes(
    entry: CatalogueEntry, monkeypatch: Patch, capsys: Capture
) -> None:
    assert run(monkeypatch, "list") == 0
    assert capsys.readouterr().out.splitlines() == [
        "NAME        PARAMETERS  FETCH   MEMORY  LICENCE     HERE",
        "tiny-coder  0.5 B       0.5 GB  1.0 GB  Apache-2.0  no",
    ]


def test_list_says_which_models_are_here(here: Path, monkeypatch: Patch, capsys: Capture) -> None:
    run(monkeypatch, "list")
    assert capsys.readouterr().out.splitlines()[1].endswith("yes")


def test_path_prints_the_folder(here: Path, monkeypatch: Patch, capsys: Capture) -> None:
    assert run(monkeypatch, "path", "tiny-coder") == 0
    assert capsys.readouterr() == (f"{here}\n", "")


def test_path_of_a_model_that_is_not_here_says_how_to_get_it(
    entry: CatalogueEntry, monkeypatch: Patch, capsys: Capture
) -> None:
    assert run(monkeypatch, "path", "tiny-coder") == 3
    assert capsys.readouterr() == (
        "",
        "tagger: tiny-coder is not on this machine; `tagger models pull tiny-coder` fetches it\n",
    )


def test_verify_says_ok(here: Path, monkeypatch: Patch, capsys: Capture) -> None:
    assert run(monkeypatch, "verify", "tiny-coder") == 0
    assert capsys.readouterr() == ("tiny-coder: ok\n", "")


def test_verify_fails_on_a_changed_file(here: Path, monkeypatch: Patch, capsys: Capture) -> None:
    (here / "config.json").write_text("[]")
    assert run(monkeypatch, "verify", "tiny-coder") == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "config.json has changed" in err


def test_pull_says_where_the_model_is(here: Path, monkeypatch: Patch, capsys: Capture) -> None:
    assert run(monkeypatch, "pull", "tiny-coder") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert f"tiny-coder is in {here}" in err


def test_a_quiet_pull_says_nothing(here: Path, monkeypatch: Patch, capsys: Capture) -> None:
    assert run(monkeypatch, "pull", "tiny-coder", "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_an_unknown_name_is_one_line(
    entry: CatalogueEntry, monkeypatch: Patch, capsys: Capture
) -> None:
    assert run(monkeypatch, "pull", "tiny-codr") == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "did you mean tiny-coder?" in err


def test_an_interrupted_pull_leaves_nothing_half_done(
    entry: CatalogueEntry, monkeypatch: Patch, capsys: Capture
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fetch, "download", interrupted)
    assert run(monkeypatch, "pull", "tiny-coder") == 130
    assert "Traceback" not in capsys.readouterr().err
    assert {path.name for path in store.models_home().iterdir()} == {"tiny-coder.lock"}


def test_the_commands_start_without_the_heavy_libraries() -> None:
    program = (
        "import sys, tagger.cli.models, tagger.models.fetch.catalogue, tagger.models.fetch.store\n"
        "print({'torch', 'transformers', 'huggingface_hub', 'rich.progress'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_remove_takes_a_model_away(
    here: Path, entry: CatalogueEntry, monkeypatch: Patch, capsys: Capture
) -> None:
    assert run(monkeypatch, "remove", entry.name) == 0
    assert "removed" in capsys.readouterr().out
    assert not here.exists()
    assert run(monkeypatch, "remove", entry.name) == 3


def test_prune_leaves_whole_models_and_takes_the_rest(
    here: Path, entry: CatalogueEntry, monkeypatch: Patch, capsys: Capture
) -> None:
    monkeypatch.setattr(fetch, "catalogue", lambda: {entry.name: entry})
    home = store.models_home()
    for name in (f"{entry.name}.partial", "unknown-model", "../lists"):
        (home / name).mkdir()
        (home / name / "file").write_text("x" * 100)
    assert run(monkeypatch, "prune") == 0
    assert sorted(path.name for path in home.iterdir() if path.is_dir()) == [entry.name]
    assert not (home.parent / "lists").exists()
    assert run(monkeypatch, "prune") == 0


def test_prune_leaves_a_pull_at_work_alone(
    entry: CatalogueEntry, monkeypatch: Patch, capsys: Capture
) -> None:
    monkeypatch.setattr(fetch, "catalogue", lambda: {entry.name: entry})
    partial = store.models_home() / f"{entry.name}.partial"
    partial.mkdir(parents=True)
    with FileLock(store.models_home() / f"{entry.name}.lock"):
        assert run(monkeypatch, "prune") == 0
    assert partial.is_dir()
