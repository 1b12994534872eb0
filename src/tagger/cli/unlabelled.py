"""READMEs without labels: which of them to label, or a teacher that labels them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tagger._util.extras import need
from tagger.cli import options
from tagger.cli.methods import KEY_VARIABLE
from tagger.errors import UsageError

if TYPE_CHECKING:
    from tagger.evaluation.label import Label
    from tagger.methods.rank.rank import Rank
    from tagger.readme.sources import Sources
    from tagger.vocabulary import Vocabulary

HEAD = Path("head.safetensors")
"""Where heads are written by default."""

_LABELS_OUT = Path("teacher.jsonl")


@dataclass(frozen=True)
class UnlabelledOptions:
    """What is done with READMEs that have no labels yet."""

    suggest: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=5_000,
            metavar="N",
            help="Learn nothing, but print the N READMEs that are most worth labelling.",
        ),
    ] = None
    labelled: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="LABELS",
            help="With --suggest: what is labelled already; may be repeated.",
        ),
    ] = None
    teacher_endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Have a model on a server label READMEs: an OpenAI-compatible chat completions "
            "API; its key is taken from TAGGER_API_KEY.",
        ),
    ] = None
    teacher_model: Annotated[
        str | None, typer.Option(metavar="NAME", help="What that server calls the model.")
    ] = None
    sample: Annotated[
        int,
        typer.Option(
            min=30,
            max=5_000,
            metavar="N",
            help="With a teacher: label N READMEs. With --suggest: choose from N READMEs. Which "
            "ones they are depends only on their texts.",
        ),
    ] = 500
    labels_out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="With a teacher: where its labels are kept. READMEs that have a row there are not "
            f"asked for again. Default: {_LABELS_OUT}.",
        ),
    ] = None
    id_from: options.IdOfReadme = "relative"

    def check(self, output: Path, *, offline: bool) -> None:
        """Refuse options that do not go together. Raises `UsageError`."""
        from tagger._util.paths import real

        if self.suggest is None:
            if self.labelled:
                raise UsageError("--labelled works only with --suggest")
        elif self.teacher_endpoint is not None:
            raise UsageError("--suggest and --teacher-endpoint do not go together: give one")
        elif real(output) != real(HEAD):
            raise UsageError("--suggest prints rows and writes no head: leave out --output")
        elif self.suggest > self.sample:
            raise UsageError(
                f"--suggest chooses from --sample READMEs, which are {self.sample}: raise --sample"
            )
        if self.teacher_endpoint is None:
            for name in ("teacher_model", "labels_out"):
                if getattr(self, name) is not None:
                    option = name.replace("_", "-")
                    raise UsageError(f"--{option} works only with --teacher-endpoint")
            return
        if real(output) == real(self.labels_out or _LABELS_OUT):
            raise UsageError("--labels-out and --output name the same file: name two")
        if not self.teacher_model:
            raise UsageError("--teacher-endpoint needs --teacher-model: what the server calls it")
        if offline:
            raise UsageError("--teacher-endpoint needs the network, which --offline forbids")
        need("endpoint")


def suggest(
    asked: UnlabelledOptions,
    sources: "Sources",
    labelled: "Sequence[Label]",
    rank: "Rank",
    *,
    quiet: bool,
) -> None:
    """Print READMEs that are worth labelling, the most useful first."""
    from tagger.cli.output import write_line
    from tagger.cli.progress import counting
    from tagger.evaluation.label import merged
    from tagger.learning.sample import draw
    from tagger.learning.suggest import suggest as choose

    size = asked.suggest or 0
    readmes = draw(sources, asked.sample)
    with counting(quiet=quiet) as progress:
        taggings = choose(rank, readmes, size, merged(labelled), progress)
    for tagging in taggings:
        write_line(tagging.to_json(scores=True))
    if len(taggings) < size:
        options.log.warning("only %d READMEs without a label are left", len(taggings))


def ask_teacher(
    asked: UnlabelledOptions, sources: "Sources", vocabulary: "Vocabulary", *, quiet: bool
) -> "tuple[list[Label], int]":
    """Have a teacher label a sample of READMEs.

    Returns:
        The labels, and the number of a signal that has ended the work, or 0.

    """
    from tagger.cli import signals
    from tagger.cli.progress import counting
    from tagger.evaluation.label import text_digest
    from tagger.learning.sample import draw
    from tagger.learning.teacher import README_TOKENS, Teacher
    from tagger.methods.endpoint.endpoint import Endpoint
    from tagger.selection import Selection

    endpoint = Endpoint(
        asked.teacher_endpoint or "",
        asked.teacher_model or "",
        vocabulary,
        selection=Selection(min_tags=0),
        readme_tokens=README_TOKENS,
        key=os.environ.get(KEY_VARIABLE, ""),
    )
    out = asked.labels_out or _LABELS_OUT
    teacher = Teacher(endpoint, out)
    readmes = draw(sources, asked.sample)
    with counting(quiet=quiet) as progress, signals.finishing(teacher) as received:
        labels, failures = teacher.label(readmes, progress)
    if received:
        options.log.warning(
            "stopped with %d labels in %s; run the same command again to go on", len(labels), out
        )
        return [], received[0]
    drawn = {text_digest(readme.text) for readme in readmes}
    if others := sum(label.text_digest not in drawn for label in labels):
        options.log.info(
            "%s: %d of its %d labels are of READMEs that are not in this sample, and are learned "
            "from all the same",
            out,
            others,
            len(labels),
        )
    if failures:
        options.log.warning(
            "READMEs that the teacher has not labelled: %d, the first: %s",
            len(failures),
            failures[0],
        )
    return labels, 0
