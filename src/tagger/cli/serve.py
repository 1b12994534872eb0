"""`tagger serve`: the same answers over HTTP."""

import os
from typing import Annotated

import typer

from tagger._util.extras import need
from tagger.cli import options, signals
from tagger.cli.options import log
from tagger.errors import UsageError

KEY_VARIABLE = "TAGGER_SERVE_KEY"


def serve(
    *,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Answer at this address. One that other machines can reach needs a key, which is "
            f"taken from {KEY_VARIABLE}.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Answer at this port; 0 takes any free one.")
    ] = 8000,
    queue: Annotated[
        int,
        typer.Option(
            min=1, max=100_000, help="Let at most N READMEs and questions wait; answer 429 to more."
        ),
    ] = 256,
    timeout: Annotated[
        float,
        typer.Option(
            min=1.0, max=3600.0, metavar="SECONDS", help="Answer 504 to a request after this time."
        ),
    ] = 120.0,
    calibration: options.Calibration = None,
    head: options.HeadFile = None,
    prompt: options.PromptOptions,
    selection: options.SelectionOptions,
    model: options.ModelOptions,
    common: options.CommonOptions,
) -> None:
    """Answer over HTTP: POST /v1/tag, and decisions by the protocols of Jev and OpenAI.

    --max-tags, --min-tags and --threshold hold for requests that do not say otherwise. Ctrl-C or
    SIGTERM ends the server once everything that it has accepted is answered.
    """
    need("serve")
    key = os.environ.get(KEY_VARIABLE) or None

    # Here, not above: `--help` and wrong usage are answered without them.
    from tagger.cli import methods
    from tagger.serve.admission import is_loopback
    from tagger.serve.app import application
    from tagger.serve.server import Server, listen

    host = host.removeprefix("[").removesuffix("]").lower()
    if not host:
        raise UsageError("--host is empty: name an address, such as 127.0.0.1 or 0.0.0.0")
    if key is None and not is_loopback(host):
        raise UsageError(
            f"--host {host} can be reached from other machines: set {KEY_VARIABLE} to a key that "
            "clients must send"
        )
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise UsageError(f"{KEY_VARIABLE} must be printable ASCII without spaces")
    chosen = selection.selection()
    vocabulary = options.load_vocabulary(prompt.tags)
    opener = methods.rank_opener(vocabulary, prompt, model, calibration, head, quiet=common.quiet)
    with listen(host, port) as at:
        server = Server(at)
        app = application(opener(), chosen, key, most=queue, seconds=timeout, failed=server.fail)
        log.info("listening on %s", server.address)
        with signals.finishing(server):
            server.serve(app)
    signals.exit_despite_threads(0)
