"""Parquet, in and out, by the optional package pyarrow."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from tagger.errors import InputError, UsageError
from tagger.output import reporting
from tagger.tagging import TagsAs
from tagger.text import printable
from tagger.vocabulary import Vocabulary

_READ_ROWS = 64
_READ_BUFFER = 1024 * 1024
_WRITE_ROWS = 10_000
"""What is in memory at a time, so that a table may be of any size."""

_INT64 = range(-(2**63), 2**63)


def arrow() -> Any:
    """Return the module pyarrow.

    Raises:
        UsageError: it is not installed.

    """
    try:
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise UsageError("Parquet needs pyarrow: pip install pyarrow") from error
    return pyarrow


def check(path: str, columns: list[str]) -> None:
    """Make sure that a file is Parquet and has the columns.

    Raises:
        InputError: it is not, or has not.

    """
    with _open(path) as file:
        found = file.schema_arrow.names
    for column in columns:
        if column not in found:
            raise InputError(
                f"{printable(path)}: has no column {column!r} among "
                f"{printable(', '.join(found))}; name it with --id-field or --readme-field"
            )


def read(path: str, columns: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file as dictionaries of these columns; raises as `check`."""
    with _open(path) as file:
        for batch in file.iter_batches(_READ_ROWS, columns=columns, use_threads=False):
            yield from batch.to_pylist()


def _open(path: str) -> Any:
    pyarrow = arrow()
    try:
        return pyarrow.parquet.ParquetFile(path, buffer_size=_READ_BUFFER)
    except (OSError, pyarrow.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{printable(path)}: not a Parquet file: {reason[:200]}") from error


def write(
    lines: Path, table: Path, vocabulary: Vocabulary, tags_as: TagsAs, *, scores: bool
) -> None:
    """Write the JSON lines of a batch as a table of columns `id`, `tags` and `error`.

    The columns have the same types whatever the rows hold: `tags` is a list of what the lines
    list, null where the README failed, and `error` a struct, null where it did not.

    Raises:
        OutputError: the table cannot be written. An earlier one is then as it was.

    """
    pyarrow = arrow()
    schema = _schema(vocabulary, tags_as, scores=scores)
    with (
        replacing(table) as part,
        lines.open(encoding="utf-8") as file,
        pyarrow.parquet.ParquetWriter(part, schema) as writer,
    ):
        while rows := [json.loads(line) for line in islice(file, _WRITE_ROWS)]:
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))


@contextmanager
def replacing(table: Path) -> Iterator[Path]:
    """Yield a file beside a table that takes its place in the end, if nothing fails.

    Raises:
        OutputError: it cannot be written. An earlier table is then as it was.

    """
    part = table.with_name(f".{table.name}.part")
    with reporting(printable(str(table))):
        try:
            yield part
            part.replace(table)
        finally:
            part.unlink(missing_ok=True)


def _schema(vocabulary: Vocabulary, tags_as: TagsAs, *, scores: bool) -> Any:
    pyarrow = arrow()
    text = pyarrow.string()
    whole = all(isinstance(tag.id, int) and tag.id in _INT64 for tag in vocabulary)
    fields = {"id": pyarrow.int64() if whole else text, "name": text}
    if tags_as != "objects":
        fields = {tags_as.removesuffix("s"): fields[tags_as.removesuffix("s")]}
    if scores:
        fields["confidence"] = pyarrow.float64()
    tag = pyarrow.struct(list(fields.items())) if len(fields) > 1 else next(iter(fields.values()))
    error = pyarrow.struct([("type", text), ("message", text)])
    return pyarrow.schema([("id", text), ("tags", pyarrow.list_(tag)), ("error", error)])
