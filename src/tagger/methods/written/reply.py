"""The reply as a model writes it: its schema, and reading it back without believing it."""

import json
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import json_repair
from pydantic import BaseModel, ConfigDict, StrictInt, StrictStr, ValidationError

from tagger._util.text import printable, storable
from tagger._util.validation import first_fault
from tagger.errors import ReplyError, TaggerError
from tagger.methods.base import ranking_to_bytes
from tagger.tagging import GivenTag, Ranking
from tagger.vocabulary import Tag, Vocabulary, fold

_REPLIES = re.compile(r"""["']tags["']\s*:""")

_OPENED_LIST = re.compile(r"\s*\[")
_CLOSED = re.compile(r"\][^\]]*\}")
_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.S)
"""What models think aloud before they answer."""

_OPENED = re.compile(r"[\[{]")
_MOST_OPENED = 100
_LONGEST = 20_000
"""Brackets and characters beyond which nothing is a reply of a few tags."""

_LONGEST_ID = 128
"""Characters of an id that go to the model; paths of READMEs have fewer."""

_SHOWN = 80
"""Characters of a reply that an error shows."""


class WrittenTag(BaseModel):
    """A tag as an object, which models write though names alone are asked for."""

    model_config = ConfigDict(extra="ignore")

    name: StrictStr


class WrittenReply(BaseModel):
    """What a reply must be before its tags are looked up."""

    model_config = ConfigDict(extra="ignore")

    id: StrictStr | StrictInt
    tags: list[StrictStr | WrittenTag]


class RepeatedTagError(ReplyError):
    """A reply names a tag twice.

    Attributes:
        different: how many different tags it names.

    """

    def __init__(self, message: str, different: int) -> None:
        super().__init__(message)
        self.different = different


def plain(text: str) -> str:
    """Return the form in which names and ids are written: composed, without lone surrogates."""
    return storable(unicodedata.normalize("NFC", text))


def reply_id(id_: str) -> str:
    """Return what a reply calls a README: its id, or the beginning of one that is very long.

    The model reads and writes it, and a grammar is made of it: an id of a megabyte would take
    terabytes.
    """
    return plain(id_[:_LONGEST_ID])[:_LONGEST_ID]


def names(vocabulary: Vocabulary) -> tuple[str, ...]:
    """Return the tags' names as replies write them."""
    return tuple(plain(tag.label) for tag in vocabulary)


def schema(
    id_: str, allowed: Sequence[str], max_tags: int, min_tags: int, given: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the JSON schema of a reply whose first tags are known.

    Args:
        id_: what it calls the README.
        allowed: all names that it may hold.
        max_tags: the most that it may name.
        min_tags: the least.
        given: tags that it names already, which it may not name again.

    """
    known = set(given)
    rest = [name for name in allowed if name not in known]
    most = min(max_tags, len(allowed))
    tags: dict[str, Any] = {
        "type": "array",
        "items": {"type": "string", "enum": rest or list(given)},
        "minItems": min(max(min_tags, len(given)), most),
        "maxItems": most,
    }
    if given:
        tags["prefixItems"] = [{"const": name} for name in given]
    return {
        "type": "object",
        "properties": {"id": {"type": "string", "const": id_}, "tags": tags},
        "required": ["id", "tags"],
        "additionalProperties": False,
    }


def complete_tags(text: str) -> list[str]:
    """Return the tags that are whole in the beginning of a reply that a grammar has written."""
    decode = json.JSONDecoder().raw_decode
    whole: list[str] = []
    try:
        # The same text may be escaped in several ways, so that no length is known.
        _, at = decode(text, len('{"id": '))
        at += len(', "tags": [')
        while text[at : at + 1] == '"':
            name, at = decode(text, at)
            whole.append(name)
            at += len(", ")
    except ValueError:  # not whole yet
        pass
    return whole


def read(
    text: str, id_: str, vocabulary: Vocabulary, max_tags: int, min_tags: int = 0
) -> list[Tag]:
    """Return the tags of a reply, wherever it stands in a text.

    Fences, prose around it, single quotes and trailing commas are seen through; what it says is
    not: it must name this README, only tags of the vocabulary, none twice and not too many.

    Raises:
        ReplyError: it does not.

    """
    answer = _THOUGHT.sub("", text)
    if len(answer) > _LONGEST or len(_OPENED.findall(answer)) > _MOST_OPENED:
        raise unusable("is too long or nested too deeply to be a reply", text)
    lists = list(_REPLIES.finditer(answer))
    if len(lists) > 1:
        raise unusable("holds more than one list of tags", text)
    # Repairing would close what is open, and give a name that was cut for a shorter one.
    if lists and _OPENED_LIST.match(answer, lists[0].end()) and not _CLOSED.search(answer):
        raise unusable("is cut off", text)
    try:
        found: Any = json_repair.loads(answer)
    except Exception as error:  # it also trips over its own assertions
        raise unusable("cannot be read as JSON", text) from error
    if not isinstance(found, dict):
        raise unusable("holds no JSON object with an id and tags", text)
    try:
        reply = WrittenReply.model_validate(found)
    except ValidationError as error:
        raise unusable(f"is invalid: {first_fault(error)}", text) from error
    if str(reply.id) != id_:
        raise unusable(f"is for the id {str(reply.id)[:_SHOWN]!r}, not {id_!r}", text)
    by_name = dict(zip(map(fold, names(vocabulary)), vocabulary, strict=True))
    named = [tag if isinstance(tag, str) else tag.name for tag in reply.tags]
    unknown = [name for name in named if fold(name) not in by_name]
    if unknown:
        raise unusable(f"names {unknown[0][:_SHOWN]!r}, which is not in the list", text)
    tags = [by_name[fold(name)] for name in named]
    if len(set(tags)) < len(tags):
        raise RepeatedTagError(str(unusable("names a tag twice", text)), len(set(tags)))
    if len(tags) > max_tags:
        raise unusable(f"names {len(tags)} tags where {max_tags} were asked for", text)
    if len(tags) < min_tags:
        raise unusable(f"names {len(tags)} tags where {min_tags} at least were asked for", text)
    return tags


def reading_of(reply: Sequence[Tag] | TaggerError, vocabulary: Vocabulary) -> bytes | TaggerError:
    """Return the tags of a reply as a reading; an error stays what it is."""
    if isinstance(reply, TaggerError):
        return reply
    tags = tuple(GivenTag(id=tag.id, name=tag.name) for tag in reply)
    return ranking_to_bytes(Ranking(tags), vocabulary)


def unusable(reason: str, text: str) -> ReplyError:
    """Return the error of a reply, with its beginning."""
    beginning = " ".join(text.split())[:_SHOWN]
    return ReplyError(f"the model's reply {printable(reason)}; it begins: {printable(beginning)}")
