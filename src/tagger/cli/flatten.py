"""Groups of options as dataclasses, and variables from the options' names.

A command names groups of options as parameters, such as `model: ModelOptions`. Typer knows nothing
of groups, so `flattened` gives it a function with an option of its own for each field.
`inspect.signature` honours `__signature__`, but Typer does not promise to: a test makes sure that
every field is an option of every command that names its group.
"""

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

from typer.models import OptionInfo

from tagger.cli import trust


def flattened(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command for Typer: groups become options, and options get their variables.

    An option's variable is `TAGGER_` and its long name, unless it may be given on the command line
    only.

    Args:
        command: its parameters are annotated as Typer has it, or with dataclasses whose fields are.

    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, type] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if is_dataclass(kind := hints[name]) and isinstance(kind, type):
            groups[name] = kind
            types = get_type_hints(kind, include_extras=True)
            parameters += [
                _parameter(field.name, types[field.name], field.default) for field in fields(kind)
            ]
        else:
            parameters.append(_parameter(name, kind, parameter.default))

    def flat(**values: Any) -> Any:
        made = {
            name: kind(**{field.name: values.pop(field.name) for field in fields(kind)})
            for name, kind in groups.items()
        }
        return command(**values, **made)

    flat.__name__, flat.__doc__ = command.__name__, command.__doc__
    flat.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return flat


def _parameter(name: str, kind: Any, default: Any) -> inspect.Parameter:
    """Return a parameter for Typer, with the variable of its option if it is one."""
    for info in get_args(kind):
        if isinstance(info, OptionInfo):
            # In an annotation, Typer keeps the first name where a default would stand.
            names = [info.default, *(info.param_decls or ())]
            written = [given for given in names if isinstance(given, str)]
            option = max(written, key=len, default=name).removeprefix("--").replace("_", "-")
            if option not in trust.COMMAND_LINE:
                info.envvar = trust.variable(option)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
