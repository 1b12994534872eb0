"""`tagger eval`: measure the tags against labelled READMEs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tagger.cli import models, options
from tagger.cli.methods import Request
from tagger.defaults import DEFAULT_MODEL, README_TOKENS
from tagger.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from tagger.choice import Choice
    from tagger.evaluate import Judged, Label
    from tagger.methods.rank import Rank
    from tagger.prompt import PromptTemplate
    from tagger.scores import Scores
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
    tags: options.Tags = None,
    json_: options.Json = False,
    dump: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keep the raw scores of every README and tag as Parquet.",
            envvar="TAGGER_DUMP",
        ),
    ] = None,
    kept: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Take raw scores that --dump has kept, and run no model: options of the model and "
            "of reading then change nothing.",
            envvar="TAGGER_FROM",
        ),
    ] = None,
    max_tags: options.MaxTags = 3,
    min_tags: options.MinTags = 1,
    threshold: options.Threshold = None,
    model: options.Model = DEFAULT_MODEL,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    threads: options.Threads = None,
    readme_tokens: options.ReadmeTokens = README_TOKENS,
    prompt: options.PromptFile = None,
    method: options.Method = "rank",
    grammar: options.Grammar = None,
    endpoint: options.Endpoint = None,
    concurrency: options.Concurrency = None,
    offline: options.Offline = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 (its callback acts)
) -> None:
    """Measure the tags against labelled READMEs, with 95 % bootstrap intervals.

    "Given" measures are of the reply, the others of the whole ranking. Precision counts acceptable
    tags as right, recall asks for the label's own.
    """
    if dump and kept:
        raise UsageError("--dump keeps the scores of a model, and --from runs none")
    request = Request(
        method=method,
        grammar=grammar,
        endpoint=endpoint,
        concurrency=concurrency,
        model=model,
        device=device,
        dtype=dtype,
        threads=threads,
        offline=offline,
        readme_tokens=readme_tokens,
        quiet=quiet,
    )
    if request.writes and (dump or kept):
        raise UsageError("a written reply has no scores: leave out --dump and --from")

    # Here, not above: `--help` and wrong usage are answered without them.
    from tagger import evaluate as evaluation
    from tagger import parquet
    from tagger.choice import Choice
    from tagger.vocabulary import Vocabulary

    choice = Choice(max_tags=max_tags, min_tags=min_tags, threshold=threshold)
    request.check(choice)
    vocabulary = Vocabulary.load(options.vocabulary_file(tags))
    template = request.template(prompt)
    rows = evaluation.load_labels(labels, vocabulary)
    if dump or kept:
        parquet.arrow()

    if request.writes:
        judged = evaluation.judge_written(
            rows, vocabulary, _replies(request, vocabulary, choice, template, rows)
        )
        typer.echo(json.dumps(_described(judged)) if json_ else _tables(judged))
        return

    from tagger.methods.calibration import Calibration
    from tagger.methods.rank import Rank
    from tagger.scores import Scores, check_target

    if dump:
        check_target(dump)
    if kept:
        scores = Scores.load(kept, vocabulary, rows)
        calibration = Calibration.of(scores.model, vocabulary)
    else:
        language_model = models.load(
            model, device=device, dtype=dtype, threads=threads, offline=offline, quiet=quiet
        )
        calibration = Calibration.of(model, vocabulary)
        rank = Rank(language_model, vocabulary, template, calibration, readme_tokens)
        scores = _score(rank, model, rows, quiet=quiet)
    try:
        if dump:
            scores.save(dump, vocabulary)
    finally:  # What took an hour is shown, whatever becomes of the file.
        confidences = scores.confidences(calibration)
        given = evaluation.chosen(confidences, choice, calibration.threshold)
        judged = evaluation.judge(rows, vocabulary, confidences, given)
        typer.echo(json.dumps(_described(judged)) if json_ else _tables(judged))


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


def _score(rank: "Rank", model: str, labels: "Sequence[Label]", *, quiet: bool) -> "Scores":
    """Score every README, showing how far it is."""
    import torch

    from tagger.cli.progress import tracked, working
    from tagger.methods.answers import Answers
    from tagger.scores import Scores

    with working("reading the list of tags", quiet=quiet):
        rank.prepare()
    answers, mentions = [], []
    for label in tracked(labels, "scoring", quiet=quiet):
        encoded = rank.encode(label.source().words)
        answers.append(rank.answers([encoded.tokens]))
        mentions.append(encoded.mentions)
    return Scores(model, tuple(labels), Answers.cat(answers), rank.prior, torch.stack(mentions))


def _described(judged: "Judged") -> dict[str, Any]:
    """Return all measures as what JSON can hold."""
    from tagger import evaluate as evaluation

    limits = evaluation.intervals(judged)
    described: dict[str, Any] = {
        "readmes": len(judged.gold),
        "measures": {
            name: {
                "value": round(value, 4),
                "low": round(limits[name][0], 4),
                "high": round(limits[name][1], 4),
            }
            for name, value in evaluation.measure(judged).items()
        },
    }
    if judged.sure:
        described["calibration"] = {
            key: round(value, 4) for key, value in evaluation.errors_by_chance(judged).items()
        }
        described["reliability"] = [
            {"confidence": round(stated, 4), "right": round(right, 4), "tags": count}
            for stated, right, count in evaluation.reliability(judged)
        ]
    return described


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

    table = Table(title=f"{described['readmes']} READMEs")
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
        f"calibration error in {len(described['reliability'])} bins: {errors['found']:.3f}; "
        f"by chance, were the confidences perfect: {errors['by chance']:.3f}",
        soft_wrap=True,
    )
