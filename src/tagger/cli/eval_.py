"""`tagger eval`: measure the tags against labelled READMEs."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tagger._util.extras import need
from tagger.cli import methods, options
from tagger.cli.labels import Readmes, load_labels
from tagger.errors import AllFittedError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from tagger.evaluation.evaluate import Evaluation
    from tagger.evaluation.label import Label
    from tagger.selection import Selection
    from tagger.vocabulary import Vocabulary


def evaluate(
    labels: Annotated[
        Path,
        typer.Argument(
            metavar="LABELS",
            help="JSON Lines with id, readme, tags (the right ones, the most important first) and "
            "optionally acceptable (further tags that would be accepted).",
        ),
    ],
    *,
    json_: options.Json = False,
    dump: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keep the raw scores of every README and tag as Parquet.",
        ),
    ] = None,
    kept: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Use scores saved by --dump instead of running a model; options for the model and "
            "for reading then have no effect.",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write an HTML report: plots, a table by tag, the worst misses.",
        ),
    ] = None,
    include_fitted: Annotated[
        bool,
        typer.Option(
            "--include-fitted",
            help="Also measure READMEs that the head was fitted to.",
        ),
    ] = False,
    readmes: Readmes = None,
    source: options.SourceOptions,
    prompt: options.PromptOptions,
    selection: options.SelectionOptions,
    model: options.ModelOptions,
    method: options.MethodOptions,
    common: options.CommonOptions,
) -> None:
    """Measure the tags against labelled READMEs, with 95 % intervals.

    "Given" measures describe the reply, the others the whole ranking. Precision (given) counts
    acceptable tags as right; recall counts only the label's own tags.
    """
    if dump and kept:
        raise UsageError("--dump and --from cannot be combined: leave one of them out")
    if methods.is_written(method) and (dump or kept):
        raise UsageError("a generated reply has no scores: leave out --dump and --from")

    if dump or kept:
        need("parquet")

    # Here, not above: `--help` and wrong usage are answered without them.
    from tagger.cli.progress import counting
    from tagger.evaluation.evaluate import evaluate as measure
    from tagger.evaluation.scores import check_target
    from tagger.tagger import Tagger

    chosen = selection.selection()
    methods.check(method, model, chosen)
    vocabulary = options.load_vocabulary(prompt.tags)
    rows = load_labels([labels], vocabulary, readmes, source)
    if report:
        from tagger.evaluation import report as page

        page.check_target(report)
    if dump:
        check_target(dump)
    if kept:
        evaluation = _of_kept(kept, rows, vocabulary, chosen, method, include_fitted=include_fitted)
    else:
        opener = methods.opener(vocabulary, prompt, model, method, chosen, quiet=common.quiet)
        tagger = Tagger(opener(), chosen)
        with counting(quiet=common.quiet) as progress, _hinting():
            evaluation = measure(tagger, rows, progress, include_fitted=include_fitted)
        methods.say_coverage(tagger.method)
        if evaluation.failed:
            options.log.warning(
                "%d of %d replies could not be used", evaluation.failed, len(evaluation.labels)
            )
    if evaluation.left_out:
        options.log.info(
            "READMEs left out because the head was fitted to them: %d; --include-fitted "
            "measures them too",
            evaluation.left_out,
        )
    try:
        if dump and evaluation.scores:
            evaluation.scores.save(dump, vocabulary)
    finally:  # What took an hour is shown, whatever becomes of the files.
        described = evaluation.to_dict()
        typer.echo(json.dumps(_rounded(described)) if json_ else _tables(described))
    if report:
        page.save(report, page.render(evaluation, _about(evaluation, model.model, method)))
        options.log.info("the report is in %s", report)


def _of_kept(
    kept: Path,
    rows: "list[Label]",
    vocabulary: "Vocabulary",
    selection: "Selection",
    method: options.MethodOptions,
    *,
    include_fitted: bool,
) -> "Evaluation":
    """Measure by scores that were kept."""
    from tagger.evaluation.evaluate import Evaluation, unseen_by
    from tagger.evaluation.label import once, say_merged
    from tagger.evaluation.scores import Scores
    from tagger.methods.rank.calibration import Calibration
    from tagger.methods.rank.head import Confidence

    labels = once(rows)
    say_merged(rows, labels)
    scores = Scores.load(kept, vocabulary, labels)
    calibration = (
        Calibration.load(method.calibration)
        if method.calibration
        else Calibration.shipped(scores.model)
    )
    calibration.check(scores.identity, scores.model)
    calibration.check_shape(*scores.evidence.prior.full.shape)
    calibration.warn(scores.model, vocabulary)
    head = methods.head_for_scores(method.head, scores, calibration, vocabulary)
    with _hinting():
        scores = scores.take(unseen_by(None if include_fitted else head, scores.labels))
    confidence = Confidence.of(calibration, head, vocabulary)
    evaluation = Evaluation.of_scores(scores, vocabulary, confidence, selection)
    return replace(evaluation, left_out=len(labels) - len(scores.labels))


@contextmanager
def _hinting() -> Iterator[None]:
    try:
        yield
    except AllFittedError as error:
        raise AllFittedError(f"{error} (--include-fitted measures it on these anyway)") from error


def _about(evaluation: "Evaluation", model: str, method: options.MethodOptions) -> str:
    """Say what tagged the READMEs."""
    from tagger.prompts.prompt import PromptTemplate

    if evaluation.scores is None:
        return f"{model}, replies as it wrote them"
    least = f"tags given at a confidence of {evaluation.threshold:.2f} or more"
    about = f"{evaluation.scores.model}, {least}"
    if method.calibration:
        about += f", by {method.calibration}"
    if evaluation.scores.identity.features.prompt != PromptTemplate.load().digest:
        about += ", with another prompt than the default"
    return about


def _rounded(described: Any) -> Any:
    """Return what JSON is to hold: four decimals say enough."""
    if isinstance(described, dict):
        return {key: _rounded(value) for key, value in described.items()}
    if isinstance(described, list):
        return [_rounded(value) for value in described]
    return round(described, 4) if isinstance(described, float) else described


def _tables(described: dict[str, Any]) -> str:
    """Return all measures as tables."""
    from rich.console import Console

    console = Console()
    with console.capture() as captured:
        _draw(described, console)
    return captured.get().rstrip("\n")


def _draw(described: dict[str, Any], console: "Console") -> None:
    from rich.table import Table

    from tagger.evaluation.measures import MEASURES

    table = Table(title=f"READMEs: {described['readmes']}")
    table.add_column("measure")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right", no_wrap=True)
    table.add_column("what it is")
    for name, row in described["measures"].items():
        title, meaning = MEASURES[name]
        beside = f"{row['low']:.3f} to {row['high']:.3f}" if "low" in row else ""
        if "by_chance" in row:
            beside = f"{row['by_chance']:.3f} by chance"
        table.add_row(title, f"{row['value']:.3f}", beside, meaning)
    console.print(table)
    if "reliability" not in described:
        return
    table = Table(title="reliability of given tags")
    for heading in ("mean confidence", "share right", "tags"):
        table.add_column(heading, justify="right")
    for row in described["reliability"]:
        table.add_row(f"{row['confidence']:.3f}", f"{row['right']:.3f}", str(row["tags"]))
    console.print(table)
