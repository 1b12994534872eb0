"""Settings from files: what wins, what is refused, and what a stranger's folder cannot do."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from support.console import Run, one_line
from support.fake_server import Server, serving
from support.messages import check_line
from tagger._util.paths import user_settings
from tagger.cli import trust
from tagger.cli.app import app


def tags_of(run: Run, *options: str) -> list[str]:
    outcome = run("run", "README.md", "--threshold", "0", *options)
    assert outcome.code == 0, outcome.err
    return list(json.loads(outcome.out)["tags"])


@pytest.fixture(params=["tagger.toml", "pyproject.toml"])
def file(request: pytest.FixtureRequest, workplace: Path) -> Path:
    return workplace / str(request.param)


def write(file: Path, text: str) -> None:
    head = "[tool.tagger]\n" if file.name == "pyproject.toml" else ""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(head + text)


@pytest.fixture
def user(workplace: Path) -> Path:
    """The user's own file, which is not there yet."""
    return user_settings()


def options(command: Any) -> list[Any]:
    """Every option of a command, or of all commands of a group."""
    if inner := getattr(command, "commands", {}):
        return [option for each in inner.values() for option in options(each)]
    return [each for each in command.params if each.param_type_name == "option"]


def long_name(option: Any) -> str:
    return str(max(option.opts, key=len)).removeprefix("--")


def test_every_option_says_who_may_set_it() -> None:
    every = options(get_command(app))
    variables = {long_name(each): each.envvar for each in every if each.envvar}
    others = {long_name(each) for each in every if not each.envvar}
    settable = trust.FOLDER | trust.USER
    assert not trust.FOLDER & trust.USER
    assert variables.keys() == settable, "put a new option into cli/trust.py"
    assert others == trust.COMMAND_LINE, "put a new option into cli/trust.py"
    assert variables == {key: trust.variable(key) for key in settable}


def test_a_folder_may_shape_replies_and_nothing_else() -> None:
    assert sorted(trust.FOLDER) == [
        "glob",
        "id-field",
        "id-from",
        "max-tags",
        "min-tags",
        "model",
        "readme-field",
        "readme-tokens",
        "scores",
        "tags-as",
        "threshold",
    ]


@pytest.mark.parametrize("key", sorted(trust.USER))
def test_what_only_the_user_may_set_is_refused_in_a_folder(run: Run, file: Path, key: str) -> None:
    write(file, f'{key} = "x"\n')
    outcome = run("run", "README.md")
    assert outcome.code == 2
    told = one_line(outcome.err)
    assert f"{key} may not be set by a file in the folder" in told
    for place in (f"--{key}", trust.variable(key), str(user_settings())):
        assert place in told


@pytest.mark.parametrize("key", sorted(trust.COMMAND_LINE))
def test_what_discards_work_is_for_the_command_line(
    run: Run, file: Path, user: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    for place in (file, user):
        write(place, f'{key} = "x"\n')
        outcome = run("run", "README.md")
        assert outcome.code == 2
        check_line(outcome.err)
        place.unlink()
    monkeypatch.setenv(trust.variable(key), "x")
    assert run("batch", "README.md").code == 0
    assert not Path("x").exists()


@pytest.mark.parametrize("model", ["./evil", "owner/name", "", "gpt-5", 5, ["a"]])
def test_a_folder_may_name_no_other_model_than_those_of_the_catalogue(
    run: Run, file: Path, model: Any
) -> None:
    write(file, f"model = {json.dumps(model)}\n")
    outcome = run("run", "README.md", model=None)
    assert outcome.code == 2
    check_line(outcome.err)


def test_a_folder_may_name_a_model_of_the_catalogue(run: Run, file: Path) -> None:
    write(file, 'model = "qwen2.5-coder-1.5b"\n')
    outcome = run("run", "README.md", "--offline", model=None)
    assert outcome.code == 3
    assert "the model qwen2.5-coder-1.5b is not on this machine" in outcome.err


def test_a_clone_gets_neither_key_nor_readme(
    run: Run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAGGER_API_KEY", "sk-victim")
    with serving() as server:
        write(file, f'endpoint = "{server.url}"\nmodel = "m"\nquiet = true\n')
        for command in ("run", "batch"):
            assert run(command, "README.md", model=None).code == 2
        assert not server.requests
        assert not server.keys


@pytest.fixture
def server(user: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that the user's own file names."""
    monkeypatch.setenv("TAGGER_API_KEY", "sk-1")
    with serving() as server:
        write(user, f'endpoint = "{server.url}"\nmodel = "theirs"\n')
        yield server


def test_the_users_own_file_names_a_server_and_its_key_goes_there(run: Run, server: Server) -> None:
    outcome = run("run", "README.md", model=None)
    assert outcome.code == 0, outcome.err
    assert server.keys == ["Bearer sk-1"]
    assert server.requests[0]["model"] == "theirs"


def test_a_folders_model_is_not_asked_of_a_server(run: Run, server: Server, file: Path) -> None:
    write(file, 'model = "qwen2.5-coder-1.5b"\nmax-tags = 1\n')
    outcome = run("run", "README.md", model=None)
    assert outcome.code == 0, outcome.err
    assert server.requests[0]["model"] == "theirs"
    assert "is not used with an endpoint" in outcome.err
    assert "sets max-tags\n" in outcome.err
    lines = {line.split()[0]: line.split() for line in run("config", model=None).out.splitlines()}
    assert lines["model"] == ["model", "theirs", str(user_settings())]


def test_a_folders_model_does_not_make_up_for_that_of_a_server(run: Run, file: Path) -> None:
    write(file, 'model = "qwen2.5-coder-1.5b"\n')
    outcome = run("run", "README.md", "--endpoint", "http://127.0.0.1:9/v1", model=None)
    assert outcome.code == 2
    assert "--endpoint needs --model" in outcome.err


def test_the_folders_file_wins_over_the_users(run: Run, file: Path, user: Path) -> None:
    write(user, 'max-tags = 2\ntags-as = "names"\n')
    assert len(tags_of(run)) == 2
    write(file, "max-tags = 1\n")
    assert len(tags_of(run)) == 1
    assert isinstance(tags_of(run)[0], str)


@pytest.mark.parametrize("quiet", [(), ("--quiet",)])
def test_the_folders_file_is_named_whenever_it_changes_anything(
    run: Run, file: Path, quiet: tuple[str, ...]
) -> None:
    write(file, 'tags-as = "names"\nmax-tags = 1\nid-from = "stem"\n')
    outcome = run("run", "README.md", *quiet)
    assert f"tagger: {file.name}" in outcome.err
    assert " sets tags-as, max-tags\n" in outcome.err
    outcome = run("run", "README.md", *quiet, "--max-tags", "2", "--tags-as", "ids")
    assert "sets" not in outcome.err


@pytest.mark.parametrize(
    "command", [("models", "plan", "qwen2.5-coder-0.5b"), ("tags", "check", "--offline")]
)
def test_commands_of_groups_name_the_file_too(
    run: Run, workplace: Path, command: tuple[str, ...]
) -> None:
    (workplace / "tagger.toml").write_text('readme-tokens = 100\nmodel = "qwen2.5-coder-1.5b"\n')
    assert "tagger: tagger.toml sets " in run(*command, model=None).err


def test_the_users_file_is_taken_without_a_word(run: Run, user: Path) -> None:
    write(user, "quiet = true\njson = true\n")
    outcome = run("explain", "README.md")
    assert outcome.code == 0
    assert outcome.err == ""
    assert json.loads(outcome.out)


def test_without_a_home_no_folder_passes_for_the_users(
    run: Run, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tagger.cli.config.user_settings", lambda: Path("~/config.toml"))
    write(workplace / "~" / "config.toml", 'endpoint = "http://127.0.0.1:9/v1"\n')
    assert run("run", "README.md").code == 0


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
    assert "there is no option 'max-tag'; did you mean max-tags?" in outcome.err


def test_a_key_is_no_place_for_secrets(run: Run, file: Path) -> None:
    write(file, 'api-key = "sk-1"\n')
    outcome = run("run", "README.md")
    assert outcome.code == 2
    assert "sk-1" not in outcome.err


BROKEN = ["max-tags = ", "\xff", "[" * 3000, "a" + ".a" * 5000 + " = 1", "#" * 300_000]


@pytest.mark.parametrize("text", BROKEN)
def test_a_tagger_toml_that_cannot_be_parsed_is_refused(
    run: Run, workplace: Path, text: str
) -> None:
    (workplace / "tagger.toml").write_bytes(text.encode("latin-1"))
    outcome = run("run", "README.md")
    assert outcome.code == 2
    check_line(outcome.err)


@pytest.mark.parametrize("text", [*BROKEN, "{{ cookiecutter.name }}"])
def test_a_pyproject_that_cannot_be_parsed_stops_nothing(
    run: Run, workplace: Path, text: str
) -> None:
    (workplace / "pyproject.toml").write_bytes(text.encode("latin-1"))
    outcome = run("run", "README.md")
    assert outcome.code == 0
    assert ("pyproject.toml is not read: larger" in outcome.err) == (len(text) > 200_000)


def test_settings_in_a_pyproject_that_cannot_be_parsed_are_missed(
    run: Run, workplace: Path
) -> None:
    (workplace / "pyproject.toml").write_text("[tool.tagger]\nmax-tags = 1\n[oops")
    outcome = run("run", "README.md")
    assert outcome.code == 0
    assert "tagger: pyproject.toml is not read: " in outcome.err


@pytest.mark.parametrize("text", ["max-tags" + ".a" * 900 + " = 1", "b" * 5000 + " = 1"])
def test_a_key_of_any_size_is_refused_in_a_short_line(run: Run, file: Path, text: str) -> None:
    write(file, text)
    outcome = run("run", "README.md")
    assert outcome.code == 2
    assert len(one_line(outcome.err)) < 200


def test_a_value_that_no_option_takes_is_refused(run: Run, file: Path) -> None:
    write(file, 'max-tags = "many"\n')
    outcome = run("run", "README.md")
    assert outcome.code == 2
    assert "--max-tags" in outcome.err


def test_config_says_what_is_in_force_and_from_where(
    run: Run, file: Path, user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, "max-tags = 5\nmin-tags = 2\n")
    monkeypatch.setenv("TAGGER_MIN_TAGS", "0")
    write(user, "max-tags = 7\nreport = 'page.html'\n")
    lines = {line.split()[0]: line.split() for line in run("config").out.splitlines()[2:]}
    assert lines["report"] == ["report", "page.html", str(user)]
    assert lines["max-tags"][1] == "5"
    assert lines["max-tags"][2].startswith(file.name)
    assert lines["min-tags"] == ["min-tags", "0", "TAGGER_MIN_TAGS"]
    assert lines["readme-tokens"] == ["readme-tokens", "128", "default"]


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
        ("max-tags = true", "max-tags cannot be true or false"),
        ('id-from = ["a"]', "id-from cannot be a list"),
        ("[threshold]\na = 1", "threshold cannot be a table"),
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
    "text", ["max-tags = 50", 'tags-as = "rnk"', 'glob = "*.md"', 'threshold = "x"']
)
def test_config_says_which_value_no_command_would_take(
    run: Run, workplace: Path, text: str
) -> None:
    (workplace / "tagger.toml").write_text(text)
    outcome = run("config")
    assert outcome.code == 2
    assert "tagger.toml: " in outcome.err
    assert f"--{text.split()[0]}" in outcome.err


@pytest.mark.parametrize("text", ['method = "rnk"', 'device = "x"'])
def test_a_refused_value_of_the_users_file_is_put_down_to_it(
    run: Run, user: Path, text: str
) -> None:
    write(user, text)
    outcome = run("config")
    assert outcome.code == 2
    check_line(outcome.err)
    outcome = run("run", "README.md")
    assert outcome.code == 2
    check_line(outcome.err)


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
