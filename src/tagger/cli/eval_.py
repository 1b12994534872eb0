"""`tagger eval`: measure the tags against labelled READMEs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tagger.cli import options
from tagger.cli.methods import Request
from tagger.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from tagger.evaluation.evaluate import Judged, Label
    from tagger.evaluation.scores import Scores
    from tagger.methods.rank.calibration import Calibration
    from tagger.prompts.prompt import PromptTemplate
    from tagger.selection import Choice
    from tagger.vocabulary import Vocabulary


def evaluate(
    labels: Annotated[
        Path,
        typer.Argument(
            metavar="LABELS",
            help="JSON Lines of id, readme, tags and maybe acceptable: the right tags, the most "
            "defining first, and further ones that would be accepted.",
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
            help="Take raw scores that --dump has kept, and run no model: options of the model and "
            "of reading then change nothing.",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a page of it all, for a browser: plots, a table by tag, the worst misses.",
        ),
    ] = None,
    prompt: options.PromptOptions,
    selection: options.SelectionOptions,
    model: options.ModelOptions,
    method: options.MethodOptions,
    common: options.CommonOptions,
) -> None:
    """Measure the tags against labelled READMEs, with 95 % bootstrap intervals.

    "Given" measures are of the reply, the others of the whole ranking. Precision counts acceptable
    tags as right, recall asks for the label's own.
    """
    if dump and kept:
        raise UsageError("--dump keeps the scores of a model, and --from runs none")
    request = Request(method, model, prompt, quiet=common.quiet)
    if request.writes and (dump or kept):
        raise UsageError("a written reply has no scores: leave out --dump and --from")

    # Here, not above: `--help` and wrong usage are answered without them.
    from tagger._util.arrow import arrow
    from tagger.evaluation import evaluate as evaluation
    from tagger.prompts.prompt import PromptTemplate
    from tagger.vocabulary import Vocabulary

    choice = selection.choice()
    request.check(choice)
    vocabulary = Vocabulary.load(options.vocabulary_file(prompt.tags))
    template = request.template()
    rows = evaluation.load_labels(labels, vocabulary)
    if dump or kept:
        arrow()

    if report:
        from tagger.evaluation import report as page

        page.check_target(report)
    if request.writes:
        replies = _replies(request, vocabulary, choice, template, rows)
        judged = evaluation.judge_written(rows, vocabulary, replies)
        read = [label.source().words[: 4 * prompt.readme_tokens] for label in rows]
        limit, about = 0.0, f"{model.model}, replies as it wrote them"
    else:
        scores, weights = _scores(request, vocabulary, template, rows, dump, kept)
        confidences = scores.confidences(weights)
        limit = weights.threshold if choice.threshold is None else choice.threshold
        given = evaluation.select(confidences, choice, limit)
        judged = evaluation.judge(rows, vocabulary, confidences, given)
        read = list(scores.read)
        about = f"{scores.model}, tags given from a confidence of {limit:.2f} on"
        if weights.background is not None:
            about += f", by {method.calibration}"
        if scores.prompt != PromptTemplate.load().digest:
            about += ", with another prompt than the default"
    try:
        if dump and not request.writes:
            scores.save(dump, vocabulary)
    finally:  # What took an hour is shown, whatever becomes of the files.
        typer.echo(json.dumps(_rounded(_described(judged))) if json_ else _tables(judged))
    if report:
        about = f"{len(vocabulary)} tags, {about}; {choice.min_tags} to {choice.max_tags} a README"
        text = page.render(
            judged, rows, vocabulary, read=read, choice=choice, threshold=limit, about=about
        )
        page.save(report, text)
        options.log.info("the report is in %s", report)


def _scores(
    request: Request,
    vocabulary: "Vocabulary",
    template: "PromptTemplate",
    labels: "Sequence[Label]",
    dump: Path | None,
    kept: Path | None,
) -> "tuple[Scores, Calibration]":
    """Return the raw scores, from a file or from the model, and what makes confidences of them."""
    from tagger.cli.scoring import score
    from tagger.evaluation.scores import Scores, check_target
    from tagger.methods.rank.calibration_file import calibration_for
    from tagger.methods.rank.rank import Rank

    if dump:
        check_target(dump)
    if kept:
        scores = Scores.load(kept, vocabulary, labels)
        fitted = request.fitted(vocabulary, scores.prompt, scores.model)
        return scores, calibration_for(fitted, vocabulary, scores.prompt, scores.model)
    prompt = template.digest
    fitted = request.fitted(vocabulary, prompt, request.model.model)
    model = request.load()
    calibration = calibration_for(fitted, vocabulary, prompt, model.name, model.weights)
    rank = Rank(model, vocabulary, template, calibration, request.prompt.readme_tokens)
    readmes = [(label, label.source()) for label in labels]
    return score(rank, template, readmes, quiet=request.quiet), calibration


def _replies(
    request: Request,
    vocabulary: "Vocabulary",
    choice: "Choice",
    template: "PromptTemplate",
    labels: "Sequence[Label]",
) -> list[list[str]]:
    """Return the tags of every README's reply, none where it failed."""
    from tagger.cli.progress import tracked, working
    from tagger.errors import TaggerError

    opened = request.open(vocabulary, choice, template)
    with working("reading the list of tags", quiet=request.quiet):
        opened.tagger.prepare()
    size = opened.at_once
    groups = [labels[start : start + size] for start in range(0, len(labels), size)]
    replies: list[list[str]] = []
    failed = 0
    for group in tracked(groups, "writing", quiet=request.quiet):
        found = opened.tagger.rank([opened.tagger.encode(label.source()) for label in group])
        for reply in found:
            if isinstance(reply, TaggerError):
                failed += 1
                if failed == len(labels):
                    raise reply
                replies.append([])
            else:
                replies.append([tag.name for tag in reply])
    if failed:
        options.log.warning("%d of %d replies could not be used", failed, len(labels))
    return replies


def _described(judged: "Judged") -> dict[str, Any]:
    """Return all measures."""
    from tagger.evaluation import evaluate as evaluation

    limits = evaluation.intervals(judged)
    described: dict[str, Any] = {
        "readmes": len(judged.gold),
        "measures": {
            name: {"value": value, "low": limits[name][0], "high": limits[name][1]}
            for name, value in evaluation.measure(judged).items()
        },
    }
    if judged.sure:
        described["calibration"] = evaluation.errors_by_chance(judged)
        described["reliability"] = [
            {"confidence": stated, "right": right, "tags": count}
            for stated, right, count in evaluation.reliability(judged)
        ]
    return described


def _rounded(described: Any) -> Any:
    """Return what JSON is to hold: four decimals say enough."""
    if isinstance(described, dict):
        return {key: _rounded(value) for key, value in described.items()}
    if isinstance(described, list):
        return [_rounded(value) for value in described]
    return round(described, 4) if isinstance(described, float) else described


def _tables(judged: "Judged") -> str:
    """Return all measures as tables."""
    from rich.console import Console

    described = _described(judged)
    console = Console()
    with console.capture() as captured:
        _draw(described, console)
    return captured.get().rstrip("\n")


def _draw(described: dict[str, Any], console: "Console") -> None:
    from rich.table import Table

    table = Table(title=f"READMEs: {described['readmes']}")
    for heading in ("measure", "value", "95 % interval"):
        table.add_column(heading, justify="left" if heading == "measure" else "right")
    for name, row in described["measures"].items():
        table.add_row(name, f"{row['value']:.3f}", f"{row['low']:.3f} to {row['high']:.3f}")
    console.print(table)
    if "reliability" not in described:
        return
    table = Table(title="reliability of given tags")
    for heading in ("mean confidence", "share right", "tags"):
        table.add_column(heading, justify="right")
    for row in described["reliability"]:
        table.add_row(f"{row['confidence']:.3f}", f"{row['right']:.3f}", str(row["tags"]))
    console.print(table)
    errors = described["calibration"]
    console.print(
        f"calibration error in bins ({len(described['reliability'])}): {errors['found']:.3f}; "
        f"by chance, were the confidences perfect: {errors['by chance']:.3f}",
        soft_wrap=True,
    )
