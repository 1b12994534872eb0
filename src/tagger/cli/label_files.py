"""`tagger labels`: label rows from a catalogue, and what to do with label files."""

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tagger.cli import options
from tagger.cli.flatten import flattened
from tagger.cli.labels import Readmes, load_labels
from tagger.errors import UsageError

if TYPE_CHECKING:
    from tagger.evaluation.label import Label

app = typer.Typer(help="Make label rows from a catalogue, check them and merge them.")

Labels = Annotated[list[Path], typer.Argument(metavar="LABELS", help="Files of label rows.")]
Output = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="FILE", help="Write here. Default: standard output."),
]
Digests = Annotated[
    bool,
    typer.Option(
        "--digests",
        help="Give each README's digest in place of its text; it is then looked up in --readmes.",
    ),
]

_BEGINNING = 16 * 1024 * 1024
"""Bytes of a file that tell what it is."""


@app.command()
@flattened
def convert(
    catalogue: Annotated[
        Path,
        typer.Argument(
            metavar="CATALOGUE",
            help="A .csv, .tsv, .jsonl or .parquet file with an id and tags in each row: names, "
            "ids or aliases of the vocabulary, as a list or a text.",
        ),
    ],
    *,
    readmes: Annotated[
        list[str],
        typer.Option(
            metavar="SOURCE",
            help="Where the READMEs are, with the same ids: sources as for tagger batch; may be "
            "repeated.",
        ),
    ],
    output: Output = None,
    label_id_field: Annotated[
        str, typer.Option(metavar="NAME", help="Field or column of the catalogue with the id.")
    ] = "id",
    label_field: Annotated[
        str, typer.Option(metavar="NAME", help="Field or column of the catalogue with the tags.")
    ] = "tags",
    separator: Annotated[
        str, typer.Option(metavar="TEXT", help="What stands between tags that are a text.")
    ] = ";",
    map_: Annotated[
        Path | None,
        typer.Option(
            "--map",
            metavar="FILE",
            help='What unknown tags mean, as JSON: {"js": "javascript", "misc": null}.',
        ),
    ] = None,
    unknown: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the unknown tags here, each with the nearest known one: a --map to edit. "
            "What the file maps already is kept.",
        ),
    ] = None,
    id_from: options.IdOfReadme = "relative",
    digests: Digests = False,
    source: options.SourceOptions,
    tags: options.Tags = None,
    common: options.CommonOptions,  # noqa: ARG001 (their callbacks act)
) -> None:
    """Make label rows from a catalogue's tags and its READMEs.

    What does not fit is reported on stderr: ids without a README, unknown tags and the nearest
    known ones. A README without any known tag gets no row.
    """
    from tagger._util.files import reporting, write_atomically
    from tagger._util.text import printable
    from tagger.evaluation.catalogue import Conversion, Names, load_mapping
    from tagger.evaluation.table import Table
    from tagger.vocabulary import Vocabulary

    vocabulary_file = options.vocabulary_file(tags)
    vocabulary = Vocabulary.load(vocabulary_file)
    mapping = load_mapping(map_, vocabulary) if map_ else {}
    inputs = [catalogue, vocabulary_file, *map(Path, readmes)]
    _check_target(output, inputs)
    if unknown:
        also = [each for each in (map_, output) if each]
        _check_target(unknown, [*inputs, *also], _is_mapping, "mapping")
    content = unknown.read_bytes() if unknown and unknown.exists() else b""
    edited = json.loads(content) if content else {}
    table = Table(catalogue, label_id_field, label_field, separator)
    conversion = Conversion(table, Names(vocabulary, mapping), source.sources(readmes, id_from))
    try:
        _write(conversion.labels(), output, digests=digests)
        for line in conversion.report():
            options.log.info("%s", line)
    finally:
        if unknown and conversion.unknown:
            with reporting(printable(str(unknown))):
                write_atomically(unknown, conversion.mapping(edited))


@app.command()
@flattened
def check(
    labels: Labels,
    *,
    readmes: Readmes = None,
    source: options.SourceOptions,
    tags: options.Tags = None,
    common: options.CommonOptions,  # noqa: ARG001 (their callbacks act)
) -> None:
    """Check label rows, and count what they hold.

    Errors in them are reported in one line for each file, and the exit code is 2.
    """
    from collections import Counter

    from tagger._util.text import printable
    from tagger.evaluation.label import RARE, once
    from tagger.vocabulary import fold

    vocabulary = options.load_vocabulary(tags)
    found = load_labels(labels, vocabulary, readmes, source)
    different = once(found)
    support = Counter(fold(tag) for label in different for tag in label.tags)
    by_label = {tag.label: support[fold(tag.name)] for tag in vocabulary}
    sources = Counter(label.source for label in found)
    given = sum(by_label.values())
    rows = {
        "rows": f"{len(found)}, of {len(different)} different READMEs",
        "by": ", ".join(f"{printable(name)} {count}" for name, count in sources.most_common()),
        "tags": f"{given}, {given / len(different):.2f} a README",
        "READMEs without a tag": str(sum(not label.tags for label in different)),
        f"tags with fewer than {RARE} labels": _listed(
            tag for tag, count in by_label.items() if 0 < count < RARE
        ),
        "tags without a label": _listed(tag for tag, count in by_label.items() if not count),
    }
    for name, value in rows.items():
        typer.echo(f"{name}: {value}")


@app.command()
@flattened
def merge(
    labels: Labels,
    *,
    output: Output = None,
    digests: Digests = False,
    readmes: Readmes = None,
    source: options.SourceOptions,
    tags: options.Tags = None,
    common: options.CommonOptions,  # noqa: ARG001 (their callbacks act)
) -> None:
    """Merge label files into one, in which each README comes once.

    A human label takes precedence over any other, and a later one with the same id over an earlier
    one. Otherwise the tags that two labels share are kept, and the rest becomes acceptable.
    """
    from tagger.evaluation.label import once, own_id, say_merged

    _check_target(output, [*labels, *map(Path, readmes or [])])
    found = load_labels(labels, options.load_vocabulary(tags), readmes, source)
    different, ids = once(found), set[str]()
    _write((own_id(label, ids) for label in different), output, digests=digests)
    say_merged(found, different)


def _is_label(row: dict[str, Any]) -> bool:
    return "tags" in row and ("readme" in row or "readme_digest" in row)


def _is_mapping(content: dict[str, Any]) -> bool:
    return not _is_label(content) and all(
        isinstance(value, str | list | None) for value in content.values()
    )


def _listed(tags: Iterable[str]) -> str:
    """Return how many tags there are, and which."""
    from tagger._util.text import printable

    names = list(map(printable, tags))
    return f"{len(names)} ({', '.join(names)})" if names else "0"


def _check_target(
    output: Path | None,
    read: Sequence[Path],
    ours: Callable[[dict[str, Any]], bool] = _is_label,
    what: str = "file of label rows",
) -> None:
    """Make sure that an output can be written, and that nothing else is lost by that.

    Args:
        output: the file; None is standard output.
        read: files that are read.
        ours: says of a JSON object whether a file that begins with it may be overwritten.
        what: what such a file is.

    Raises:
        UsageError: it is one of the files that are read, a link, or something else.
        OutputError: it cannot be written.

    """
    from tagger._util.files import check_own_file, check_target
    from tagger._util.paths import real
    from tagger._util.text import printable

    if output is None or (str(output) == "-" and ours is _is_label):
        return

    def may_go() -> bool:
        with output.open("rb") as file:
            beginning = file.read(_BEGINNING)
        text = beginning if ours is _is_mapping else beginning.partition(b"\n")[0]
        with suppress(ValueError, RecursionError):
            found = json.loads(text)
            return isinstance(found, dict) and ours(found)
        return False

    if any(real(output) == real(each) for each in read):
        raise UsageError(f"{printable(str(output))} is both read and written: name another output")
    check_own_file(output)
    check_target(output, may_go, what)


def _write(labels: "Iterable[Label]", output: Path | None, *, digests: bool) -> None:
    """Write label rows to a file, which is whole or as it was, or to standard output."""
    from tagger._util.files import replacing, reporting
    from tagger._util.text import printable
    from tagger.cli.output import write_line

    rows = (label.to_json(digest=digests) for label in labels)
    if output is None or str(output) == "-":
        for row in rows:
            write_line(row)
        return
    with (
        reporting(printable(str(output))),
        replacing(output) as part,
        part.open("w", encoding="utf-8") as file,
    ):
        file.writelines(f"{row}\n" for row in rows)
