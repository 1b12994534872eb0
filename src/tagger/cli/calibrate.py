"""`tagger calibrate`: fit to a corpus of one's own."""

from pathlib import Path
from typing import Annotated

import typer

from tagger._util.extras import need
from tagger.cli import options
from tagger.errors import UsageError


def calibrate(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE",
            help="READMEs of your own, as tagger batch takes them: folders, files, .jsonl or "
            ".parquet files, -. Default: those of the labels.",
        ),
    ] = None,
    *,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="The calibration to write, for --calibration.",
        ),
    ] = Path("calibration.json"),
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Labelled READMEs, as tagger eval takes them: fits confidences and threshold too.",
        ),
    ] = None,
    sample: Annotated[
        int,
        typer.Option(
            min=10,
            max=100_000,
            metavar="N",
            help="Read at most N of the sources' READMEs; which ones depends only on their text.",
        ),
    ] = 100,
    source: options.SourceOptions,
    prompt: options.PromptOptions,
    model: options.ModelOptions,
    common: options.CommonOptions,
) -> None:
    """Fit a calibration to your own READMEs; the other commands take its file as --calibration.

    READMEs alone show what the model says of your corpus as a whole; taking that off each tag's
    score improves the ranking. Labels also fit the confidences and the threshold; --labels alone
    does both.
    """
    if not sources and not labels:
        raise UsageError("nothing to calibrate on: name READMEs, or --labels FILE, or both")
    if labels:
        need("learn")

    # Here, not above: `--help` and wrong usage are answered without them.
    from tagger.cli import methods
    from tagger.cli.progress import counting
    from tagger.evaluation.labels import load_labels
    from tagger.learning.calibrate import Corpus
    from tagger.learning.calibrate import calibrate as fit
    from tagger.methods.rank.calibration import check_calibration_target

    vocabulary = options.load_vocabulary(prompt.tags)
    opener = methods.rank_opener(vocabulary, prompt, model, quiet=common.quiet)
    check_calibration_target(output)
    found = source.sources(sources) if sources else None
    # What can be walked twice holds the READMEs of labels that only have their digests, too.
    beside = found if found and found.rereadable else None
    labelled = load_labels(labels, vocabulary, beside) if labels else []
    corpus = Corpus.draw(found, labelled, sample)
    rank = opener()
    with counting(quiet=common.quiet) as progress:
        fitted = fit(rank, corpus, progress)
    if labelled:
        options.log.info(
            "on labels that the fit has not seen: %s; by chance alone, an ECE of %.3f",
            _changes(fitted.before, fitted.after),
            fitted.by_chance,
        )
        if fitted.after.get("f1_given", 0) < fitted.before.get("f1_given", 0):
            options.log.warning(
                "these labels do not improve the replies, at most their confidences: label "
                "more, or leave out --labels"
            )
    fitted.calibration.save(output)
    also = f" and {len(corpus.labels)} labels" if labelled else ""
    options.log.info("%s: from %d READMEs%s, for --calibration", output, len(corpus.readmes), also)


def _changes(before: dict[str, float], after: dict[str, float]) -> str:
    """Say what a calibration changes, in words."""
    from tagger.evaluation.measures import MEASURES

    return ", ".join(
        f"{MEASURES[name][0]} {after[name]:.3f} ({before[name]:.3f} without)"
        for name in ("hit_at_3", "f1_given", "ece")
        if name in before and name in after
    )
