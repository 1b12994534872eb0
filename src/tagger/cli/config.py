"""Defaults of options from a file of the folder, and `tagger config`, which says what is in force.

`tagger.toml`, or else the table `[tool.tagger]` of `pyproject.toml`, holds options by their long
names: `max-tags = 5`. The command line wins over the environment, which wins over the file.
"""

import difflib
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command

from tagger.errors import UsageError
from tagger.text import printable

FILE, TABLE = "tagger.toml", "pyproject.toml"


def read() -> tuple[dict[str, Any], str]:
    """Return what the current folder's file sets, by option, and the file's name if there is one.

    Raises:
        UsageError: the file cannot be read.

    """
    if Path(FILE).is_file():
        return _by_option(_toml(FILE)), FILE
    if Path(TABLE).is_file():
        tools = _toml(TABLE).get("tool")
        table = tools.get("tagger") if isinstance(tools, dict) else None
        if isinstance(table, dict):
            return _by_option(table), f"{TABLE}, [tool.tagger]"
        if table is not None:
            raise UsageError(f"{TABLE}: tool.tagger is no table of options")
    return {}, ""


def defaults(app: typer.Typer) -> dict[str, Any]:
    """Return what the file sets, as Click's `default_map`: by command and parameter.

    Raises:
        UsageError: the file cannot be read, or sets something that no command knows.

    """
    values, name = read()
    if not values:
        return {}
    known = {key for _, _, key, _ in _options(app)}
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "`tagger config` lists what there is"
            raise UsageError(f"{name}: knows no option {printable(key)!r}; {hint}")
    mapped: dict[str, Any] = {}
    for path, parameter, key, option in _options(app):
        if key in values:
            _check_kind(option, key, values[key], name)
            here = mapped
            for part in path:
                here = here.setdefault(part, {})
            here[parameter] = values[key]
    return mapped


def _check_kind(option: Any, key: str, value: Any, name: str) -> None:
    """Refuse what Typer would make a text or a number of. Raises `UsageError`."""
    odd = isinstance(value, dict)
    odd |= isinstance(value, list) and not option.multiple
    odd |= isinstance(value, bool) and not option.is_flag
    if odd:
        raise UsageError(f"{name}: {key} cannot be {printable(str(value))}; see --help")


def origin(error: Any) -> str:
    """Say where a value that Typer refuses is from, if that is the folder's file."""
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    if context is None or parameter is None:
        return ""
    source = context.get_parameter_source(parameter.name)
    return f", as {read()[1]} sets it" if source and source.name == "DEFAULT_MAP" else ""


def config(context: typer.Context) -> None:
    """Show which options the environment and this folder's file set, and all there are.

    A file is tagger.toml, or the table [tool.tagger] of pyproject.toml.
    """
    values, name = read()
    typer.echo(f"file: {name or f'none ({FILE}, or [tool.tagger] in {TABLE})'}")
    root = context.find_root().command
    seen: dict[str, tuple[str, str]] = {}
    refused = ""
    for _, _, key, option in _walk(root, ()):
        variable = option.envvar
        if os.environ.get(variable):
            shown, where = os.environ[variable], variable
        elif key in values:
            shown, where = str(values[key]), name
        else:
            default = option.default
            shown, where = "" if default is None else str(default), "default"
        seen.setdefault(key, (printable(shown), where))
        if where != "default" and not refused:
            value = option.value_from_envvar(context) or values[key]
            refused = _refused(context, option, value, where)
    width = max(map(len, seen))
    for key, (shown, where) in sorted(seen.items()):
        typer.echo(f"{key:<{width}}  {shown or '-':<24}  {where}")
    if refused:
        raise UsageError(refused)


def _refused(context: typer.Context, option: Any, value: Any, where: str) -> str:
    """Say why an option does not take a value; nothing if it does."""
    try:
        option.process_value(context, value)
    except typer.TyperException as error:
        message = error.format_message().rstrip(".")
        named = "" if option.opts[0] in message else f"{option.opts[0]}: "
        return f"{where}: {named}{message}"
    return ""


def _options(app: typer.Typer) -> Iterator[tuple[tuple[str, ...], str, str, Any]]:
    yield from _walk(get_command(app), ())


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, str, Any]]:
    """Yield every option that has a variable: its command, parameter, long name and itself."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from _walk(inner, (*path, name))
    for parameter in command.params:
        if parameter.param_type_name == "option" and parameter.envvar:
            long = max(parameter.opts, key=len).removeprefix("--")
            yield path, parameter.name, long, parameter


def _by_option(table: dict[str, Any]) -> dict[str, Any]:
    """Return a table by the options' long names, which may be written with underscores."""
    return {key.replace("_", "-"): value for key, value in table.items()}


def _toml(name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{name}: cannot be read: {' '.join(str(error).split())}") from error
