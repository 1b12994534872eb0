"""Groups of options reach Typer field by field."""

from dataclasses import dataclass, fields
from typing import Annotated

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from tagger.cli import batch, calibrate, eval_, explain, options, prompt, run
from tagger.cli.app import app
from tagger.cli.flatten import flattened

GROUPS = {
    "run": run.run,
    "batch": batch.batch,
    "eval": eval_.evaluate,
    "calibrate": calibrate.calibrate,
    "explain": explain.explain,
    "prompt": prompt.prompt,
}


@pytest.mark.parametrize("name", GROUPS)
def test_every_field_of_a_group_is_an_option_of_the_command(name: str) -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    parameters = {each.name for each in commands[name].params}
    groups = [kind for kind in GROUPS[name].__annotations__.values() if hasattr(kind, "__mro__")]
    groups = [kind for kind in groups if kind.__module__ == options.__name__]
    assert groups
    for group in groups:
        assert {field.name for field in fields(group)} <= parameters


@dataclass(frozen=True)
class Colours:
    red: Annotated[int, typer.Option(help="How red.")] = 1
    deep_blue: Annotated[bool, typer.Option("--blue", "-b")] = False


def program() -> typer.Typer:
    made = typer.Typer()

    @made.command()
    @flattened
    def paint(name: Annotated[str, typer.Argument()], *, colours: Colours) -> None:
        """Paint."""
        typer.echo(f"{name} {colours}")

    return made


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        (["a"], {}, Colours()),
        (["a", "--red", "2", "-b"], {}, Colours(2, deep_blue=True)),
        (["a"], {"TAGGER_RED": "3", "TAGGER_BLUE": "1"}, Colours(3, deep_blue=True)),
        (["a", "--red", "4"], {"TAGGER_RED": "3"}, Colours(4)),
    ],
)
def test_a_group_is_filled_from_options_and_variables(
    arguments: list[str], environment: dict[str, str], expected: Colours
) -> None:
    done = CliRunner().invoke(program(), arguments, env=environment)
    assert done.output == f"a {expected}\n"


def test_a_command_keeps_its_help() -> None:
    assert "Paint." in CliRunner().invoke(program(), ["--help"]).output
