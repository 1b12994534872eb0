"""The `tagger` command and what all its subcommands share."""

import logging
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from tagger import __version__
from tagger._util.text import printable
from tagger.cli import (
    batch,
    calibrate,
    config,
    eval_,
    explain,
    label_files,
    learn,
    mcp,
    models,
    prompt,
    review,
    run,
    serve,
    tags,
)
from tagger.cli.flatten import flattened


class ReaderGone(Exception):  # noqa: N818 (not an error of anybody's)
    """Nobody reads standard output any more."""


class _Commands(TyperGroup):
    """Lets a broken pipe through to `main`, where Typer would exit by itself."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise ReaderGone from None


class _Command(TyperCommand):
    """Says which of its options the folder's file sets, before it runs."""

    def invoke(self, ctx: Any) -> Any:
        config.announce(ctx)
        return super().invoke(ctx)


app = typer.Typer(
    name="tagger",
    cls=_Commands,
    help="Put tags from your own list on repositories, with a local Qwen chat model.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("run")(flattened(run.run))
app.command("batch")(flattened(batch.batch))
app.command("eval")(flattened(eval_.evaluate))
app.command("calibrate")(flattened(calibrate.calibrate))
app.command("learn")(flattened(learn.learn))
app.command("review")(flattened(review.review))
app.command("explain")(flattened(explain.explain))
app.command("serve")(flattened(serve.serve))
app.command("mcp")(flattened(mcp.mcp))
app.command("prompt")(flattened(prompt.prompt))
app.command("config")(flattened(config.config))
app.add_typer(learn.app, name="head")
app.add_typer(label_files.app, name="labels")
app.add_typer(models.app, name="models")
app.add_typer(tags.app, name="tags")
for group in (app, learn.app, label_files.app, models.app, tags.app):
    for command in group.registered_commands:
        command.cls = _Command


class _Lines(logging.Handler):
    """Writes the package's messages to stderr, one line each."""

    def emit(self, record: logging.LogRecord) -> None:
        typer.echo(f"tagger: {printable(record.getMessage())}", err=True)
        if record.exc_info:
            lines = "".join(traceback.format_exception(*record.exc_info)).split("\n")
            typer.echo("\n".join(map(printable, lines)), err=True)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 (its callback answers)
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Send messages of the package to stderr, and take defaults from the settings files."""
    config.ignore_service_links()
    context.obj = config.read()
    context.default_map = config.default_map(context.command, context.obj)
    logger = logging.getLogger("tagger")
    logger.handlers = [_Lines()]
    logger.setLevel(logging.INFO)
    logger.propagate = False
