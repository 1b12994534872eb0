"""The reply: what it holds, and what it is allowed to hold."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from tagger._util.text import printable_json
from tagger._util.validation import first_fault
from tagger.errors import ReplyError
from tagger.vocabulary import Vocabulary

TagsAs = Literal["objects", "ids", "names"]
"""How a reply writes its tags."""

_KEYS: dict[TagsAs, tuple[str, ...]] = {
    "objects": ("id", "name"),
    "ids": ("id",),
    "names": ("name",),
}


class GivenTag(BaseModel):
    """A tag of a reply, with the probability that a curator would accept it, where it is known."""

    model_config = ConfigDict(frozen=True)

    id: StrictInt | StrictStr
    name: StrictStr
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None


@dataclass(frozen=True)
class Ranking:
    """The best tags of a README.

    Attributes:
        tags: as many as any `Selection` could give, the best first.
        suspicious: whether passages of the README address whoever tags it, and were left out.

    """

    tags: tuple[GivenTag, ...] = ()
    suspicious: bool = False


class Tagging(BaseModel):
    """The tags of one README, the best first.

    Validated against a vocabulary: only its tags, none twice, at most `max_tags`.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    tags: tuple[GivenTag, ...]
    suspicious: bool = False
    """Whether passages of the README address whoever tags it, and were left out."""
    source: Literal["human"] | None = None
    """Who has decided the tags, where it was not the model."""

    @classmethod
    def checked(
        cls,
        id: str,  # noqa: A002
        tags: Iterable[GivenTag],
        vocabulary: Vocabulary,
        max_tags: int,
        *,
        suspicious: bool = False,
    ) -> Self:
        """Build a reply that holds what it may hold.

        Raises:
            ReplyError: a tag outside the vocabulary, a tag twice, or too many tags.

        """
        try:
            return cls.model_validate(
                {"id": id, "tags": tuple(tags), "suspicious": suspicious},
                context={"vocabulary": vocabulary, "max_tags": max_tags},
            )
        except ValidationError as error:
            raise ReplyError(f"{id!r}: {first_fault(error)}") from error

    @field_validator("tags")
    @classmethod
    def _from_the_vocabulary(
        cls, tags: tuple[GivenTag, ...], info: ValidationInfo
    ) -> tuple[GivenTag, ...]:
        if info.context is None:
            return tags
        known = {(tag.id, tag.name) for tag in info.context["vocabulary"]}
        for tag in tags:
            if (tag.id, tag.name) not in known:
                raise ValueError(f"the tag {tag.name!r} is not in the vocabulary")
        if len({tag.id for tag in tags}) < len(tags):
            raise ValueError("a tag is given twice")
        if len(tags) > info.context["max_tags"]:
            raise ValueError(f"{len(tags)} tags exceed the limit of {info.context['max_tags']}")
        return tags

    def to_json(self, tags_as: TagsAs = "objects", *, scores: bool = False) -> str:
        """Return the reply as one line of JSON, safe to print on any terminal.

        Args:
            tags_as: whole tags, their ids, or their names.
            scores: give each tag's confidence, ids and names then standing in objects, and say if
                the README is suspicious. Whether its tags were decided by a person is said
                without them, too.

        """
        tags = [_to_plain(tag, _KEYS[tags_as], scores=scores) for tag in self.tags]
        reply: dict[str, Any] = {"id": self.id, "tags": tags}
        if scores and self.suspicious:
            reply["suspicious"] = True
        if self.source:  # also without scores: who reads it again must not take it for a suggestion
            reply["source"] = self.source
        return _line(reply)


class Failure(BaseModel):
    """What stands in a batch's output for a README that could not be tagged."""

    model_config = ConfigDict(frozen=True)

    id: str
    type: str
    message: str

    def to_json(self) -> str:
        """Return the row as one line of JSON, safe to print on any terminal."""
        return _line({"id": self.id, "error": {"type": self.type, "message": self.message}})


def _line(reply: dict[str, Any]) -> str:
    return printable_json(json.dumps(reply, ensure_ascii=False, separators=(",", ":")))


def _to_plain(tag: GivenTag, keys: tuple[str, ...], *, scores: bool) -> Any:
    values = {key: getattr(tag, key) for key in keys}
    if scores:
        known = None if tag.confidence is None else round(tag.confidence, 4)
        return values | {"confidence": known}
    return values if len(keys) > 1 else values[keys[0]]
