"""`tagger batch`: tag folders, files and dumps of READMEs, so that nothing is lost."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from tagger.cli import options, signals
from tagger.errors import UsageError

STDOUT = "-"
SOME_FAILED = 1


def batch(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Folders, README files, .jsonl or .parquet files; - reads JSON Lines from "
            "standard input.",
        ),
    ],
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write here, and resume here if interrupted. A .parquet file is written at the "
            "end, from FILE.jsonl. Default: standard output.",
        ),
    ] = None,
    restart: Annotated[
        bool,
        typer.Option(
            "--restart",
            help="Start over and overwrite the existing output.",
        ),
    ] = False,
    id_from: options.IdOfReadme = "relative",
    on_duplicate: Annotated[
        Literal["error", "keep-first", "suffix"],
        typer.Option(
            help="What to do with a duplicate id: stop, skip the later README, or number its id.",
        ),
    ] = "error",
    fail_fast: Annotated[
        bool,
        typer.Option(
            "--fail-fast",
            help="Stop at the first README that cannot be tagged.",
        ),
    ] = False,
    batch_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Tokens that go through a GPU at once. Default: what fits its free memory. A CPU "
            "takes one README at a time.",
        ),
    ] = None,
    max_failures: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="With --endpoint: stop when N READMEs in a row have failed in the same way. "
            "Default: 20.",
        ),
    ] = None,
    no_features: Annotated[
        bool,
        typer.Option(
            "--no-features",
            help="Do not store features in FILE.state: the file is a tenth as large, but with "
            "another --head or --calibration everything is read again.",
        ),
    ] = False,
    source: options.SourceOptions,
    prompt: options.PromptOptions,
    selection: options.SelectionOptions,
    reply: options.ReplyOptions,
    model: options.ModelOptions,
    method: options.MethodOptions,
    common: options.CommonOptions,
) -> int:
    """Tag many READMEs: one JSON line each, in the order of the sources.

    A README that cannot be tagged gets a row with an "error", and the exit code is 1. With -o, the
    same command resumes where it stopped; its progress is kept next to the output, in
    FILE.state.
    """
    # Here, not above: `--help` and wrong usage are answered without them.
    from tagger.cli import methods

    chosen = selection.selection()
    methods.check(method, model, chosen, scores=reply.scores)
    if max_failures and not method.endpoint:
        raise UsageError("--max-failures works only with --endpoint")
    if restart and not output:
        raise UsageError("--restart works only with -o")
    vocabulary = options.load_vocabulary(prompt.tags)
    opener = methods.opener(
        vocabulary,
        prompt,
        model,
        method,
        chosen,
        quiet=common.quiet,
        keep_features=not no_features,
    )

    from tagger.batch.batch import Batch
    from tagger.batch.streak import MAX_FAILURES
    from tagger.cli.output import write_line
    from tagger.cli.progress import Display
    from tagger.tagger import Tagger
    from tagger.tagging import Failure

    to_file = output is not None and str(output) != STDOUT
    work = Batch(
        source.sources(sources, id_from),
        vocabulary,
        output=output if to_file else None,
        restart=restart,
        on_duplicate=on_duplicate,
        tags_as=reply.tags_as,
        scores=reply.scores,
    )
    with work:
        tagger = Tagger(opener(), chosen)
        with Display(work.total, quiet=common.quiet) as display:
            rows = work.run(
                tagger,
                batch_tokens=batch_tokens,
                max_failures=(max_failures or MAX_FAILURES) if method.endpoint else None,
            )
            with signals.finishing(work) as received:
                for row in rows:
                    if not to_file:
                        write_line(row.to_json(reply.tags_as, scores=reply.scores))
                    display.add(row)
                    if fail_fast and isinstance(row.reply, Failure):
                        options.log.error("%s", row.reply.message)
                        work.stop()
                        break
    if work.stopped:
        failed = fail_fast and display.failed
        first = "fix or leave out the last one, then " if failed else ""
        then = f"{first}run the same command again to go on" if to_file else "nothing of it is kept"
        options.log.warning("stopped after %d READMEs; %s", display.rows, then)
        return SOME_FAILED if failed else 128 + received[0]
    display.summary()
    methods.say_coverage(tagger.method)
    return SOME_FAILED if display.failed else 0
