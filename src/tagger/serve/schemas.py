"""`POST /v1/tag`: READMEs in, and out what `tagger run --scores` prints."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, model_validator

from tagger._util.text import printable
from tagger.readme.readme import Readme
from tagger.readme.sources import MAX_ID
from tagger.selection import MAX_TAGS, Selection
from tagger.vocabulary import Vocabulary

MAX_READMES = 64
"""READMEs of one request."""


_MOST_FIELDS = 20
"""Fields of an object that are looked at, of which more than half cannot be known."""


class _Strict(BaseModel):
    """An object without unknown fields."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _few(cls, given: Any) -> Any:
        if isinstance(given, dict) and len(given) > _MOST_FIELDS:
            raise ValueError(f"{len(given):,} fields; known are {', '.join(cls.model_fields)}")
        return given


class ReadmeIn(_Strict):
    """One README."""

    id: Annotated[StrictStr, Field(min_length=1, max_length=MAX_ID)] | StrictInt = "README"
    """What the reply calls it."""
    readme: StrictStr
    """Its text, of which the first 128 KiB are read."""
    file: Annotated[StrictStr, Field(max_length=MAX_ID)] = "README.md"
    """Its file name, whose ending says how it is marked up."""

    def to_readme(self) -> Readme:
        """Return it as files are read. Raises `ReadmeError`."""
        return Readme.from_text(self.readme, str(self.id), printable(self.file))


class TagRequest(_Strict):
    """One README or several, and how many tags they are given."""

    id: Annotated[StrictStr, Field(min_length=1, max_length=MAX_ID)] | StrictInt | None = None
    readme: StrictStr | None = None
    file: Annotated[StrictStr, Field(max_length=MAX_ID)] | None = None
    readmes: (
        Annotated[list[ReadmeIn], Field(min_length=1, max_length=MAX_READMES, fail_fast=True)]
        | None
    ) = None
    """Instead of `readme`, `id` and `file`."""
    max_tags: Annotated[int, Field(strict=True, ge=1, le=MAX_TAGS)] | None = None
    min_tags: Annotated[int, Field(strict=True, ge=0, le=MAX_TAGS)] | None = None
    threshold: Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _one_or_several(self) -> "TagRequest":
        one = {self.id, self.readme, self.file} != {None}
        if one == (self.readmes is not None) or (one and self.readme is None):
            raise ValueError("give either readme, with id and file if you like, or readmes")
        return self

    @property
    def single(self) -> ReadmeIn | None:
        """The README, where there is one that is not in a list."""
        if self.readme is None:
            return None
        given: dict[str, Any] = {"id": self.id, "readme": self.readme, "file": self.file}
        return ReadmeIn(**{name: value for name, value in given.items() if value is not None})

    def selection(self, default: Selection) -> Selection:
        """Return how many tags are given, where the request says nothing by the default.

        Raises:
            UsageError: the numbers contradict each other.

        """
        max_tags = default.max_tags if self.max_tags is None else self.max_tags
        min_tags = min(default.min_tags, max_tags) if self.min_tags is None else self.min_tags
        threshold = default.threshold if self.threshold is None else self.threshold
        return Selection(max_tags, min_tags, threshold)


class TagOut(BaseModel):
    """A tag of the vocabulary."""

    id: int | str
    name: str
    description: str = ""
    aliases: tuple[str, ...] = ()


class TagsOut(BaseModel):
    """The vocabulary, in its order."""

    tags: list[TagOut]

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> "TagsOut":
        """Return a vocabulary."""
        return cls(tags=[TagOut(**tag.model_dump()) for tag in vocabulary])
