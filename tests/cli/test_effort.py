"""`--effort` sets the model and the README budget, unless these are set themselves."""

from pathlib import Path
from typing import Any

import pytest

from support.console import Run
from support.messages import check_line
from tagger._util.paths import user_settings
from tagger.cli import methods
from tagger.errors import UsageError
from tagger.types import DEFAULT_MODEL, EFFORTS, README_TOKENS

SMALL = "qwen2.5-coder-0.5b"


@pytest.fixture
def asked(run: Run, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the model and the README budget that a command would use."""

    def opener(_: Any, prompt: Any, model: Any, *rest: Any, **more: Any) -> None:
        found.append((model.model, prompt.readme_tokens))
        raise UsageError("no further")

    found: list[tuple[str, int]] = []
    monkeypatch.setattr(methods, "rank_opener", opener)

    def ask(*options: str, command: str = "run") -> tuple[str, int]:
        outcome = run(command, "README.md", *options, model=None)
        assert outcome.err.endswith("no further\n"), outcome.err
        return found.pop()

    return ask


def test_the_best_is_the_default(asked: Any) -> None:
    assert asked() == asked("--effort", "best") == (DEFAULT_MODEL, README_TOKENS)


@pytest.mark.parametrize("command", ["run", "explain"])
@pytest.mark.parametrize("effort", EFFORTS)
def test_an_effort_is_a_model_and_a_budget(asked: Any, effort: str, command: str) -> None:
    expected = EFFORTS[effort]
    assert asked("--effort", effort, command=command) == (expected.model, expected.readme_tokens)


def test_options_win_over_it_wherever_they_stand(asked: Any) -> None:
    budget = EFFORTS["balanced"].readme_tokens
    assert asked("--model", SMALL, "--effort", "balanced") == (SMALL, budget)
    assert asked("--effort", "fast", "--readme-tokens", "200") == (SMALL, 200)


def test_variables_and_files_win_over_it_too(
    asked: Any, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workplace / "tagger.toml").write_text("readme-tokens = 300\n")
    assert asked("--effort", "fast") == (SMALL, 300)
    monkeypatch.setenv("TAGGER_MODEL", "another")
    assert asked("--effort", "balanced") == ("another", 300)


def test_the_environment_and_the_users_file_may_set_it(
    asked: Any, workplace: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    user_settings().parent.mkdir(parents=True, exist_ok=True)
    user_settings().write_text('effort = "fast"\n')
    assert asked() == (SMALL, EFFORTS["fast"].readme_tokens)
    shown = dict(line.split()[:2] for line in run("config", model=None).out.splitlines()[2:])
    assert (shown["effort"], shown["model"], shown["readme-tokens"]) == ("fast", SMALL, "64")
    monkeypatch.setenv("TAGGER_EFFORT", "balanced")
    assert asked() == (DEFAULT_MODEL, EFFORTS["balanced"].readme_tokens)


def test_a_folder_may_not_set_it(run: Run, workplace: Path) -> None:
    (workplace / "tagger.toml").write_text('effort = "fast"\n')
    assert run("run", "README.md").code == 2


SERVER = ("--endpoint", "http://localhost:1/v1")


def test_it_is_for_models_that_run_here(run: Run, workplace: Path) -> None:
    outcome = run("run", "README.md", "--effort", "fast", *SERVER, "--model", "x")
    assert outcome.code == 2
    check_line(outcome.err)


def test_a_setting_of_it_names_no_model_of_a_server(
    run: Run, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAGGER_EFFORT", "fast")
    outcome = run("run", "README.md", *SERVER, model=None)
    assert outcome.code == 2
    check_line(outcome.err)


def test_there_is_no_other(run: Run, workplace: Path) -> None:
    outcome = run("run", "README.md", "--effort", "most")
    assert outcome.code == 2
    check_line(outcome.err)
