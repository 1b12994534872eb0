"""Files of labelled READMEs.

Labels are JSON Lines, one README a row: `id`, `readme` (its text), `tags` (those that a curator
gives, the most defining first; empty if none fits) and optionally `acceptable` (further tags that a
careful curator would accept), `rejected` (tags that one has refused), `source` (who labelled it:
`human` or `teacher`, a model) and `selection` (why this README: `random`, `uncertain` or `bulk`).

In place of `readme` a row may hold `readme_digest`, the SHA-256 of the text, which is then looked
up among READMEs that lie elsewhere.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, StrictStr, ValidationError, model_validator
from pydantic_core import ErrorDetails

from tagger._util.reading import read_bounded
from tagger._util.text import printable
from tagger._util.validation import PREFIX
from tagger.errors import LabelsError, NoReadmesError, ReadmeError
from tagger.evaluation.label import (
    HUMAN,
    Judgement,
    Label,
    PlacedLabel,
    counted,
    merged,
    once,
    say_merged,
    text_digest,
)
from tagger.evaluation.nearest import SHORT, Nearest, short
from tagger.readme.readme import Readme
from tagger.readme.sources import Sources
from tagger.vocabulary import Vocabulary, fold

__all__ = ["HUMAN", "Label", "counted", "load_labels", "merged", "once", "say_merged"]

MAX_LABELS = 256 * 1024 * 1024
"""Bytes of a label file beyond which it is refused; measuring keeps all of it in memory."""

_LISTED = 20
"""Errors of a label file that are listed; further ones are only counted."""

_LONGEST = 300
"""Characters of an error that are shown."""

_UNKNOWN = 5
"""Tags outside the vocabulary that are named."""

_REASONS = {
    "model_type": "is not a JSON object",
    "missing": "lacks {field}",
    "string_type": "{field} is not text",
    "tuple_type": "{field} is not a list",
    "string_too_short": "{field} is empty",
    "string_too_long": "{field} is longer than {max_length} characters",
    "string_pattern_mismatch": "{field} is not a SHA-256 of 64 hexadecimal digits",
    "literal_error": "{field} must be {expected}, but is {given}",
}
"""What is wrong, by Pydantic's name for it."""

log = logging.getLogger(__name__)


class _Row(Judgement):
    """What a row holds: a README's text, or its digest. Fields of others are left alone."""

    model_config = ConfigDict(extra="allow")

    readme: StrictStr | None = None
    readme_digest: Annotated[StrictStr, Field(pattern="^[0-9a-fA-F]{64}$")] | None = None

    @model_validator(mode="after")
    def _of_one_readme(self) -> Self:
        if self.readme is None:
            if self.readme_digest is None:
                raise ValueError("has neither 'readme' (a text) nor 'readme_digest'")
        elif self.readme_digest and self.readme_digest.lower() != text_digest(self.readme):
            raise ValueError("'readme_digest' is not that of its 'readme': take one of them out")
        return self

    def misspelt(self) -> list[str]:
        """Say which fields look like misspelt ones."""
        unknown = [key for key in islice(self.model_extra or (), 20) if len(key) <= SHORT]
        nearest = [(key, get_close_matches(key, _FIELDS, 1, 0.8)) for key in unknown]
        return [f"has a field {key!r}, not {near[0]!r}" for key, near in nearest if near]

    @property
    def digest(self) -> str:
        """What tells its README from others."""
        return (self.readme_digest or "").lower() or text_digest(self.readme or "")

    def to_label(self, found: Readme | None = None) -> Label:
        """Return the label of a README that was found, or of the row's own text."""
        said = self.model_dump(include=set(Judgement.model_fields))
        if found is None:
            return Label(readme=self.readme or "", **said)
        return PlacedLabel(readme=found.text, place=found.source, **said)


_FIELDS = tuple(_Row.model_fields)


@dataclass(frozen=True)
class _Placed:
    """A row, and where it stands."""

    row: _Row
    place: str


def load_labels(
    path: Path | Sequence[Path], vocabulary: Vocabulary, readmes: Sources | None = None
) -> list[Label]:
    """Read one or several label files. The same README may come several times; see `once`.

    Args:
        path: the file or files.
        vocabulary: the tags that labels may name.
        readmes: where READMEs are looked up of which rows hold only a digest. They are walked once.

    Raises:
        LabelsError: a file is unreadable, empty or larger than `MAX_LABELS`, or rows are not
            labels, name unknown tags, share an id although their READMEs differ, or give digests
            that no README has; one message lists all errors of a file.
        NoReadmesError: rows hold only digests, and there are no READMEs to look up.
        InputError: a source breaks off.

    """
    paths = [path] if isinstance(path, Path) else path
    rows = [row for each in paths for row in _rows(each, vocabulary)]
    found = _looked_up([each for each in rows if each.row.readme is None], readmes)
    labels = [
        each.row.to_label(found[each.row.digest] if each.row.readme is None else None)
        for each in rows
    ]
    twice = sum(
        len(label.tags) < len(each.row.tags) for each, label in zip(rows, labels, strict=True)
    )
    if twice:
        log.info("rows that name one of their tags twice, which counts once: %d", twice)
    return labels


def _looked_up(rows: Sequence[_Placed], readmes: Sources | None) -> dict[str, Readme]:
    """Return the READMEs of rows that hold digests."""
    if not rows:
        return {}
    if readmes is None:
        raise NoReadmesError(
            f"labels with a digest but no README text: {_first_of(rows)}: add each text "
            "as 'readme', or say where the READMEs are"
        )
    wanted, found = {each.row.digest for each in rows}, dict[str, Readme]()
    failures: list[ReadmeError] = []
    for readme in readmes.readable(failures):
        if (key := text_digest(readme.text)) in wanted:
            found.setdefault(key, readme)
            if len(found) == len(wanted):
                break
    missing = [each for each in rows if each.row.digest not in found]
    if missing:
        unread = ""
        if failures:
            unread = f" (READMEs that cannot be read: {len(failures)}, the first: {failures[0]})"
        raise LabelsError(
            f"labels whose README is in none of the sources: {_first_of(missing)}: name the "
            f"folders or files that hold these READMEs, unchanged{unread}"
        )
    return found


def _first_of(rows: Sequence[_Placed]) -> str:
    first = rows[0]
    return f"{len(rows)}, the first with the id {short(first.row.id)} ({first.place})"


def _rows(path: Path, vocabulary: Vocabulary) -> list[_Placed]:
    """Return the rows of a file. Raises `LabelsError`, which lists all that is wrong with them."""
    name = printable(str(path))
    rows, faults, unknown = [], _Faults(), _Unknown(Nearest(vocabulary))
    first: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(_lines(path, name), start=1):
        if not line.strip():
            continue
        try:
            row = _Row.model_validate_json(line)
            if row.readme is not None:
                Readme.from_text(row.readme, row.id, "readme")
        except ValidationError as error:
            faults.add(number, map(_reason, error.errors()))
            continue
        except ReadmeError as error:
            faults.add(number, [str(error)])
            continue
        faults.add(number, row.misspelt())
        unknown.look(number, (*row.tags, *row.acceptable, *row.rejected))
        before, digest = first.setdefault(row.id, (number, row.digest))
        if digest != row.digest:
            reason = f"has the id {short(row.id)} of line {before}, but belongs to another README"
            faults.add(number, [reason])
        rows.append(_Placed(row, f"{name}, line {number}"))
    if said := [*faults.said(), *unknown.said()]:
        also = "" if faults.lines else ", or add the tags to the vocabulary"
        raise LabelsError(f"{name}: {'; '.join(said)}; correct these rows{also}")
    if not rows:
        raise LabelsError(f"{name}: holds no labels")
    return rows


def _lines(path: Path, name: str) -> list[str]:
    if path.is_dir():
        raise LabelsError(
            f"{name}: is a folder, not a file of label rows; READMEs without labels can be "
            "labelled by a teacher, or suggested for labelling"
        )
    try:
        return read_bounded(path, MAX_LABELS).decode("utf-8-sig").split("\n")
    except FileNotFoundError as error:
        raise LabelsError(f"{name}: no such label file") from error
    except OSError as error:
        raise LabelsError(f"{name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise LabelsError(f"{name}: is not UTF-8 text") from error


@dataclass
class _Faults:
    """What is wrong with rows, and with which, in order."""

    lines: dict[str, list[int]] = field(default_factory=dict)

    def add(self, number: int, reasons: Iterable[str]) -> None:
        for reason in reasons:
            self.lines.setdefault(printable(reason[:_LONGEST]), []).append(number)

    def said(self) -> list[str]:
        said = [f"{_rows_of(lines)}: {reason}" for reason, lines in self.lines.items()]
        more = len(said) - _LISTED
        return [*said[:_LISTED], *([f"and {more} more"] if more > 0 else [])]


@dataclass
class _Unknown:
    """Tags of rows that are not in the vocabulary."""

    nearest: Nearest
    tags: dict[str, str] = field(default_factory=dict)
    lines: list[int] = field(default_factory=list)

    def look(self, number: int, tags: Iterable[str]) -> None:
        unknown = self.nearest.unknown(tags)
        for tag in unknown:
            self.tags.setdefault(fold(tag), tag)
        self.lines += [number] if unknown else []

    def said(self) -> list[str]:
        if not self.tags:
            return []
        shown = [self.nearest.suggest(tag) for tag in list(self.tags.values())[:_UNKNOWN]]
        if (more := len(self.tags) - _UNKNOWN) > 0:
            shown.append(f"and {more} more")
        return [
            f"tags that are not in the vocabulary: {len(self.tags)}, in {_rows_of(self.lines)}: "
            f"{', '.join(shown)}"
        ]


def _rows_of(lines: Sequence[int]) -> str:
    if len(lines) == 1:
        return f"line {lines[0]}"
    return f"{len(lines)} rows from line {lines[0]} on"


def _reason(detail: ErrorDetails) -> str:
    """Say what Pydantic has found wrong with a row."""
    kind, place = detail["type"], detail["loc"]
    more: dict[str, Any] = detail.get("ctx", {})
    named = repr(place[0]) if place else ""
    if kind == "json_invalid":
        return "is not JSON"
    if kind in _REASONS:
        named = f"what {named} holds" if place[1:] else named
        given = "null" if detail["input"] is None else short(str(detail["input"]))
        return _REASONS[kind].format(field=named, given=given, **more)
    message = detail["msg"].removeprefix(PREFIX)
    return f"{named} {message}" if named else message
