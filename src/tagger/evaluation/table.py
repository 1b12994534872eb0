"""Tables of ids and tags, as catalogues keep them: CSV, JSON Lines or Parquet."""

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tagger._util.text import printable, storable
from tagger.errors import LabelsError, UsageError
from tagger.evaluation.nearest import short
from tagger.readme import parquet

MAX_LINE = 8 * 1024 * 1024
"""Bytes of a line, and characters of a value, beyond which a table is refused."""

MAX_TAGS = 1000
"""Tags of a row beyond which it cannot be used."""

MAX_TAG = 1000
"""Characters of a tag that are looked at: no vocabulary has longer names."""

_DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True)
class Entry:
    """A row of a table.

    Attributes:
        id: of the README.
        tags: as they stand there.
        fault: what is wrong with the row; the rest is then empty.

    """

    id: str = ""
    tags: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True)
class Table:
    """A table of ids and tags; iterating yields an `Entry` for each row.

    Tags are a list, of names, ids or objects that hold one of the two, or a text.

    Attributes:
        path: a `.csv`, `.tsv`, `.jsonl`, `.ndjson` or `.parquet` file.
        id_field: the field or column that holds the id.
        label_field: the field or column that holds the tags.
        separator: what stands between the tags of a text.

    Raises:
        UsageError: the separator is empty.
        LabelsError: the file cannot be read, or has no such columns.
        InputError: a Parquet file cannot be used.

    """

    path: Path
    id_field: str = "id"
    label_field: str = "tags"
    separator: str = ";"

    def __post_init__(self) -> None:
        if not self.separator:
            raise UsageError("the separator is empty: name what stands between tags")

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return printable(str(self.path))

    def __iter__(self) -> Iterator[Entry]:
        if self.path.exists() and not self.path.is_file():
            raise LabelsError(f"{self.name}: is not a regular file")
        match self.path.suffix.lower():
            case ".csv" | ".tsv":
                return self._csv()
            case ".jsonl" | ".ndjson":
                return self._json_lines()
            case ".parquet":
                return self._parquet()
        raise LabelsError(f"{self.name}: is neither .csv, .tsv, .jsonl nor .parquet: convert it")

    def _csv(self) -> Iterator[Entry]:
        csv.field_size_limit(MAX_LINE)
        lines = self._lines()
        header = next(lines, "")
        for delimiter in _DELIMITERS:
            with suppress(csv.Error):
                columns = next(csv.reader([header], delimiter=delimiter), [])
                if {self.id_field, self.label_field} <= set(columns):
                    break
        else:
            raise LabelsError(
                f"{self.name}: its first line has no columns {self.id_field!r} and "
                f"{self.label_field!r}, but {short(header.strip())}; name those of ids and tags"
            )
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            yield from self._rows(reader, columns)
        except csv.Error as error:
            raise LabelsError(
                f"{self.name}, line {reader.line_num + 1}: is not CSV: {error}; correct it"
            ) from error

    def _rows(self, reader: Iterator[list[str]], columns: Sequence[str]) -> Iterator[Entry]:
        for column in (self.id_field, self.label_field):
            if columns.count(column) > 1:
                raise LabelsError(f"{self.name}: has more than one column {column!r}")
        places = columns.index(self.id_field), columns.index(self.label_field)
        for row in reader:
            if not row:
                continue
            if len(row) != len(columns):
                yield Entry(fault=f"{len(row)} values in {len(columns)} columns")
            else:
                yield self._entry(*(row[place] for place in places))

    def _json_lines(self) -> Iterator[Entry]:
        for line in self._lines():
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                yield Entry(fault="not JSON")
                continue
            if not isinstance(row, dict):
                yield Entry(fault="not a JSON object")
                continue
            missing = [key for key in (self.id_field, self.label_field) if key not in row]
            if missing:
                yield Entry(fault=f"no field {missing[0]!r}")
            else:
                yield self._entry(row[self.id_field], row[self.label_field])

    def _parquet(self) -> Iterator[Entry]:
        path = str(self.path)
        parquet.check(path, self.id_field, self.label_field, lists=True)
        fields = [self.id_field, self.label_field]
        for row in parquet.read(path, fields, MAX_TAGS * MAX_TAG, MAX_TAGS + 1):
            yield self._entry(row[self.id_field], row[self.label_field])

    def _lines(self) -> Iterator[str]:
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                number = 0
                while line := file.readline(MAX_LINE):
                    number += 1
                    if len(line) == MAX_LINE:
                        raise LabelsError(f"{self.name}, line {number}: is too long for a table")
                    yield line
        except FileNotFoundError as error:
            raise LabelsError(f"{self.name}: no such file") from error
        except OSError as error:
            raise LabelsError(f"{self.name}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise LabelsError(f"{self.name}: is not UTF-8 text: convert it first") from error

    def _entry(self, id_: object, tags: object) -> Entry:
        if isinstance(id_, bool) or not isinstance(id_, str | int):
            return Entry(fault=f"{self.id_field!r} is neither text nor a whole number")
        name = storable(str(id_))
        if not name.strip():
            return Entry(fault=f"{self.id_field!r} is empty")
        try:
            found = tuple(islice(self._tags(tags), MAX_TAGS + 1))
        except ValueError:
            return Entry(fault=f"{self.label_field!r} holds something other than tags")
        if len(found) > MAX_TAGS:
            return Entry(fault=f"{self.label_field!r} holds more than {MAX_TAGS:,} tags")
        return Entry(name, found)

    def _tags(self, value: object) -> Iterator[str]:
        """Yield the tags that a value holds. Raises `ValueError`."""
        if isinstance(value, str) and value.lstrip().startswith("["):
            with suppress(ValueError, RecursionError):  # a name may begin so
                value = json.loads(value)
        if isinstance(value, str):
            value = value.split(self.separator)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):  # as in the output of a batch
                each = each.get("id") if each.get("name") is None else each["name"]
            if each is None:
                continue
            if isinstance(each, bool) or not isinstance(each, str | int):
                raise ValueError
            if tag := storable(str(each)).strip()[:MAX_TAG]:
                yield tag
