"""A chat template, rendered by a program of its own with limits on time, memory and output.

A template comes with a model's folder and is a program: two nested loops run for hours, and one
multiplication asks for gigabytes. Jinja's sandbox keeps it from the machine, not from that.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any

from tagger.errors import LoadError

SECONDS = 2
"""Processor time of a rendering. Starting the program takes 0.1 s of it, a published template
milliseconds."""

MEMORY = 2**30
"""Bytes of address space; not enforced by macOS, where time alone bounds a rendering."""

OUTPUT = 2**20
"""Characters of the rendered text."""

_WALL_SECONDS = 60
"""For a machine that is too busy to give the processor time that a rendering may take."""


def render(template: str, context: Mapping[str, Any]) -> str:
    """Return a rendered chat template.

    Args:
        template: in Jinja, as Transformers reads it.
        context: its variables, of which JSON can tell.

    Raises:
        LoadError: it fails, or needs more than the limits allow.

    """
    return _rendered(json.dumps([template, context]))


@cache
def _rendered(task: str) -> str:
    try:
        done = subprocess.run(
            # -P: a file of the same name in the current folder must not take the module's place.
            [sys.executable, "-P", "-m", __name__],
            input=task.encode(),
            capture_output=True,
            timeout=_WALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LoadError(f"the model's chat template takes over {_WALL_SECONDS} s") from error
    if done.returncode < 0:
        raise LoadError(
            f"the model's chat template takes more than {SECONDS} s, or the program that renders "
            f"it crashed (signal {-done.returncode}): choose another model"
        )
    if done.returncode:
        complaint = " ".join(done.stderr.decode(errors="replace").split())
        raise LoadError(f"the model's chat template fails: {complaint[-200:]}")
    return done.stdout.decode()


def _limit() -> None:
    """Set this process's limits; how it ends then is up to the system."""
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: SECONDS,
        resource.RLIMIT_AS: MEMORY,
    }
    for kind, most in limits.items():
        with suppress(ValueError, OSError):  # macOS reserves more than any limit on addresses
            resource.setrlimit(kind, (most, most))


def _main() -> None:
    task, out = sys.stdin.buffer.read(), sys.stdout.buffer
    _limit()
    try:
        template, context = json.loads(task)
        text = _environment().from_string(template).render(context)
        if len(text) > OUTPUT:
            raise ValueError(f"its output is longer than {OUTPUT:,} characters")
        out.write(text.encode())
    except MemoryError:
        sys.exit(f"it needs more than {MEMORY // 2**20:,} MiB of memory")
    except Exception as error:  # a template's own code: anything may surface
        sys.exit(f"{type(error).__name__}: {str(error)[:1000]}")


def _environment() -> Any:
    """Return Jinja as Transformers sets it up for chat templates, which it imports for seconds."""
    import datetime

    import jinja2.ext
    from jinja2 import nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(jinja2.ext.Extension):
        """Renders what is between the tags, which only training tells from the rest."""

        tags = {"generation"}  # noqa: RUF012 - Jinja's own interface

        def parse(self, parser: Any) -> nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    def raise_exception(message: object) -> None:
        raise jinja2.TemplateError(str(message))

    def tojson(value: object, ensure_ascii: bool = False, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **options)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return environment


if __name__ == "__main__":
    _main()
