"""`tagger calibrate`: fit to a corpus of one's own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tagger.cli import models, options
from tagger.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tagger.evaluation.evaluate import Label
    from tagger.evaluation.scores import Scores
    from tagger.readme.readme import Readme
    from tagger.readme.sources import Sources


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
            help="Read at most N of the sources' READMEs, drawn by their text.",
        ),
    ] = 100,
    source: options.SourceOptions,
    prompt: options.PromptOptions,
    model: options.ModelOptions,
    common: options.CommonOptions,
) -> None:
    """Fit to READMEs of your own, and write a file for --calibration of the other commands.

    READMEs alone give the background of your corpus, which makes the ranking better. Labels give
    confidences that hold for it, and the threshold; --labels alone does both.
    """
    if not sources and not labels:
        raise UsageError("nothing to calibrate on: name READMEs, or --labels FILE, or both")

    # Here, not above: `--help` and wrong usage are answered without them.
    from dataclasses import replace

    import numpy as np

    from tagger.cli.scoring import score
    from tagger.evaluation.evaluate import load_labels, measure
    from tagger.learning import calibrate as calibration
    from tagger.methods.rank.calibration import Calibration
    from tagger.methods.rank.calibration_file import CalibrationFile
    from tagger.methods.rank.rank import Rank
    from tagger.prompts.prompt import PromptTemplate
    from tagger.readme.sources import Sources
    from tagger.vocabulary import Vocabulary

    vocabulary = Vocabulary.load(options.vocabulary_file(prompt.tags))
    template = PromptTemplate.load(prompt.prompt)
    CalibrationFile.check_target(output)
    labelled = load_labels(labels, vocabulary) if labels else []
    found = Sources(
        tuple(sources or ()),
        globs=tuple(source.glob or ()),
        id_field=source.id_field,
        readme_field=source.readme_field,
        follow_links=source.follow_links,
    )
    texts = {label.readme: (label, label.source()) for label in labelled}
    corpus = _drawn(found, sample) if sources else list(texts.values())
    if sources and not corpus:
        raise found.nothing_found()
    calibration.check_readmes(len(corpus))
    if labels:
        calibration.check_labels(labelled)

    language_model = models.load(model, quiet=common.quiet)
    start = Calibration.shipped(language_model.name)
    rank = Rank(language_model, vocabulary, template, start, prompt.readme_tokens)

    texts |= {label.readme: (label, readme) for label, readme in corpus}
    places = {text: place for place, text in enumerate(texts)}
    scores = score(rank, template, list(texts.values()), quiet=common.quiet)

    def of(labels: "Sequence[Label]") -> "Scores":
        rows = np.array([places[label.readme] for label in labels])
        return replace(scores.take(rows), labels=tuple(labels))

    drawn = of([label for label, _ in corpus])
    fitted = replace(start, background=drawn.evidence.log_probs.mean())
    if labelled:
        examples = of(labelled)
        before = measure(calibration.judged(examples, vocabulary, start))
        unseen = measure(calibration.cross_validated(examples, vocabulary, fitted))
        fitted = calibration.fit(examples, vocabulary, fitted)
        options.log.info("on labels that the fit has not seen: %s", _told(before, unseen))
        if unseen.get("F1 (given)", 0) < before.get("F1 (given)", 0):
            options.log.warning(
                "by these labels the replies get no better, only their confidences may: label "
                "more, or leave out --labels"
            )
    CalibrationFile.of(
        fitted,
        model=language_model.name,
        weights=language_model.weights,
        template=template,
        vocabulary=vocabulary,
        readmes=len(corpus),
        labels=len(labelled),
    ).save(output)
    also = f" and {len(labelled)} labels" if labelled else ""
    options.log.info("%s: from %d READMEs%s, for --calibration", output, len(corpus), also)


def _drawn(sources: "Sources", most: int) -> "list[tuple[Label, Readme]]":
    """Return different READMEs of the sources: those whose digests are lowest.

    So the same texts are drawn whatever their order and names, and any sample is a random one.
    """
    from tagger._util.hashing import digest
    from tagger.errors import ReadmeError
    from tagger.evaluation.evaluate import Label

    drawn: dict[str, tuple[Label, Readme]] = {}
    unreadable: list[ReadmeError] = []
    for item in sources:
        try:
            readme = item.read()
        except ReadmeError as error:
            unreadable.append(error)
            continue
        label = Label(id=item.id, readme=readme.text, tags=())
        drawn[digest(readme.text)] = label, readme
        if len(drawn) > 2 * most:
            drawn = dict(sorted(drawn.items())[:most])
    if unreadable:
        options.log.warning(
            "READMEs left out that cannot be read: %d, the first: %s",
            len(unreadable),
            unreadable[0],
        )
    return [found for _, found in sorted(drawn.items())[:most]]


def _told(before: dict[str, float], after: dict[str, float]) -> str:
    """Say what a calibration changes, in words."""
    return ", ".join(
        f"{name} {after[name]:.3f} ({before[name]:.3f} without)"
        for name in ("hit@3", "F1 (given)", "ECE")
        if name in before and name in after
    )
