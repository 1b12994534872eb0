"""`tagger review`: a page on which a curator goes through the output of a batch."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tagger._util.extras import need
from tagger.cli import options, signals
from tagger.errors import UsageError

if TYPE_CHECKING:
    import socket

    from tagger.review.review import Review

_LISTENS = "127.0.0.1"


def review(
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="What tagger batch has written with -o.")
    ],
    *,
    readmes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE",
            help="Where the READMEs are: sources as for tagger batch; may be repeated. Default: "
            "those of the batch.",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=1024, max=65535, metavar="N", help=f"Listen on {_LISTENS}:N. Default: a free port."
        ),
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address, but open no browser.")
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write what was decided as label rows, and show no page."
        ),
    ] = None,
    id_from: options.IdOfReadme = "relative",
    source: options.SourceOptions,
    prompt: options.PromptOptions,
    model: options.ModelOptions,
    common: options.CommonOptions,
) -> None:
    """Review what a batch has suggested: accept, correct, and learn from that.

    Decisions are kept beside the output, in OUTPUT.review, and tagger batch keeps them when it is
    run again. The page is on this machine only; Ctrl-C ends it. For the next best tags, and to
    learn, pass the options of the batch that say which model it was and how it read.
    """
    if export and (port or no_browser):
        raise UsageError("--export shows no page: leave out --port and --no-browser")
    if not export:
        need("review")

    # Here, not above: `--help` and wrong usage are answered without them.
    from tagger.cli import methods
    from tagger.cli.progress import counting
    from tagger.review.review import Review

    vocabulary = options.load_vocabulary(prompt.tags)
    sources = source.sources(readmes, id_from) if readmes else None
    # Nothing is fetched behind the page: what the batch has used is here.
    opener = methods.rank_opener(vocabulary, prompt, replace(model, offline=True), quiet=True)
    with ExitStack() as stack:
        # Before the review, which is not begun for a page that cannot be shown.
        at = None if export else stack.enter_context(_bound(port or 0))
        with counting(quiet=common.quiet) as progress:
            work = stack.enter_context(
                Review(
                    output,
                    vocabulary,
                    sources=sources,
                    rank=opener,
                    progress=progress,
                    new=not export,
                )
            )
        if export:
            rows = work.export(export)
            options.log.info("%s: %d label rows", export, rows)
        if at:
            _show(work, at, browser=not no_browser)


def _bound(port: int) -> "socket.socket":
    from tagger.review.server import bound

    return bound(port)


def _show(work: "Review", at: "socket.socket", *, browser: bool) -> None:
    """Serve the page until Ctrl-C."""
    import webbrowser

    from tagger.review.server import Server

    def ready(address: str, once: str) -> None:
        typer.echo(f"tagger: the review is at {address} until Ctrl-C", err=True)
        if browser:
            webbrowser.open(once)  # every user of the machine can see what it starts

    server = Server(work, at)
    with signals.finishing(server, "the review ends"):
        server.serve(ready)
