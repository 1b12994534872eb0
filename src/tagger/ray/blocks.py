"""READMEs and their rows as Arrow tables, which Ray moves between machines."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tagger._util.extras import arrow
from tagger._util.text import storable
from tagger.batch.ledger import text_key
from tagger.batch.pipeline import Row, failure
from tagger.readme.readme import Readme
from tagger.readme.sources import Item
from tagger.tagging import Failure, Tagging


@dataclass(frozen=True)
class Entry:
    """A README that was found in a source, before a model reads it.

    Attributes:
        id: what its row will be called.
        place: where it was found.
        key: tells its text from others, as in a batch's ledger; empty if it cannot be read.
        text: the text; empty if it cannot be read.
        failure: why it cannot be read.

    """

    id: str
    place: str
    key: bytes = b""
    text: str = ""
    failure: Failure | None = None

    @classmethod
    def of(cls, item: Item) -> "Entry":
        """Read an item; an error becomes a failure of this README, as in a batch."""
        try:
            readme = item.read()
            return cls(item.id, readme.source, text_key(readme), readme.text)
        except Exception as error:  # whatever is odd about one of a million is its row
            return cls(item.id, item.place, failure=failure(item.id, error))


@dataclass(frozen=True)
class Group:
    """Equal READMEs, of which the model reads one.

    Attributes:
        key: what they have in common; empty for one that cannot be read.
        text: the text.
        named: id and place of each.
        failure: why it cannot be read.

    """

    key: bytes
    text: str
    named: tuple[tuple[str, str], ...]
    failure: Failure | None = None

    @classmethod
    def of(cls, entry: Entry) -> "Group":
        """Return a group of one."""
        return cls(entry.key, entry.text, ((entry.id, entry.place),), entry.failure)

    def items(self) -> Iterator[Item]:
        """Yield the READMEs as a batch takes them."""
        for id_, place in self.named:
            readme = Readme(id_, self.text, place)
            yield Item(id_, place, lambda readme=readme: readme)  # type: ignore[misc]


@dataclass(frozen=True)
class KeyedRow:
    """A row, and the key of the text that it is for."""

    row: Row
    key: bytes


def block_of(groups: Iterable[Group]) -> Any:
    """Return READMEs as a table, a row for those that are equal."""
    rows = list(groups)
    pyarrow = arrow()
    text = pyarrow.string()
    return pyarrow.table(
        {
            "key": pyarrow.array([each.key for each in rows], pyarrow.binary()),
            "text": pyarrow.array([storable(each.text) for each in rows], text),
            "ids": pyarrow.array(
                [[id_ for id_, _ in each.named] for each in rows], pyarrow.list_(text)
            ),
            "places": pyarrow.array(
                [[storable(place) for _, place in each.named] for each in rows],
                pyarrow.list_(text),
            ),
            "failure": pyarrow.array([_written(each.failure) for each in rows], text),
        }
    )


def groups_of(block: Any) -> Iterator[Group]:
    """Yield the READMEs of a table that `block_of` has made."""
    for row in block.to_pylist():
        named = tuple(zip(row["ids"], row["places"], strict=True))
        failure = row["failure"] and Failure.model_validate(json.loads(row["failure"]))
        yield Group(row["key"], row["text"], named, failure)


def packed(rows: Iterable[KeyedRow]) -> Any:
    """Return rows as a table, complete: ids of tags, and all digits of confidences."""
    tagged = list(rows)
    pyarrow = arrow()
    return pyarrow.table(
        {
            "reply": pyarrow.array([_written(each.row.reply) for each in tagged], pyarrow.string()),
            "tokens": pyarrow.array([each.row.tokens for each in tagged], pyarrow.int64()),
            "key": pyarrow.array([each.key for each in tagged], pyarrow.binary()),
        }
    )


def unpacked(table: Any) -> Iterator[KeyedRow]:
    """Yield the rows of a table that `packed` has made."""
    for row in table.to_pylist():
        reply = json.loads(row["reply"])
        kind = Failure if "message" in reply else Tagging
        yield KeyedRow(Row(kind.model_validate(reply), row["tokens"]), row["key"])


def _written(reply: Tagging | Failure | None) -> str | None:
    """Return JSON in ASCII, since lone surrogates cannot be encoded otherwise."""
    return None if reply is None else json.dumps(reply.model_dump())
