"""Parquet, in and out, by the optional package pyarrow."""

import codecs
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from tagger import paths
from tagger.errors import InputError, UsageError
from tagger.output import reporting
from tagger.tagging import GivenTag, Tagging, TagsAs
from tagger.text import printable, storable
from tagger.vocabulary import Vocabulary

_READ_ROWS = 1
"""Rows that are decoded at a time. A single value may take many megabytes, and a row of its own
costs no more than microseconds."""

_READ_BUFFER = 1024 * 1024
_WRITE_ROWS = 10_000
"""What is in memory at a time, so that a table may be of any size."""

_INT64 = range(-(2**63), 2**63)

log = logging.getLogger(__name__)


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


def check(path: str, id_column: str, text_column: str) -> None:
    """Make sure that a file is Parquet and has both columns, of types that can be used.

    Raises:
        InputError: it is not, or has not.

    """
    with _reading(path, "not a Parquet file"), _open(path) as file:
        schema = file.schema_arrow
        found = schema.names
        types = {
            column: schema.field(found.index(column)).type
            for column in (id_column, text_column)
            if found.count(column) == 1
        }
    name = printable(path)
    for column in (id_column, text_column):
        if column not in types:
            how = "has more than one" if column in found else "has no"
            raise InputError(
                f"{name}: {how} column {column!r} among {printable(', '.join(found))[:500]}; "
                "name it with --id-field or --readme-field"
            )
    for column, numbers, kind in (
        (id_column, True, "neither text nor whole numbers; name another with --id-field"),
        (text_column, False, "not text; name another with --readme-field"),
    ):
        if not _is_usable(types[column], numbers=numbers):
            held = printable(str(types[column]))[:100]
            raise InputError(f"{name}: the column {column!r} holds {held}, {kind}")


def read(path: str, columns: list[str], most: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file as dictionaries of these columns.

    A value is text or a whole number, None where there is none, or bytes where text is not UTF-8.

    Args:
        path: a file that `check` has found sound.
        columns: those to read.
        most: bytes of a text that are read; what follows is left out.

    Raises:
        InputError: the file is damaged. The rows before the damage have been yielded.

    """
    with _reading(path, "is damaged, or not a Parquet file"), _open(path) as file:
        for batch in file.iter_batches(_READ_ROWS, columns=columns, use_threads=False):
            for row in range(batch.num_rows):
                yield {column: _value(batch.column(column)[row], most) for column in columns}


def _open(path: str) -> Any:
    return arrow().parquet.ParquetFile(path, buffer_size=_READ_BUFFER)


@contextmanager
def _reading(path: str, wrong: str) -> Iterator[None]:
    """Turn what pyarrow raises at a file into one line; its OSErrors name no file."""
    pyarrow = arrow()
    try:
        yield
    except (OSError, ValueError, LookupError, pyarrow.ArrowException) as error:
        reason = printable(" ".join(str(error).split()))
        raise InputError(f"{printable(path)}: {wrong}: {reason[:200]}") from error


def _is_usable(kind: Any, *, numbers: bool) -> bool:
    """Say whether values of an Arrow type are text, or whole numbers where those will do."""
    types = arrow().types
    if isinstance(kind, arrow().BaseExtensionType):
        kind = kind.storage_type
    if types.is_dictionary(kind):
        kind = kind.value_type
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    return text or (numbers and types.is_integer(kind))


def _value(scalar: Any, most: int) -> str | int | bytes | None:
    pyarrow = arrow()
    while isinstance(scalar, pyarrow.DictionaryScalar | pyarrow.ExtensionScalar):
        scalar = scalar.value
    if scalar is None or not scalar.is_valid:
        return None
    if pyarrow.types.is_integer(scalar.type):
        return int(scalar.as_py())
    whole = memoryview(scalar.as_buffer())
    data = bytes(whole[:most])
    try:
        # A character that is cut in two at the end is left out.
        return codecs.getincrementaldecoder("utf-8")().decode(data, final=len(whole) <= most)
    except UnicodeDecodeError:
        return data


def check_table(vocabulary: Vocabulary, tags_as: TagsAs, *, scores: bool) -> None:
    """Make sure, before anything is computed, that a table can hold every tag of a vocabulary.

    Raises:
        UsageError: it cannot, or pyarrow is not installed.

    """
    pyarrow = arrow()
    schema = _schema(vocabulary, tags_as, scores=scores)
    numbers = any(isinstance(tag.id, int) for tag in vocabulary)
    if tags_as != "names" and numbers and not _whole(vocabulary):
        log.warning(
            "the ids of these tags are not all whole numbers of 64 bits: the table holds them as "
            "text"
        )
    tags = tuple(GivenTag(id=tag.id, name=tag.name, confidence=0.5) for tag in vocabulary)
    line = Tagging(id="README", tags=tags).to_json(tags_as, scores=scores)
    try:
        pyarrow.Table.from_pylist([_row(line, as_text=not _whole(vocabulary))], schema)
    except (pyarrow.ArrowException, ValueError, TypeError) as error:
        reason = printable(" ".join(str(error).split()))[:200]
        raise UsageError(f"these tags cannot be written to a Parquet file: {reason}") from error


def write(
    lines: Path, table: Path, vocabulary: Vocabulary, tags_as: TagsAs, *, scores: bool
) -> None:
    """Write the JSON lines of a batch as a table of columns `id`, `tags` and `error`.

    The columns have the same types whatever the rows hold: `tags` is a list of what the lines
    list, null where the README failed, and `error` a struct, null where it did not. Ids of tags
    are int64 if all of the vocabulary are whole numbers that fit, and text otherwise.

    Raises:
        OutputError: the table cannot be written. An earlier one is then as it was.

    """
    pyarrow = arrow()
    schema = _schema(vocabulary, tags_as, scores=scores)
    as_text = not _whole(vocabulary)
    with (
        replacing(table) as part,
        lines.open(encoding="utf-8") as file,
        pyarrow.parquet.ParquetWriter(part, schema) as writer,
    ):
        while rows := [_row(line, as_text=as_text) for line in islice(file, _WRITE_ROWS)]:
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))


@contextmanager
def replacing(table: Path) -> Iterator[Path]:
    """Yield a file beside a table that takes its place in the end, if nothing fails.

    Raises:
        OutputError: it cannot be written. An earlier table is then as it was.

    """
    with reporting(printable(str(table))), paths.replacing(table) as part:
        yield part


def _whole(vocabulary: Vocabulary) -> bool:
    return all(isinstance(tag.id, int) and tag.id in _INT64 for tag in vocabulary)


def _row(line: str, *, as_text: bool) -> dict[str, Any]:
    """Return a line's object as Arrow can hold it, the ids of its tags as text where asked."""
    row: dict[str, Any] = json.loads(line)
    if "error" in row:
        row["error"] = {key: storable(value) for key, value in row["error"].items()}
    elif as_text:
        row["tags"] = [_with_text_id(tag) for tag in row["tags"]]
    return row


def _with_text_id(tag: Any) -> Any:
    if not isinstance(tag, dict):
        return storable(str(tag))
    return tag | {"id": storable(str(tag["id"]))} if "id" in tag else tag


def _schema(vocabulary: Vocabulary, tags_as: TagsAs, *, scores: bool) -> Any:
    pyarrow = arrow()
    text = pyarrow.string()
    fields = {"id": pyarrow.int64() if _whole(vocabulary) else text, "name": text}
    if tags_as != "objects":
        fields = {tags_as.removesuffix("s"): fields[tags_as.removesuffix("s")]}
    if scores:
        fields["confidence"] = pyarrow.float64()
    tag = pyarrow.struct(list(fields.items())) if len(fields) > 1 else next(iter(fields.values()))
    error = pyarrow.struct([("type", text), ("message", text)])
    return pyarrow.schema([("id", text), ("tags", pyarrow.list_(tag)), ("error", error)])
