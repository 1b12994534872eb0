"""Defaults from a file of the folder: what wins, and what is refused."""

import json
from pathlib import Path

import pytest

from console import Run


def tags_of(run: Run, *options: str) -> list[str]:
    outcome = run("run", "README.md", "--threshold", "0", *options)
    assert outcome.code == 0, outcome.err
    return list(json.loads(outcome.out)["tags"])


@pytest.fixture(params=["tagger.toml", "pyproject.toml"])
def file(request: pytest.FixtureRequest, workplace: Path) -> Path:
    return workplace / str(request.param)


def write(file: Path, text: str) -> None:
    head = "[tool.tagger]\n" if file.name == "pyproject.toml" else ""
    file.write_text(head + text)


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
    run: Run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, 'max-tags = 1\ntags_as = "names"\n')
    assert len(tags_of(run)) == 1
    assert isinstance(tags_of(run)[0], str)
    monkeypatch.setenv("TAGGER_MAX_TAGS", "2")
    assert len(tags_of(run)) == 2
    assert len(tags_of(run, "--max-tags", "3")) == 3


def test_an_unknown_key_is_named_with_the_nearest_known_one(run: Run, file: Path) -> None:
    write(file, "max-tag = 1\n")
    outcome = run("run", "README.md")
    assert outcome.code == 2
    assert "knows no option 'max-tag'; did you mean max-tags?" in outcome.err


def test_a_key_is_no_place_for_secrets(run: Run, file: Path) -> None:
    write(file, 'api-key = "sk-1"\n')
    outcome = run("run", "README.md")
    assert outcome.code == 2
    assert "sk-1" not in outcome.err


@pytest.mark.parametrize("text", ["max-tags = ", "\xff"])
def test_a_file_that_is_no_toml_is_refused(run: Run, workplace: Path, text: str) -> None:
    (workplace / "tagger.toml").write_bytes(text.encode("latin-1"))
    outcome = run("run", "README.md")
    assert outcome.code == 2
    assert "tagger.toml: cannot be read" in outcome.err


def test_a_value_that_no_option_takes_is_refused(run: Run, file: Path) -> None:
    write(file, 'max-tags = "many"\n')
    outcome = run("run", "README.md")
    assert outcome.code == 2
    assert "--max-tags" in outcome.err


def test_config_says_what_is_in_force_and_from_where(
    run: Run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, "max-tags = 5\nmin-tags = 2\n")
    monkeypatch.setenv("TAGGER_MIN_TAGS", "0")
    lines = {line.split()[0]: line.split() for line in run("config").out.splitlines()[1:]}
    assert lines["max-tags"][1] == "5"
    assert lines["max-tags"][2].startswith(file.name)
    assert lines["min-tags"] == ["min-tags", "0", "TAGGER_MIN_TAGS"]
    assert lines["readme-tokens"] == ["readme-tokens", "768", "default"]


def test_other_tables_of_a_pyproject_are_nobodys_business(run: Run, workplace: Path) -> None:
    (workplace / "pyproject.toml").write_text("[tool.ruff]\nline-length = 100\n")
    assert run("run", "README.md").code == 0


def test_a_refused_value_names_the_file_that_holds_it(
    run: Run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, "max-tags = 50\n")
    outcome = run("run", "README.md")
    assert outcome.code == 2
    assert f"as {file.name}" in outcome.err
    monkeypatch.setenv("TAGGER_MAX_TAGS", "60")
    assert file.name not in run("run", "README.md").err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("max-tags = true", "max-tags cannot be True"),
        ('model = ["a"]', "model cannot be ['a']"),
        ("[model]\na = 1", "model cannot be"),
    ],
)
def test_a_value_of_another_kind_is_refused(
    run: Run, workplace: Path, text: str, told: str
) -> None:
    (workplace / "tagger.toml").write_text(text)
    outcome = run("run", "README.md")
    assert outcome.code == 2
    assert told in outcome.err


@pytest.mark.parametrize(
    "text", ["max-tags = 50", 'method = "rnk"', 'glob = "*.md"', 'device = "x"']
)
def test_config_says_which_value_no_command_would_take(
    run: Run, workplace: Path, text: str
) -> None:
    (workplace / "tagger.toml").write_text(text)
    outcome = run("config")
    assert outcome.code == 2
    assert "tagger.toml: " in outcome.err
    assert f"--{text.split()[0]}" in outcome.err


def test_config_looks_at_variables_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAGGER_GLOB", "*.md *.rst")
    assert run("config").code == 0
    monkeypatch.setenv("TAGGER_MAX_TAGS", "many")
    outcome = run("config")
    assert outcome.code == 2
    assert "TAGGER_MAX_TAGS: " in outcome.err


@pytest.mark.parametrize("text", ["tool = 5", "[tool]\ntagger = 5"])
def test_a_pyproject_of_odd_shape_is_no_crash(run: Run, workplace: Path, text: str) -> None:
    (workplace / "pyproject.toml").write_text(text)
    outcome = run("config")
    assert outcome.code == (2 if "tagger" in text else 0)
    assert "internal error" not in outcome.err
