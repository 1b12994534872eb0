"""`tagger batch`: tag folders, files and dumps of READMEs, so that nothing is lost."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tagger.cli import options, signals
from tagger.errors import UsageError

if TYPE_CHECKING:
    from tagger.batch.batch import Batch, OnDuplicate, Row
    from tagger.batch.ledger import Ledger
    from tagger.batch.output import Output
    from tagger.readme.sources import Sources
    from tagger.tagging import TagsAs

STDOUT = "-"
SOME_FAILED = 1
MAX_FAILURES = 20


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
            help="Write here, and go on here after a stop. A .parquet file is written at the "
            "end, from FILE.jsonl. Default: standard output.",
        ),
    ] = None,
    restart: Annotated[
        bool,
        typer.Option(
            "--restart",
            help="Do all of it again and overwrite what the output holds.",
        ),
    ] = False,
    id_from: Annotated[
        Literal["relative", "path", "stem", "parent"],
        typer.Option(
            help="What names a README of a folder: its path within the folder, its whole path, "
            "its file name without ending, or the folder it lies in.",
        ),
    ] = "relative",
    on_duplicate: Annotated[
        Literal["error", "keep-first", "suffix"],
        typer.Option(
            help="An id that comes twice: stop, leave out the later README, or number its id.",
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
            help="Tokens that go through a GPU at once. Default: what fits its free memory. A "
            "processor takes one README at a time.",
        ),
    ] = None,
    max_failures: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="With --endpoint: stop when N READMEs in a row have failed alike. Default: 20.",
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
    same command goes on where it was stopped; what it has done is kept beside the output, in
    FILE.state.
    """
    # Here, not above: `--help` and wrong usage are answered without them.
    from tagger.batch import tables
    from tagger.batch.ledger import Ledger
    from tagger.batch.output import LinesFile, Place, StandardOutput
    from tagger.cli.methods import Request
    from tagger.readme.sources import Sources
    from tagger.vocabulary import Vocabulary

    choice = selection.choice()
    request = Request(method, model, prompt, quiet=common.quiet)
    request.check(choice, scores=reply.scores)
    if max_failures and not method.endpoint:
        raise UsageError("--max-failures goes with --endpoint")
    vocabulary = Vocabulary.load(options.vocabulary_file(prompt.tags))
    template = request.template()
    place = Place.of(output) if output and str(output) != STDOUT else None
    if place and place.is_table:
        tables.check_table(vocabulary, reply.tags_as, scores=reply.scores)
    found = Sources(
        tuple(sources),
        globs=tuple(source.glob or ()),
        id_from=id_from,
        id_field=source.id_field,
        readme_field=source.readme_field,
        own=place.files if place else frozenset(),
        follow_links=source.follow_links,
    )
    if place:
        place.check_ours()
    if found.rereadable and next(iter(found), None) is None:
        raise found.nothing_found()

    with ExitStack() as stack:
        ledger = stack.enter_context(Ledger(place.state if place else None, restart=restart))
        tags_of_it = [[tag.id, tag.name] for tag in vocabulary]
        ledger.claim("vocabulary", tags_of_it, f"{len(vocabulary)} tags")
        total = _survey(found, ledger, on_duplicate)
        written: Output = StandardOutput()
        if place:
            written = stack.enter_context(LinesFile(place.lines, restart=restart))

        from tagger.batch.batch import Batch
        from tagger.cli.progress import Display
        from tagger.tagging import Failure

        opened = request.open(vocabulary, choice, template)
        ledger.claim("model", opened.identity, opened.shown)
        known = [(tag.id, tag.name) for tag in vocabulary]
        if changed := ledger.use(opened.tagger.settings, known):
            options.log.warning("done again, because of another %s", " and ".join(changed))
        if batch_tokens and opened.room is None:
            options.log.warning("--batch-tokens is for GPUs; here READMEs are read one by one")
        if method.endpoint:
            opened.tagger.prepare()
        work = Batch(
            opened.tagger,
            ledger,
            on_duplicate=on_duplicate,
            batch_tokens=opened.room and (batch_tokens or opened.room),
            at_once=opened.at_once,
            max_failures=(max_failures or MAX_FAILURES) if method.endpoint else None,
        )
        display = stack.enter_context(Display(total, quiet=common.quiet))
        with _finishing_what_is_in_hand(work) as received:
            for row in work.rows(found):
                written.write(_line(row, reply.tags_as, scores=reply.scores))
                display.add(row)
                if fail_fast and isinstance(row.reply, Failure):
                    options.log.error("%s", row.reply.message)
                    work.stop()
                    break
        if not work.stopped and (left := written.finish()):
            options.log.warning("rows left out, their READMEs being gone: %d", left)
    if work.stopped:
        failed = fail_fast and display.failed
        first = "mend or leave out the last one, then " if failed else ""
        then = f"{first}run the same command again to go on" if place else "nothing of it is kept"
        options.log.warning("stopped after %d READMEs; %s", display.rows, then)
        return SOME_FAILED if failed else 128 + received[0]
    if not display.rows:
        raise found.nothing_found()
    if place and place.is_table:
        tables.write(place.lines, place.output, vocabulary, reply.tags_as, scores=reply.scores)
    display.summary()
    return SOME_FAILED if display.failed else 0


def _survey(found: "Sources", ledger: "Ledger", policy: "OnDuplicate") -> int | None:
    """Count the READMEs and compare their ids before any model is loaded, if that can be done."""
    from tagger.batch.batch import distinct

    if not found.rereadable:
        return None
    total, sound, fault = 0, False, None
    for item in distinct(found, ledger, policy):
        total += 1
        sound = sound or item.sound
        fault = fault or (None if item.sound else item)
    ledger.forget_ids()
    if fault and not sound:
        fault.read()  # raises the reason, which is most likely that of all others
    return total


def _line(row: "Row", tags_as: "TagsAs", *, scores: bool) -> str:
    from tagger.tagging import Tagging

    if isinstance(row.reply, Tagging):
        return row.reply.to_json(tags_as, scores=scores)
    return row.reply.to_json()


@contextmanager
def _finishing_what_is_in_hand(work: "Batch") -> Iterator[list[int]]:
    """Let the first Ctrl-C or SIGTERM end the batch in order; its number goes into the list."""
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        work.stop()
        options.log.warning("finishing the READMEs in hand; Ctrl-C again stops at once")

    signals.on_first(stop, in_order=True)
    try:
        yield received
    finally:
        if not received:
            signals.on_first(signals.leave)
