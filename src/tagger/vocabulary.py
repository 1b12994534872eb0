"""The closed, ordered list of tags that replies are drawn from."""

import hashlib
import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import (
    BaseModel,
    ConfigDict,
    StrictInt,
    StrictStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from tagger._util.reading import read_bounded
from tagger._util.text import printable
from tagger.errors import VocabularyError

MAX_BYTES = 16 * 1024 * 1024
"""Larger files are refused unread: no vocabulary that fits a prompt comes near."""

MAX_NAME = 200
"""Characters of a name or alias: a tag, not a text. Scoring takes memory by the square of its
tokens."""

MAX_DESCRIPTION = 1_000
"""Characters of a description: a hint, which every README is read behind."""


MAX_ALIASES = 32
"""Aliases of a tag: every README is read behind them too."""


def fold(name: str) -> str:
    """Return the form in which names are compared: NFC, stripped, case-folded."""
    return unicodedata.normalize("NFC", name).strip().casefold()


class Tag(BaseModel):
    """One entry of the vocabulary, kept exactly as the vocabulary spells it.

    Other keys that a catalogue keeps in its entries are passed over.

    Attributes:
        id: unique, a whole number or text.
        name: unique but for case and outer spaces.
        description: when the tag is to be used, in a few words.
        aliases: other words for it.

    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: StrictInt | StrictStr
    name: StrictStr
    description: StrictStr = ""
    aliases: tuple[StrictStr, ...] = ()

    @field_validator("description", "aliases", mode="before")
    @classmethod
    def _without_null(cls, value: object, info: ValidationInfo) -> object:
        # Catalogues write null, or a blank, where they have nothing to say.
        if info.field_name == "description":
            return "" if value is None or (isinstance(value, str) and value.isspace()) else value
        if isinstance(value, list):
            return [alias for alias in value if not (isinstance(alias, str) and not alias.strip())]
        return () if value is None else value

    @property
    def label(self) -> str:
        """The name as the model reads and writes it: without spaces around it."""
        return self.name.strip()

    @property
    def names(self) -> tuple[str, ...]:
        """The label and the aliases."""
        return (self.label, *(alias.strip() for alias in self.aliases))


@dataclass(frozen=True)
class Vocabulary:
    """Tags in order, without duplicates.

    Raises:
        VocabularyError: no tags, an empty or endless name or description, or two tags that share
            an id or a name (names are compared as `fold` gives them).

    """

    tags: tuple[Tag, ...]

    def __post_init__(self) -> None:
        if not self.tags:
            raise VocabularyError("the vocabulary is empty: list at least one tag")
        ids: dict[str, int] = {}
        names: dict[str, int] = {}
        for position, tag in enumerate(self.tags, start=1):
            if not tag.label:
                raise VocabularyError(f"tag {position} (id {tag.id!r}) has an empty name")
            _check_text("the name", position, tag.name, MAX_NAME)
            _check_text("the description", position, tag.description, MAX_DESCRIPTION)
            if len(tag.aliases) > MAX_ALIASES:
                raise VocabularyError(
                    f"tag {position} has {len(tag.aliases):,} aliases; {MAX_ALIASES} is the maximum"
                )
            for alias in tag.aliases:
                _check_text("an alias", position, alias, MAX_NAME)
            _check_text("the id", position, str(tag.id), MAX_BYTES)
            # 1 and "1" would be told apart by JSON, but hardly by whoever joins on them.
            first = ids.setdefault(str(tag.id), position)
            if first != position:
                raise VocabularyError(
                    f"tags {first} and {position} share the id {tag.id!r}: give each its own"
                )
            first = names.setdefault(fold(tag.name), position)
            if first != position:
                raise VocabularyError(
                    f"tags {first} ({self.tags[first - 1].name!r}) and {position} "
                    f"({tag.name!r}) share a name (case and outer spaces do not count)"
                )

    @classmethod
    def from_names(cls, names: Sequence[str]) -> Self:
        """Build a vocabulary whose ids are the names."""
        return cls(tuple(Tag(id=name, name=name) for name in names))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read `[{"id": 77, "name": "3d"}, …]` or `["3d", …]`.

        Raises:
            VocabularyError: not JSON, another shape, or not a sound vocabulary.

        """
        try:
            data = json.loads(text)
        except UnicodeDecodeError as error:
            raise VocabularyError("the vocabulary is not UTF-8 text; convert it first") from error
        except (ValueError, RecursionError) as error:
            reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            reason = "a number has too many digits" if "int_max_str" in reason else reason
            raise VocabularyError(f"the vocabulary is not JSON: {printable(reason)}") from error
        if not isinstance(data, list):
            raise VocabularyError(
                'the vocabulary is not a JSON list of tags such as [{"id": 1, "name": "cli"}] '
                'or ["cli", "web"]'
            )
        if data and all(isinstance(item, str) for item in data):
            return cls.from_names(data)
        if any(isinstance(item, str) for item in data):
            raise VocabularyError("the vocabulary mixes names and objects: use one of the two")
        return cls(tuple(_tag(item, position) for position, item in enumerate(data, start=1)))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a vocabulary from a JSON file.

        Raises:
            VocabularyError: the file cannot be read, or does not hold a vocabulary.

        """
        path = Path(path)
        try:
            data = read_bounded(path, MAX_BYTES)
        except FileNotFoundError as error:
            raise VocabularyError(f"{path}: no such vocabulary file") from error
        except OSError as error:
            reason = "is a folder, not a vocabulary file" if path.is_dir() else error.strerror
            raise VocabularyError(f"{path}: {reason}") from error
        try:
            return cls.from_json(data.removeprefix(b"\xef\xbb\xbf"))
        except VocabularyError as error:
            raise VocabularyError(f"{path}: {error}") from error

    @property
    def wording(self) -> str:
        """A digest of all that a model reads of the tags, in order."""
        said = [(tag.label, tag.description, tag.aliases) for tag in self.tags]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    @property
    def fingerprint(self) -> str:
        """A digest of the names, whatever their order, ids and spelling."""
        names = sorted(fold(tag.name) for tag in self.tags)
        return hashlib.sha256(json.dumps(names).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.tags)

    def __iter__(self) -> Iterator[Tag]:
        return iter(self.tags)

    def __contains__(self, tag: object) -> bool:
        return tag in self.tags


def renames(ids: Mapping[str, str], vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """Return the folded old and new names of tags that have kept their ids in a later list.

    Ids mean something only in the same list, or a later state of it: there the tags that have kept
    their names have kept their ids, and most have.

    Args:
        ids: of the earlier list, by folded names, as text; some may be missing.
        vocabulary: the later one.

    """
    later = {fold(tag.name): str(tag.id) for tag in vocabulary}
    kept = ids.keys() & later.keys()
    gone = {id_: name for name, id_ in ids.items() if name not in later}
    found = [(gone[id_], name) for name, id_ in later.items() if name not in ids and id_ in gone]
    same = all(ids[name] == later[name] for name in kept)
    return found if same and len(found) <= len(kept) else []


def _check_text(what: str, position: int, text: str, most: int) -> None:
    if len(text) > most:
        raise VocabularyError(
            f"{what} of tag {position} has {len(text):,} characters; {most:,} is the maximum"
        )
    if text.encode("utf-8", "replace").decode() != text:
        raise VocabularyError(f"{what} of tag {position} is not valid Unicode text")


def _tag(item: object, position: int) -> Tag:
    """Check one entry of the JSON list."""
    try:
        return Tag.model_validate(item)
    except ValidationError as error:
        wrong: dict[str, str] = {}
        if not isinstance(item, dict):
            reason = f"is {json.dumps(item)[:40]}, not an object with id and name"
        else:
            wrong = {str(detail["loc"][0]): detail["type"] for detail in error.errors()}
            reason = " and ".join(
                f"lacks {key!r}" if kind == "missing" else f"has the wrong type of {key!r}"
                for key, kind in wrong.items()
            )
        more = ', "description": "…", "aliases": ["…"]' if wrong.keys() - {"id", "name"} else ""
        raise VocabularyError(
            f'tag {position} {printable(reason)}; write {{"id": 1, "name": "cli"{more}}}'
        ) from error
