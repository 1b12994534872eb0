"""Labelled READMEs.

Labels are JSON Lines, one README a row: `id`, `readme`, `tags` (those that a curator gives, the
most defining first; empty if none fits) and optionally `acceptable` (further tags that a careful
curator would accept), `rejected` (tags that one has refused), `source` (who labelled it: `human`
or `teacher`, a model) and `selection` (why this README: `random`, `uncertain` or `bulk`).
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from tagger._util.reading import read_bounded
from tagger._util.text import printable, storable
from tagger.errors import LabelsError, ReadmeError
from tagger.readme.readme import Readme
from tagger.vocabulary import Vocabulary, fold

HUMAN = "human"
"""The source of labels that count for more than those of any other."""

MAX_LABELS = 256 * 1024 * 1024
"""Bytes of a label file beyond which it is refused; measuring keeps all of it in memory."""

_LISTED = 20
"""Errors of a label file that are listed; further ones are only counted."""

_LONGEST = 300
"""Characters of an error that are shown."""


class Label(BaseModel):
    """One README and the tags that it should get."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: Annotated[StrictStr, Field(min_length=1)]
    readme: StrictStr
    tags: tuple[StrictStr, ...]
    acceptable: tuple[StrictStr, ...] = ()
    rejected: tuple[StrictStr, ...] = ()
    source: StrictStr = HUMAN
    selection: StrictStr = "random"

    @field_validator("id", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        return str(value) if type(value) is int else value

    @model_validator(mode="after")
    def _without_contradictions(self) -> Self:
        right = set(map(fold, (*self.tags, *self.acceptable)))
        both = [tag for tag in self.rejected if fold(tag) in right]
        if both:
            raise ValueError(f"{min(both)!r} is both given and rejected")
        return self

    @property
    def text_digest(self) -> str:
        """What tells its README from others."""
        return hashlib.sha256(storable(self.readme).encode()).hexdigest()

    def to_readme(self) -> Readme:
        """Return the README, checked by the same rules as a file. Raises `ReadmeError`."""
        return Readme.from_text(self.readme, self.id, "readme")


def load_labels(path: Path, vocabulary: Vocabulary) -> list[Label]:
    """Read a label file.

    Raises:
        LabelsError: the file is unreadable, empty or larger than `MAX_LABELS`, or rows are not
            labels or name unknown tags; one message lists all errors.

    """
    try:
        lines = read_bounded(path, MAX_LABELS).decode("utf-8-sig").split("\n")
    except FileNotFoundError as error:
        raise LabelsError(f"{printable(str(path))}: no such label file") from error
    except OSError as error:
        raise LabelsError(f"{printable(str(path))}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise LabelsError(f"{printable(str(path))}: is not UTF-8 text") from error
    names = {fold(tag.name) for tag in vocabulary}
    labels, errors = [], []
    rows: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            label = Label.model_validate_json(line)
        except ValidationError as error:
            errors += [f"row {number}: {_reason(detail)}" for detail in error.errors()]
            continue
        try:
            label.to_readme()
        except ReadmeError as error:
            errors.append(f"row {number}: {error}")
        unknown = [
            tag
            for tag in (*label.tags, *label.acceptable, *label.rejected)
            if fold(tag) not in names
        ]
        if unknown:
            errors.append(f"row {number}: not in the vocabulary: {', '.join(unknown)}")
        if label.id in rows:
            errors.append(f"row {number}: has the id {label.id!r} of row {rows[label.id]}")
        rows[label.id] = number
        labels.append(label)
    if errors:
        reasons = "; ".join(error[:_LONGEST] for error in errors[:_LISTED])
        more = f" and {len(errors) - _LISTED} more" if len(errors) > _LISTED else ""
        raise LabelsError(f"{printable(str(path))}: {printable(reasons)}{more}")
    if not labels:
        raise LabelsError(f"{printable(str(path))}: holds no labels")
    return labels


def merged(labels: Iterable[Label]) -> list[Label]:
    """Return labels so that no README comes twice, in the order of the READMEs' digests.

    A person's label replaces a teacher's, and a later one an earlier one of the same id. Of two
    others, the tags that both have stay, and the rest is acceptable.
    """
    by_text: dict[str, list[Label]] = {}
    for label in labels:
        by_text.setdefault(label.text_digest, []).append(label)
    return [_one(by_text[key]) for key in sorted(by_text)]


def _one(labels: list[Label]) -> Label:
    """Return the label that several of the same README amount to."""
    people = [label for label in labels if label.source == HUMAN]
    latest = list({label.id: label for label in people or labels}.values())
    first = latest[0]
    common = tuple(
        tag for tag in first.tags if all(fold(tag) in map(fold, other.tags) for other in latest[1:])
    )
    folded = {fold(tag) for tag in common}
    rest = {
        fold(tag): tag
        for label in latest
        for tag in (*label.tags, *label.acceptable)
        if fold(tag) not in folded
    }
    rejected = {fold(tag): tag for label in latest for tag in label.rejected}
    return first.model_copy(
        update={
            "tags": common,
            "acceptable": tuple(rest.values()),
            "rejected": tuple(tag for key, tag in rejected.items() if key not in rest),
        }
    )


def _reason(detail: ErrorDetails) -> str:
    where, message = ".".join(map(str, detail["loc"])), detail["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
