"""The rows of a batch as a Parquet table."""

import json
import logging
from itertools import islice
from pathlib import Path
from typing import Any

from tagger._util.extras import arrow
from tagger._util.files import replacing, reporting
from tagger._util.text import printable, storable
from tagger.errors import UsageError
from tagger.tagging import GivenTag, Tagging, TagsAs
from tagger.vocabulary import Vocabulary

_WRITE_ROWS = 10_000
"""Rows that are in memory at a time, so that a table may be of any size."""

_INT64 = range(-(2**63), 2**63)

log = logging.getLogger(__name__)


def check_table(vocabulary: Vocabulary, tags_as: TagsAs, *, scores: bool) -> None:
    """Make sure, before anything is computed, that a table can hold every tag of a vocabulary.

    Raises:
        UsageError: it cannot.
        MissingPackageError: pyarrow is not installed.

    """
    pyarrow = arrow()
    schema = _schema(vocabulary, tags_as, scores=scores)
    numbers = any(isinstance(tag.id, int) for tag in vocabulary)
    if tags_as != "names" and numbers and not _whole(vocabulary):
        log.warning(
            "the ids of these tags are not all 64-bit integers: the table holds them as text"
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

    With scores there are also `suspicious`, and `source`, which is `human` where a person has
    decided the tags.

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
        reporting(printable(str(table))),
        replacing(table) as part,
        lines.open(encoding="utf-8") as file,
        pyarrow.parquet.ParquetWriter(part, schema) as writer,
    ):
        while rows := [_row(line, as_text=as_text) for line in islice(file, _WRITE_ROWS)]:
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))


def _whole(vocabulary: Vocabulary) -> bool:
    return all(isinstance(tag.id, int) and tag.id in _INT64 for tag in vocabulary)


def _row(line: str, *, as_text: bool) -> dict[str, Any]:
    """Return a line's object as Arrow can hold it, the ids of its tags as text where asked."""
    row: dict[str, Any] = json.loads(line)
    row["suspicious"] = None if "error" in row else row.get("suspicious", False)
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
    columns = [("id", text), ("tags", pyarrow.list_(tag)), ("error", error)]
    more = [("suspicious", pyarrow.bool_()), ("source", text)] if scores else []
    return pyarrow.schema([*columns, *more])
