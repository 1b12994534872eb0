"""Options of labelled READMEs, and how they are loaded."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tagger.cli.options import SourceOptions
from tagger.errors import NoReadmesError

if TYPE_CHECKING:
    from tagger.evaluation.label import Label
    from tagger.vocabulary import Vocabulary

Readmes = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SOURCE",
        help="Where to find the READMEs of labels that give only a readme_digest: sources as for "
        "tagger batch; may be repeated.",
    ),
]


def load_labels(
    paths: Sequence[Path],
    vocabulary: "Vocabulary",
    readmes: Sequence[str] | None,
    source: SourceOptions,
) -> "list[Label]":
    """Load label files whose READMEs may lie elsewhere.

    Raises:
        LabelsError: they cannot be used.
        InputError: a source cannot be used.

    """
    from tagger.evaluation.labels import load_labels as load

    try:
        return load(paths, vocabulary, source.sources(readmes) if readmes else None)
    except NoReadmesError as error:
        raise NoReadmesError(f"{error} (--readmes SOURCE)") from error
