"""`tagger batch`: tag folders, files and dumps of READMEs, so that nothing is lost."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

import typer

from tagger.cli import on_cluster, options, signals
from tagger.errors import UsageError

if TYPE_CHECKING:
    from tagger.batch.batch import Batch
    from tagger.batch.pipeline import OnDuplicate, Row
    from tagger.methods.base import Method
    from tagger.ray.run import ClusterBatch
    from tagger.tagging import TagsAs

STDOUT = "-"
SOME_FAILED = 1


class _Shared(TypedDict):
    """Options of a batch on one machine and on a cluster alike."""

    restart: bool
    on_duplicate: "OnDuplicate"
    tags_as: "TagsAs"
    scores: bool


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
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Run on a Ray cluster: the host and port of its head, `auto` on a machine of the "
            "cluster, or `local` for this machine alone. Needs -o FILE.parquet, which becomes a "
            "folder of Parquet files. Sources may be dumps at addresses such as s3://bucket/dump/.",
        ),
    ] = None,
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
    FILE.state. With --ray, READMEs are read on a Ray cluster, and rows are in no
    particular order.
    """
    # Here, not above: `--help` and wrong usage are answered without them.
    from tagger.cli import methods

    chosen = selection.selection()
    methods.check(method, model, chosen, scores=reply.scores, on_cluster=ray is not None)
    if max_failures and not method.endpoint:
        raise UsageError("--max-failures works only with --endpoint")
    if restart and not output:
        raise UsageError("--restart works only with -o")
    to_file = output is not None and str(output) != STDOUT
    if ray is not None:
        on_cluster.check(ray, method, to_file=to_file)
    vocabulary = options.load_vocabulary(prompt.tags)

    def opener(model: options.ModelOptions, *, quiet: bool) -> "Callable[[], Method[Any]]":
        return methods.opener(
            vocabulary,
            prompt,
            model,
            method,
            chosen,
            quiet=quiet,
            keep_features=not no_features,
        )

    open_here = opener(model, quiet=common.quiet)
    found = source.sources(sources, id_from, addresses=ray is not None)
    how: _Shared = {
        "restart": restart,
        "on_duplicate": on_duplicate,
        "tags_as": reply.tags_as,
        "scores": reply.scores,
    }
    if ray is not None and output is not None:
        from tagger.ray.cluster import connected
        from tagger.ray.run import ClusterBatch

        with (
            nullcontext() if common.debug else on_cluster.ray_muted(),
            connected(ray),
            ClusterBatch(found, vocabulary, output=output, **how) as on_ray,
        ):
            run = partial(on_cluster.run, on_ray, opener, model, method, chosen, batch_tokens)
            return _show(on_ray, run, reply, common, fail_fast=fail_fast, to_file=True)

    from tagger.batch.batch import Batch
    from tagger.batch.streak import MAX_FAILURES
    from tagger.tagger import Tagger

    with Batch(found, vocabulary, output=output if to_file else None, **how) as work:
        tagger = Tagger(open_here(), chosen)
        run = partial(
            work.run,
            tagger,
            batch_tokens=batch_tokens,
            max_failures=(max_failures or MAX_FAILURES) if method.endpoint else None,
        )
        code = _show(work, run, reply, common, fail_fast=fail_fast, to_file=to_file)
    if not work.stopped:
        methods.say_coverage(tagger.method)
    return code


def _show(
    work: "Batch | ClusterBatch",
    run: "Callable[[], Iterator[Row]]",
    reply: options.ReplyOptions,
    common: options.CommonOptions,
    *,
    fail_fast: bool,
    to_file: bool,
) -> int:
    """Run a batch and show how it goes; return the exit code."""
    from tagger.cli.output import write_line
    from tagger.cli.progress import Display
    from tagger.tagging import Failure

    with Display(work.total, quiet=common.quiet) as display:
        rows = run()
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
    return SOME_FAILED if display.failed else 0
