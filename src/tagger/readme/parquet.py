"""READMEs in Parquet files, which may be damaged or made to fill the memory."""

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tagger._util.extras import arrow
from tagger._util.text import printable
from tagger.errors import InputError
from tagger.readme import remote

_READ_ROWS = 1
"""Rows that are decoded at a time. A single value may take many megabytes, and a row of its own
costs no more than microseconds."""

_READ_BUFFER = 1024 * 1024
"""Bytes of a file that are in memory at a time."""


def check(path: str, id_column: str, text_column: str, *, lists: bool = False) -> None:
    """Make sure that a file is Parquet and has both columns, of types that can be used.

    Args:
        path: the file.
        id_column: the name of a column of text or whole numbers.
        text_column: the name of a column of text.
        lists: whether the latter may also hold whole numbers, or lists.

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
                "pass the name of the right one"
            )
    text = "neither text nor lists" if lists else "not text"
    for column, more, kind in (
        (id_column, False, "neither text nor whole numbers; name another column"),
        (text_column, lists, f"{text}; name another column"),
    ):
        if not _is_usable(types[column], numbers=more or column == id_column, lists=more):
            held = printable(str(types[column]))[:100]
            raise InputError(f"{name}: the column {column!r} holds {held}, {kind}")


def read(path: str, columns: list[str], most: int, entries: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file as dictionaries of these columns.

    A value is text, a whole number, a list or a dictionary, None where there is none, or bytes
    where text is not UTF-8.

    Args:
        path: a file that `check` has found sound.
        columns: those to read.
        most: bytes of a text that are read; what follows is left out.
        entries: of a list, likewise.

    Raises:
        InputError: the file is damaged. The rows before the damage have been yielded.

    """
    with _reading(path, "is damaged, or not a Parquet file"), _open(path) as file:
        for batch in file.iter_batches(_READ_ROWS, columns=columns, use_threads=False):
            for row in range(batch.num_rows):
                yield {
                    column: _value(batch.column(column)[row], most, entries) for column in columns
                }


def _open(path: str) -> Any:
    file = remote.opened(path) if remote.is_address(path) else path
    return arrow().parquet.ParquetFile(file, buffer_size=_READ_BUFFER)


@contextmanager
def _reading(path: str, wrong: str) -> Iterator[None]:
    """Turn what pyarrow raises at a file into one line; its OSErrors name no file."""
    pyarrow = arrow()
    try:
        yield
    except (OSError, ValueError, LookupError, pyarrow.ArrowException) as error:
        reason = printable(" ".join(str(error).split()))
        raise InputError(f"{printable(path)}: {wrong}: {reason[:200]}") from error


def _is_usable(kind: Any, *, numbers: bool, lists: bool) -> bool:
    """Say whether values of an Arrow type are text, or what else will do."""
    types = arrow().types
    if isinstance(kind, arrow().BaseExtensionType):
        kind = kind.storage_type
    if types.is_dictionary(kind):
        kind = kind.value_type
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    listed = types.is_list(kind) or types.is_large_list(kind)
    return text or (numbers and types.is_integer(kind)) or (lists and listed)


def _value(scalar: Any, most: int, entries: int) -> Any:
    pyarrow = arrow()
    while isinstance(scalar, pyarrow.DictionaryScalar | pyarrow.ExtensionScalar):
        scalar = scalar.value
    if scalar is None or not scalar.is_valid:
        return None
    if pyarrow.types.is_integer(scalar.type):
        return int(scalar.as_py())
    if isinstance(scalar, pyarrow.ListScalar):
        return [_value(each, most, 0) for each in scalar.values[:entries]]
    if isinstance(scalar, pyarrow.StructScalar):
        return {key: _value(value, most, 0) for key, value in scalar.items()}
    if not isinstance(scalar, pyarrow.StringScalar | pyarrow.LargeStringScalar):
        return scalar.as_py()
    whole = memoryview(scalar.as_buffer())
    data = bytes(whole[:most])
    try:
        # A character that is cut in two at the end is left out.
        return codecs.getincrementaldecoder("utf-8")().decode(data, final=len(whole) <= most)
    except UnicodeDecodeError:
        return data
