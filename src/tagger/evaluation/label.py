"""One labelled README, and what becomes of several labels of the same one."""

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictStr,
    field_validator,
    model_validator,
)

from tagger._util.text import printable, printable_json, storable
from tagger.readme.readme import Readme
from tagger.vocabulary import fold

RARE = 3
"""Labels below which little can be learned of a tag."""

HUMAN = "human"
"""The source of labels that count for more than those of any other."""

log = logging.getLogger(__name__)


def text_digest(text: str) -> str:
    """Return what tells a README from others: the SHA-256 of its text, in hexadecimal."""
    return hashlib.sha256(storable(text).encode()).hexdigest()


class Judgement(BaseModel):
    """What somebody says of a README, whichever way its text is given."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: Annotated[StrictStr, Field(min_length=1)]
    tags: tuple[StrictStr, ...]
    acceptable: tuple[StrictStr, ...] = ()
    rejected: tuple[StrictStr, ...] = ()
    source: Annotated[StrictStr, Field(min_length=1, max_length=40)] = HUMAN
    selection: Literal["random", "uncertain", "bulk"] = "random"

    @field_validator("id", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        return str(value) if type(value) is int else value

    @field_validator("source")
    @classmethod
    def _in_plain_characters(cls, value: str) -> str:
        if printable(value) != value:
            raise ValueError("holds characters that cannot be printed")
        return value

    @model_validator(mode="after")
    def _without_contradictions(self) -> Self:
        right = set(map(fold, (*self.tags, *self.acceptable)))
        both = [tag for tag in self.rejected if fold(tag) in right]
        if both:
            raise ValueError(f"{min(both)!r} is both given and rejected")
        return self

    @property
    def by_a_person(self) -> bool:
        """Whether it counts for more than what a model says."""
        return fold(self.source) == HUMAN


class Label(Judgement):
    """One README and the tags that it should get, each once."""

    readme: StrictStr

    @field_validator("tags")
    @classmethod
    def _each_once(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        found: dict[str, str] = {}
        for tag in tags:
            found.setdefault(fold(tag), tag)
        return tuple(found.values())

    @property
    def text_digest(self) -> str:
        """What tells its README from others."""
        return text_digest(self.readme)

    def to_json(self, *, digest: bool = False) -> str:
        """Return the label as a row, one line of JSON that is safe to print on any terminal.

        Args:
            digest: give the README's digest in place of its text.

        """
        readme = (
            {"readme_digest": self.text_digest} if digest else {"readme": storable(self.readme)}
        )
        said = self.model_dump(include=set(Judgement.model_fields), exclude_defaults=True)
        row = {"id": said.pop("id"), **readme, "tags": list(said.pop("tags")), **said}
        return printable_json(json.dumps(row, ensure_ascii=False, separators=(",", ":")))

    def to_readme(self) -> Readme:
        """Return the README, checked by the same rules as a file. Raises `ReadmeError`."""
        return Readme.from_text(self.readme, self.id, "readme")


class PlacedLabel(Label):
    """A label of a README that was found by itself, in a place that may tell its markup."""

    place: str

    def to_readme(self) -> Readme:
        """Return the README as it was found."""
        return Readme(self.id, self.readme, self.place)


def own_id(label: Label, taken: set[str]) -> Label:
    """Return a label with an id that no other README of a file has, and take it.

    The beginning of its text's digest is added to an id that is taken.
    """
    id_ = label.id if label.id not in taken else f"{label.id} {label.text_digest[:12]}"
    taken.add(id_)
    return label if id_ == label.id else label.model_copy(update={"id": id_})


def once(labels: Iterable[Label]) -> list[Label]:
    """Return labels so that no README comes twice, each where its README came first.

    A person's label replaces a teacher's, and a later one an earlier one of the same id. Of two
    others, the tags that both have stay, and the rest is acceptable.
    """
    by_text: dict[str, list[Label]] = {}
    for label in labels:
        by_text.setdefault(label.text_digest, []).append(label)
    return [_one(same) for same in by_text.values()]


def merged(labels: Iterable[Label]) -> list[Label]:
    """Return labels as `once` does, in the order of the READMEs' digests."""
    return sorted(once(labels), key=lambda label: label.text_digest)


def say_merged(labels: Sequence[Label], readmes: Sequence[Label]) -> None:
    """Say how many labels have become part of others."""
    if again := len(labels) - len(readmes):
        log.info("labels merged with earlier ones of the same README: %d", again)


def counted(labels: Sequence[Label], readmes: Sequence[Label]) -> str:
    """Say how many READMEs are labelled with a tag, and why these are not all the labels.

    Args:
        labels: as they were given.
        readmes: what `once` has made of them.

    """
    tagged = sum(bool(label.tags) for label in readmes)
    again, bare = len(labels) > len(readmes), len(readmes) - tagged
    reasons = []
    if again:
        different = f"{len(readmes)} different README{'s' if len(readmes) > 1 else ''}"
        reasons.append(f"{len(labels)} rows, but only {different}")
    if bare:
        common = ", or with labels that have no tag in common" if again else ""
        reasons.append(f"{bare} without a tag{common}")
    why = f" ({'; '.join(reasons)})" if reasons else ""
    return f"{'is one' if tagged == 1 else f'are {tagged}'}{why}"


def _one(labels: list[Label]) -> Label:
    """Return the label that several of the same README amount to."""
    people = [label for label in labels if label.by_a_person]
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
