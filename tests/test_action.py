"""The GitHub Action and the pre-commit hook, run as GitHub and pre-commit run them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import ROOT

pytestmark = pytest.mark.slow

ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
STEPS = [step for step in ACTION["runs"]["steps"] if "run" in step]

FAKE = """#!{python}
import json, pathlib, sys
pathlib.Path("asked.json").write_text(json.dumps(sys.argv[1:]))
print(json.dumps({{"id": "README.md", "tags": json.loads(pathlib.Path("reply.json").read_text())}}))
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository, and a `tagger` that answers what is in its reply.json."""
    folder = tmp_path / "repository"
    (folder / ".github").mkdir(parents=True)
    (folder / "README.md").write_text("# Voxel")
    (folder / "tags.json").write_text('["cli", "game"]')
    (folder / "reply.json").write_text('["game", "cli"]')
    (folder / ".github" / "readme-tags.json").write_text('["cli", "game"]')
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "tagger"
    program.write_text(FAKE.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv(
        "PATH", f"{program.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    )
    return folder


def act(repository: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run the last step of the action with the variables that GitHub sets."""
    given = {name: str(about["default"]) for name, about in ACTION["inputs"].items()} | inputs
    environment = dict(os.environ)
    for name, value in STEPS[-1]["env"].items():
        assert value.startswith("${{ inputs.")
        environment[name] = given[value.removeprefix("${{ inputs.").removesuffix(" }}")]
    environment |= {
        "GITHUB_ACTION_PATH": str(ROOT),
        "RUNNER_TEMP": str(repository.parent / "runner"),
        "GITHUB_OUTPUT": str(repository.parent / "output"),
    }
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS[-1]["run"]],
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
    )


def output(repository: Path) -> Any:
    (line,) = (repository.parent / "output").read_text().splitlines()
    return json.loads(line.removeprefix("tags="))


def test_no_input_is_part_of_a_script() -> None:
    assert len(STEPS) == 2
    assert not any("${{" in step["run"] for step in STEPS)


def test_tags_are_proposed_with_a_model(
    repository: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository.parent / "bin" / "tagger").unlink()
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    done = act(repository, model=str(tiny_folder))
    assert done.returncode == 0, done.stderr
    assert set(output(repository)) <= {"cli", "game"}


def test_committed_tags_are_the_same_in_any_order(repository: Path) -> None:
    done = act(repository, mode="check")
    assert done.returncode == 0, done.stderr
    assert output(repository) == ["game", "cli"]


def test_other_tags_than_the_committed_ones_fail_in_one_line(repository: Path) -> None:
    (repository / "reply.json").write_text('["game"]')
    done = act(repository, mode="check")
    assert done.returncode == 1
    assert done.stderr == (
        'readme-tags: tagger gives ["game"], and \'.github/readme-tags.json\' has ["cli", "game"]\n'
    )
    assert output(repository) == ["game"]


@pytest.mark.parametrize(
    "text",
    [None, "", "{", '{"tags": []}', "[1]", "[" * 100_000, "\x00", '["a"' + " " * 2**20 + "]"],
)
def test_a_committed_list_that_cannot_be_used_fails_in_one_line(
    repository: Path, text: str | None
) -> None:
    expected = repository / ".github" / "readme-tags.json"
    expected.unlink()
    if text is not None:
        expected.write_text(text)
    done = act(repository, mode="check")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert not (repository / "asked.json").exists()


@pytest.mark.parametrize(
    "value", ["$(touch pwned)", "`touch pwned`", "'; touch pwned; '", '"; touch pwned; "', "--help"]
)
def test_inputs_are_data(repository: Path, value: str) -> None:
    done = act(repository, readme=value, tags=value)
    assert done.returncode == 0, done.stderr
    asked = json.loads((repository / "asked.json").read_text())
    assert asked == ["run", f"--tags={value}", "--tags-as=names", "--", value]
    assert not (repository / "pwned").exists()
    assert act(repository, mode=value).returncode == 2
    assert not (repository / "pwned").exists()


def test_tags_give_the_runner_no_commands(repository: Path) -> None:
    name = "a\n::error::b\ntags=[]\x1b[31m##[error]c"
    (repository / "reply.json").write_text(json.dumps([name]))
    done = act(repository, mode="check")
    assert output(repository) == [name]
    first, *between, last = done.stdout.splitlines()
    assert first == f"::stop-commands::{last.strip(':')}"
    assert not any(line.startswith("::") for line in between)
    assert done.stderr.isascii()
    assert done.stderr.count("\n") == 1


def test_a_tagger_that_fails_says_why_itself(repository: Path) -> None:
    (repository.parent / "bin" / "tagger").write_text("#!/bin/sh\necho tagger: why >&2; exit 3\n")
    done = act(repository)
    assert (done.returncode, done.stderr) == (3, "tagger: why\n")


@pytest.mark.parametrize(("reply", "code"), [('["cli", "game"]', 0), ('["cli"]', 1)])
def test_the_hook_checks(
    repository: Path, monkeypatch: pytest.MonkeyPatch, reply: str, code: int
) -> None:
    (repository / "reply.json").write_text(reply)
    hooks = repository.parent / "hooks"
    (hooks / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / ".pre-commit-hooks.yaml", hooks)
    shutil.copy(ROOT / "scripts" / "readme_tags.py", hooks / "scripts")
    for folder in (hooks, repository):
        git = ["git", "-C", str(folder), "-c", "user.name=T", "-c", "user.email=t@example.com"]
        subprocess.run([*git, "init", "--quiet"], check=True)
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "--quiet", "--message", "All"], check=True)
    monkeypatch.setenv("PRE_COMMIT_HOME", str(repository.parent / "pre-commit"))
    command = [sys.executable, "-m", "pre_commit", "try-repo", str(hooks), "readme-tags"]
    done = subprocess.run([*command, "--all-files"], cwd=repository, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    assert ("readme-tags: tagger gives" in done.stdout) is bool(code)
