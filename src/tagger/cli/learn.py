"""`tagger learn`: a head from labels, and `tagger head`, which shows one."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tagger._util.extras import need
from tagger.cli import options
from tagger.cli.flatten import flattened
from tagger.cli.labels import Readmes, load_labels
from tagger.cli.unlabelled import HEAD, UnlabelledOptions, ask_teacher, suggest
from tagger.errors import UsageError

if TYPE_CHECKING:
    from tagger.learning.learn import Lesson
    from tagger.methods.rank.rank import Rank
    from tagger.vocabulary import Vocabulary

app = typer.Typer(help="Inspect a learned head.")

_MEASURES = (
    "precision_at_1_strict",
    "precision_at_1_lenient",
    "hit_at_3",
    "recall_at_5",
    "precision_given",
    "recall_given",
    "f1_given",
    "ece",
)

NOTHING_LEARNED = 1

_DECISIVE = "f1_given"
"""The measure by which two heads are compared."""

_NOTHING = (
    "on unseen READMEs the head is not significantly better than no head, so it has no "
    "effect: label more, or check the labels"
)

_INCOMPLETE = (
    "the labels are treated as incomplete, so precision, F1 and ECE look worse in the table than "
    "they are: compare recall, or judge with tagger eval on complete labels"
)


def learn(
    labels: Annotated[
        list[str],
        typer.Argument(
            metavar="LABELS",
            help="Labelled READMEs, as for tagger eval: at least 30 that have a tag; a few "
            "hundred are better. Or the OUTPUT.review of a tagger review. With --suggest or "
            "--teacher-endpoint: READMEs, as for tagger batch.",
        ),
    ],
    *,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FILE", help="Where to write the head."),
    ] = HEAD,
    incomplete: Annotated[
        bool,
        typer.Option(
            "--incomplete",
            help="Labels may lack tags that are right, as package keywords do: that a tag is not "
            "there hardly counts against it.",
        ),
    ] = False,
    readmes: Readmes = None,
    unlabelled: UnlabelledOptions,
    source: options.SourceOptions,
    prompt: options.PromptOptions,
    model: options.ModelOptions,
    common: options.CommonOptions,
) -> int:
    """Learn from labels, and write a head, which other commands take as --head.

    What the model computes for each README is cached, so that learning again after adding a few
    labels takes seconds. Cross-validation on your labels measures how good the head is.

    With --teacher-endpoint a large model labels a sample of READMEs first. Its labels are kept in a
    file, where you may correct them; the same command again asks only for those that it lacks.

    With --suggest nothing is learned: READMEs that are worth labelling are printed, with the tags
    that they get now, as tagger batch writes them.
    """
    need("learn")
    unlabelled.check(output, offline=model.offline)

    # Here, not above: `--help` and wrong usage are answered without them.
    from tagger.batch.decisions import ENDING
    from tagger.cli import methods
    from tagger.cli.progress import counting
    from tagger.learning.learn import check_labels, learn_checked
    from tagger.methods.rank.head import check_head_target

    vocabulary = options.load_vocabulary(prompt.tags)
    opener = methods.rank_opener(
        vocabulary, prompt, model, head=methods.NO_HEAD, quiet=common.quiet
    )
    if unlabelled.suggest:
        if incomplete:
            raise UsageError("--suggest learns nothing: leave out --incomplete")
        sources = source.sources(labels, unlabelled.id_from)
        known = unlabelled.labelled
        labelled = load_labels(known, vocabulary, readmes, source) if known else []
        suggest(unlabelled, sources, labelled, opener(), quiet=common.quiet)
        return 0
    check_head_target(output)
    if any(path.endswith(ENDING) for path in labels):
        if len(labels) > 1 or incomplete or readmes or unlabelled.teacher_endpoint:
            raise UsageError(
                "a review is learned from alone, and its labels are complete: to learn from more, "
                "write its labels with tagger review --export"
            )
        return _from_review(
            Path(labels[0].removesuffix(ENDING)), vocabulary, opener, output, common
        )
    if unlabelled.teacher_endpoint:
        sources = source.sources(labels, unlabelled.id_from)
        found, received = ask_teacher(unlabelled, sources, vocabulary, quiet=common.quiet)
        if received:
            return 128 + received
    else:
        found = load_labels([Path(path) for path in labels], vocabulary, readmes, source)
    checked = check_labels(found)
    rank = opener()
    with counting(quiet=common.quiet) as progress:
        lesson = learn_checked(rank, checked, progress, incomplete=incomplete)
    typer.echo(_table(lesson))
    if incomplete:
        options.log.info(_INCOMPLETE)
    if lesson.head.weight or not _counts(output):
        lesson.head.save(output)
        _say(lesson, output)
        return 0
    options.log.error("%s; %s already holds a head that works, and was kept", _NOTHING, output)
    return NOTHING_LEARNED


def _from_review(
    reviewed: Path,
    vocabulary: "Vocabulary",
    opener: "Callable[[], Rank]",
    output: Path,
    common: options.CommonOptions,
) -> int:
    """Learn from what was decided in a review."""
    from tagger.cli.progress import counting
    from tagger.review.review import Review

    with (
        counting(quiet=common.quiet) as progress,
        Review(reviewed, vocabulary, rank=opener, new=False) as review,
    ):
        learned = review.learn(progress, output)
    typer.echo(_table(learned.lesson))
    if learned.before and learned.after:
        options.log.info(
            "random slice: the first tag of %d READMEs is right %.2f of the time, and %.2f with "
            "the head",
            learned.before.of,
            learned.before.share,
            learned.after.share,
        )
    if not learned.head:
        options.log.error(
            "the head was not written: %s; review more READMEs, and learn again", learned.why_not
        )
        return NOTHING_LEARNED
    _say(learned.lesson, output)
    options.log.info(
        "READMEs with new suggestions in the review: %d; those that would have to be read: %d",
        learned.ranked,
        learned.unread,
    )
    return 0


def _counts(path: Path) -> bool:
    """Say whether a file holds a head that counts for something."""
    from tagger.methods.rank.head import Head

    return path.exists() and path.stat().st_size > 0 and Head.load(path).weight > 0


def _say(lesson: "Lesson", output: Path) -> None:
    """Say what was read and learned, and what was not."""
    from tagger.evaluation.label import RARE
    from tagger.evaluation.measures import measure

    options.log.info(
        "%s: learned from %d READMEs, %d of them read now", output, lesson.readmes, lesson.read
    )
    if not lesson.head.weight:
        options.log.warning(_NOTHING)
        return
    unknown = len(lesson.support) - len(lesson.head.tags)
    if unknown:
        options.log.info(
            "tags that no label has or accepts, which are ranked as without the head: %d", unknown
        )
    rare = [tag for tag, count in lesson.support.items() if 0 < count < RARE]
    if rare:
        shown = ", ".join(rare[:10]) + (", …" if len(rare) > 10 else "")
        options.log.info("tags with fewer than %d labels: %d (%s)", RARE, len(rare), shown)
    if lesson.shipped:
        ours, theirs = (measure(each)[_DECISIVE] for each in (lesson.after, lesson.shipped))
        if theirs > ours:
            options.log.warning(
                "the built-in head does better on these READMEs: do without --head, or label more"
            )


def _table(lesson: "Lesson") -> str:
    """Return measures on READMEs that the fit has not seen, beside those of other heads."""
    from rich.console import Console
    from rich.table import Table

    from tagger.evaluation.measures import MEASURES, error_by_chance, intervals, measure

    columns = {"no head": measure(lesson.before)}
    if lesson.shipped:
        columns["built-in head"] = measure(lesson.shipped)
    columns["this head"] = measure(lesson.after)
    limits = intervals(lesson.after)
    table = Table(
        title=f"cross-validated on {lesson.readmes} READMEs",
        title_justify="left",
        caption=f"F1 (given): {MEASURES['f1_given'][1]}; precision (given): "
        f"{MEASURES['precision_given'][1]}; recall (given): {MEASURES['recall_given'][1]}",
        caption_justify="left",
    )
    table.add_column("measure")
    for heading in (*columns, "95 % interval"):
        table.add_column(heading, justify="right")
    for name in _MEASURES:
        if all(name in measures for measures in columns.values()):
            values = [f"{measures[name]:.3f}" for measures in columns.values()]
            interval = " to ".join(f"{limit:.3f}" for limit in limits.get(name, ()))
            if name == "ece":
                interval = f"{error_by_chance(lesson.after):.3f} by chance"
            table.add_row(MEASURES[name][0], *values, interval)
    console = Console()
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip("\n")


@app.command()
@flattened
def show(
    head: Annotated[
        str,
        typer.Argument(
            metavar="HEAD",
            help="A file that tagger learn has written, or the name of a model for its built-in "
            "head.",
        ),
    ],
    *,
    json_: options.Json = False,
) -> None:
    """Show what a head was learned from, which model and settings it is for, and its tags."""
    import json

    from tagger._util.text import printable
    from tagger.methods.rank.head import Head
    from tagger.methods.rank.shipped import head_path
    from tagger.models.fetch.catalogue import catalogue

    if head not in catalogue() and not Path(head).exists():
        raise UsageError(
            f"{printable(head)}: no such file; the models with a built-in head are "
            f"{' and '.join(catalogue())}"
        )
    found = Head.load(head_path(head) if head in catalogue() else head)
    described: dict[str, Any] = {
        "model": found.model,
        "prompt": found.identity.prompt,
        "calibration": found.base,
        "readme_tokens": found.identity.readme_tokens,
        "readmes": found.readmes,
        "labels": found.labels,
        "weight": round(found.weight, 4),
        "threshold": found.calibration.threshold,
        "digest": found.digest,
        "tags": list(found.tags),
    }
    if json_:
        typer.echo(json.dumps(described))
        return
    for key, value in described.items():
        text = f"{len(value)}: {', '.join(value)}" if isinstance(value, list) else str(value)
        typer.echo(f"{key.replace('_', ' '):<14}  {printable(text)}")
    if not found.weight:
        options.log.warning("this head has no effect: tags are ranked as without --head")
