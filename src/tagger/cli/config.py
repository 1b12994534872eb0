"""Settings from files, and `tagger config`, which says what is in force.

`tagger.toml`, or else the table `[tool.tagger]` of `pyproject.toml`, sets options for the current
folder by their long names: `max-tags = 5`. The user's own `config.toml` does so for every folder.
The command line wins over the environment, which wins over the folder's file, which wins over the
user's. What a folder's file may set is listed in `trust.py`.
"""

import difflib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from tagger._util.paths import user_settings
from tagger._util.reading import parse_toml, read_bounded
from tagger._util.text import printable
from tagger._util.validation import PREFIX
from tagger.cli import trust
from tagger.errors import UsageError
from tagger.types import EFFORTS

FILE, TABLE = "tagger.toml", "pyproject.toml"

MAX_BYTES = 256 * 1024
"""Larger settings files are not read."""

_MOST = 40
"""Characters of an unknown key that are shown."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class File:
    """A settings file.

    Attributes:
        name: what messages call it; empty if there is no such file.
        values: what it sets, by option.

    """

    name: str = ""
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """The settings files that are in force.

    Attributes:
        folder: the current folder's.
        user: the user's own.
        unread: why the folder's pyproject.toml was not read, where that may matter.

    """

    folder: File
    user: File
    unread: str = ""

    def setting(self, option: str, *, endpoint: bool = False) -> File | None:
        """Return the file that sets an option, if one does.

        A folder names a model that runs here, so with an `endpoint` its model does not count.
        """
        if option in self.folder.values and not (endpoint and option == "model"):
            return self.folder
        return self.user if option in self.user.values else None


def read() -> Settings:
    """Return what the settings files hold.

    Raises:
        UsageError: a file cannot be read, or sets what it may not.

    """
    folder, unread = _of_folder()
    return Settings(folder, _of_user(), unread)


def default_map(root: Any, settings: Settings) -> dict[str, Any]:
    """Return what the files set, as Click's `default_map`: by command and parameter.

    Raises:
        UsageError: a value is of the wrong kind.

    """
    mapped: dict[str, Any] = {}
    for path, option in _walk(root, ()):
        for file in (settings.user, settings.folder):
            if (key := _key(option)) in file.values:
                _check_kind(option, key, file)
                here = mapped
                for part in path:
                    here = here.setdefault(part, {})
                here[option.name] = file.values[key]
    return mapped


def announce(context: typer.Context) -> None:
    """Say what the folder's file sets for a command that is about to run, even with `--quiet`."""
    settings: Settings = context.find_root().obj
    if settings.unread:
        log.info("%s", settings.unread)
    folder, used = settings.folder, set()
    endpoint = bool(context.params.get("endpoint"))
    for option in context.command.params:
        if (key := _key(option)) not in folder.values or not _is_from_file(context, option):
            continue
        if (file := settings.setting(key, endpoint=endpoint)) is folder:
            used.add(key)
        else:
            model = file.values[key] if file else option.default
            context.params[key] = str(model)
            log.info("the model that %s names is not used with an endpoint", folder.name)
    if used:
        keys = ", ".join(key for key in folder.values if key in used)
        typer.echo(f"tagger: {folder.name} sets {keys}", err=True)


def ignore_service_links() -> None:
    """Take out of the environment what looks like an option's variable and is Kubernetes'.

    For a Service called `tagger` it sets TAGGER_PORT, to `tcp://10.0.0.1:8000` for example, in
    every container of the namespace.
    """
    variable = trust.variable("port")
    if "://" in os.environ.get(variable, ""):
        del os.environ[variable]


class Named(str):
    """A value of an option, and what gave it.

    Attributes:
        by: the option, its variable, or a settings file.

    """

    by: str

    @classmethod
    def of(cls, text: str, context: typer.Context, option: Any) -> "Named":
        """Take a value that Typer has found for an option of a command."""
        named, source = cls(text), context.get_parameter_source(option.name)
        named.by = f"--{_key(option)}"
        if source is not None and source.name == "ENVIRONMENT":
            named.by = option.envvar
        elif _is_from_file(context, option) and (
            file := context.find_root().obj.setting(_key(option))
        ):
            named.by = file.name
        return named


def wording(error: Any) -> str:
    """Return what Typer says is wrong, without Pydantic's opening words and a full stop."""
    message: str = error.format_message()
    return message.rstrip(".").replace(PREFIX, "", 1)


def origin(error: Any) -> str:
    """Say where a value that Typer refuses is from, if that is a settings file."""
    context, option = getattr(error, "ctx", None), getattr(error, "param", None)
    if context is None or option is None or not _is_from_file(context, option):
        return ""
    file = context.find_root().obj.setting(_key(option))
    return f", as {file.name} sets it"


def config(context: typer.Context) -> None:
    """Show all settings, the values in force and where they come from.

    The current folder's file is tagger.toml, or the table [tool.tagger] of pyproject.toml. Your
    own file is config.toml in the platform's settings folder.
    """
    settings: Settings = context.find_root().obj
    nowhere = f"none ({FILE}, or [tool.tagger] in {TABLE})"
    typer.echo(f"folder's file: {settings.folder.name or nowhere}")
    typer.echo(f"user's file: {printable(settings.user.name or f'none ({user_settings()})')}")
    endpoint = bool(os.environ.get(trust.variable("endpoint")) or settings.setting("endpoint"))
    seen: dict[str, tuple[str, str]] = {}
    refused = ""
    for _, option in _walk(context.find_root().command, ()):
        key = _key(option)
        file = settings.setting(key, endpoint=endpoint)
        value: Any
        if os.environ.get(option.envvar):
            value, where = option.value_from_envvar(context), option.envvar
            shown = os.environ[option.envvar]
        elif file:
            value, where = file.values[key], printable(file.name)
            shown = str(value)
        else:
            value, where = None, "default"
            shown = "" if option.default is None else str(option.default)
        seen.setdefault(key, (printable(shown), where))
        if value is not None and not refused:
            refused = _refused(context, option, value, where)
    effort, set_by = seen["effort"]
    if effort in EFFORTS and set_by != "default":
        for option, default in EFFORTS[effort].defaults.items():
            key = option.replace("_", "-")
            if seen[key][1] == "default":
                seen[key] = (str(default), f"effort {effort}")
    width = max(map(len, seen))
    for key, (shown, where) in sorted(seen.items()):
        typer.echo(f"{key:<{width}}  {shown or '-':<24}  {where}")
    if settings.unread:
        log.info("%s", settings.unread)
    if refused:
        raise UsageError(refused)


def _of_folder() -> tuple[File, str]:
    """Return the folder's file, and why its pyproject.toml was not read, where that may matter."""
    if _is_file(Path(FILE)):
        return _allowed(FILE, _table(Path(FILE)), in_folder=True), ""
    if not _is_file(Path(TABLE)):
        return File(), ""
    # Most are nothing to do with tagger, whatever is wrong with them.
    try:
        content = read_bounded(Path(TABLE), MAX_BYTES)
    except OSError as error:
        return File(), f"{TABLE} is not read: {error.strerror}"
    try:
        tools = parse_toml(content).get("tool")
    except ValueError as error:
        concerned = b"tool.tagger" in content
        return File(), f"{TABLE} is not read: {_in_one_line(error)}" if concerned else ""
    table = tools.get("tagger", {}) if isinstance(tools, dict) else {}
    if not isinstance(table, dict):
        raise UsageError(f"{TABLE}: tool.tagger is not a table of options")
    return _allowed(f"{TABLE} [tool.tagger]", table, in_folder=True) if table else File(), ""


def _of_user() -> File:
    path = user_settings()
    # Without a home there is only a relative path, which would lead into the current folder.
    if not path.is_absolute() or not _is_file(path):
        return File()
    return _allowed(str(path), _table(path), in_folder=False)


def _allowed(name: str, table: dict[str, Any], *, in_folder: bool) -> File:
    """Return a file's settings by the options' long names, in which `_` may stand for `-`.

    Raises:
        UsageError: it sets what there is not, or what such a file may not set.

    """
    values = {key.replace("_", "-"): value for key, value in table.items()}
    known = trust.FOLDER | trust.USER | trust.COMMAND_LINE
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key[:_MOST], known, n=1)
            hint = f"did you mean {near[0]}?" if near else "`tagger config` lists what there is"
            shown = printable(key[:_MOST])
            raise UsageError(f"{name}: there is no option {shown!r}; {hint}")
        if key in trust.COMMAND_LINE:
            raise UsageError(f"{name}: {key} may be given on the command line only: take it out")
        if in_folder and key in trust.USER:
            raise UsageError(f"{name}: {key} {_ELSEWHERE} {_places(key)}")
    if in_folder and "model" in values:
        from tagger.models.fetch.catalogue import catalogue

        if values["model"] not in list(catalogue()):
            raise UsageError(
                f"{name}: a model that `tagger models list` does not show {_ELSEWHERE} "
                f"{_places('model')}"
            )
    return File(name, values)


_ELSEWHERE = (
    "may not be set by a file in the folder, because such a file may come from a stranger: take it "
    "out, and"
)


def _places(option: str) -> str:
    """Say where the user may set an option."""
    variable = trust.variable(option)
    return f"pass --{option}, set {variable}, or put it into {user_settings()}"


def _check_kind(option: Any, key: str, file: File) -> None:
    """Refuse what Typer would make a text or a number of. Raises `UsageError`."""
    value, kind = file.values[key], ""
    if isinstance(value, dict):
        kind = "a table"
    elif isinstance(value, list) and not option.multiple:
        kind = "a list"
    elif isinstance(value, bool) and not option.is_flag:
        kind = "true or false"
    if kind:
        raise UsageError(f"{file.name}: {key} cannot be {kind}; see --help")


def _refused(context: typer.Context, option: Any, value: Any, where: str) -> str:
    """Say why an option does not take a value; nothing if it does."""
    try:
        option.process_value(context, value)
    except typer.TyperException as error:
        message = wording(error)
        named = "" if option.opts[0] in message else f"{option.opts[0]}: "
        return f"{where}: {named}{message}"
    return ""


def _is_from_file(context: Any, option: Any) -> bool:
    source = context.get_parameter_source(option.name)
    return source is not None and source.name == "DEFAULT_MAP"


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every option that has a variable, with the words of its command."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from _walk(inner, (*path, name))
    for parameter in command.params:
        if parameter.param_type_name == "option" and parameter.envvar:
            yield path, parameter


def _key(option: Any) -> str:
    """Return an option's long name."""
    long: str = max(option.opts, key=len)
    return long.removeprefix("--")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder on the way that may not be searched
        return False


def _table(path: Path) -> dict[str, Any]:
    """Read a file of settings. Raises `UsageError`."""
    try:
        return parse_toml(read_bounded(path, MAX_BYTES))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path}: cannot be read: {_in_one_line(error)}") from error


def _in_one_line(error: ValueError) -> str:
    return " ".join(str(error).split())
