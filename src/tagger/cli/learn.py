"""`tagger learn`: a head from labels, and `tagger head`, which shows one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tagger.cli import options
from tagger.cli.flatten import flattened
from tagger.cli.labels import Readmes, load_labels

if TYPE_CHECKING:
    from tagger.learning.learn import Lesson

app = typer.Typer(help="Show what was learned.")

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

_RARE = 3
"""Labels below which a tag is named, because little can be learned of it."""


def learn(
    labels: Annotated[
        list[Path],
        typer.Argument(
            metavar="LABELS",
            help="Labelled READMEs, as tagger eval takes them; a few hundred are good, 30 the "
            "least.",
        ),
    ],
    *,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FILE", help="The head to write, for --head."),
    ] = Path("head.safetensors"),
    readmes: Readmes = None,
    source: options.SourceOptions,
    prompt: options.PromptOptions,
    model: options.ModelOptions,
    common: options.CommonOptions,
) -> None:
    """Learn from labels, and write a file for --head of the other commands.

    Each README is read once and kept in the cache folder, so that learning again after some more
    labels takes seconds. What the head is worth is measured by cross-validation on your labels.
    """
    # Here, not above: `--help` and wrong usage are answered without them.
    from tagger.cli import methods
    from tagger.cli.progress import counting
    from tagger.learning.learn import check_labels, learn_checked
    from tagger.methods.rank.head import check_head_target

    vocabulary = options.load_vocabulary(prompt.tags)
    opener = methods.rank_opener(
        vocabulary, prompt, model, head=methods.NO_HEAD, quiet=common.quiet
    )
    check_head_target(output)
    checked = check_labels(load_labels(labels, vocabulary, readmes, source))
    rank = opener()
    with counting(quiet=common.quiet) as progress:
        lesson = learn_checked(rank, checked, progress)
    lesson.head.save(output)
    typer.echo(_table(lesson))
    _say(lesson, output)


def _say(lesson: "Lesson", output: Path) -> None:
    """Say what was read and learned, and what was not."""
    options.log.info(
        "%s: from %d READMEs, of which %d were read now, for --head",
        output,
        lesson.readmes,
        lesson.read,
    )
    rare = [tag for tag, count in lesson.support.items() if count < _RARE]
    if rare:
        shown = ", ".join(rare[:10]) + (", …" if len(rare) > 10 else "")
        options.log.info("tags with fewer than %d labels: %d (%s)", _RARE, len(rare), shown)
    if not lesson.head.weight:
        options.log.warning(
            "on READMEs that it has not seen the head is no better than chance allows, so it "
            "counts for nothing: label more, or check the labels"
        )


def _table(lesson: "Lesson") -> str:
    """Return measures before and after, on READMEs that the fit has not seen."""
    from rich.console import Console
    from rich.table import Table

    from tagger.evaluation.measures import MEASURES, intervals, measure

    before, after = measure(lesson.before), measure(lesson.after)
    limits = intervals(lesson.after)
    table = Table(title=f"cross-validated on {lesson.readmes} READMEs", title_justify="left")
    for heading in ("measure", "without", "with head", "95 % interval"):
        table.add_column(heading, justify="left" if heading == "measure" else "right")
    for name in _MEASURES:
        if name in before and name in after:
            interval = " to ".join(f"{limit:.3f}" for limit in limits.get(name, ()))
            title, _ = MEASURES[name]
            table.add_row(title, f"{before[name]:.3f}", f"{after[name]:.3f}", interval)
    console = Console()
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip("\n")


@app.command()
@flattened
def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What tagger learn has written.")],
    *,
    json_: options.Json = False,
) -> None:
    """Show what a head was learned from, what it belongs to, and which tags it knows."""
    import json

    from tagger._util.text import printable
    from tagger.methods.rank.head import Head

    head = Head.load(file)
    described: dict[str, Any] = {
        "model": head.model,
        "readme_tokens": head.identity.readme_tokens,
        "readmes": head.readmes,
        "labels": head.labels,
        "weight": round(head.weight, 4),
        "threshold": head.calibration.threshold,
        "digest": head.digest,
        "tags": list(head.tags),
    }
    if json_:
        typer.echo(json.dumps(described))
        return
    for key, value in described.items():
        text = f"{len(value)}: {', '.join(value)}" if isinstance(value, list) else str(value)
        typer.echo(f"{key.replace('_', ' '):<14}  {printable(text)}")
