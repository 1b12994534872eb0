"""From a batch's output to what a review looks up.

An output is read once, and again only when it has changed. What was suggested for a README that is
reviewed stays as it was then: what the review says of suggestions is about those that were judged.
Tags that a person has decided, which a batch has written, are not suggestions.
"""

import hashlib
import json
import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tagger._util.text import printable, storable
from tagger.batch.decisions import REVIEWED, Decisions
from tagger.batch.output import Place
from tagger.errors import InputError, UsageError
from tagger.readme.sources import MAX_LINE
from tagger.vocabulary import MAX_NAME, Vocabulary, fold

_LONGEST = 1_000
"""Characters of an error that are kept."""

_AT_ONCE = 1_000

_SHOWN = 10
"""Tags or READMEs that are named where something is missing."""

_TAKE = """
INSERT INTO readme (number, id, place, error, suspicious, chance, first, confidence, least)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (number) DO UPDATE SET place = excluded.place, error = excluded.error,
suspicious = excluded.suspicious, first = excluded.first, confidence = excluded.confidence,
least = excluded.least, origin = 0
"""

Pair = tuple[str, str]
"""The id and the name of a tag."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Row:
    """A line of an output."""

    id: str
    tags: tuple[tuple[Pair, float | None], ...] = ()
    error: str = ""
    suspicious: bool = False
    human: bool = False


def place_of(output: Path) -> Place:
    """Return the files of an output that is there.

    Raises:
        InputError: it is not.
        UsageError: it is a link, or no file.

    """
    _check_there(output)
    place = Place.of(output)
    _check_there(place.lines)
    return place


def index(
    database: sqlite3.Connection, store: Decisions, lines: Path, vocabulary: Vocabulary, seed: int
) -> None:
    """Take up the rows of an output, unless it is as it was, within a transaction.

    Args:
        database: that of the store.
        store: where they are kept.
        lines: the JSON Lines of the output.
        vocabulary: the tags as they are now.
        seed: of the random order; that of the first time stays.

    Raises:
        InputError: the output cannot be read, or is not a batch's.
        UsageError: it has other tags, or the store belongs to another output.

    """
    name = printable(str(lines))
    try:
        found = lines.stat()
    except OSError as error:
        raise InputError(f"{name}: {error.strerror}: name an output of tagger batch") from error
    state = f"{found.st_size} {found.st_mtime_ns}"
    settings = dict(database.execute("SELECT name, value FROM setting").fetchall())
    if settings.get("output") == state:
        _check_same_list(store, json.loads(settings["tags"]), name)
        return
    seed = int(settings.get("seed", seed))
    pairs = _take(database, store, _rows(lines, name, vocabulary), seed)
    store.names.settle(pairs)
    numbers = [store.names.number(*pair) for pair in pairs]
    unknown = _check_same_list(store, numbers, name)
    _check_same_output(database, store.name, name)
    database.executemany(
        "INSERT OR REPLACE INTO setting VALUES (?, ?)",
        [("output", state), ("seed", str(seed)), ("texts", ""), ("tags", json.dumps(numbers))],
    )
    if unknown:
        log.warning(
            "suggested tags that are not in the vocabulary are left out: %d (%s)",
            len(unknown),
            _listed(unknown),
        )


def _check_same_list(store: Decisions, numbers: Sequence[int], name: str) -> list[str]:
    """Refuse a list that lacks most of an output's tags. Return the names of those that it lacks.

    Args:
        store: knows the tags.
        numbers: those of the output's tags.
        name: what messages call the output.

    Raises:
        UsageError: it is another list.

    """
    unknown = [store.names.name(number) for number in numbers if store.tags[number] is None]
    if len(unknown) > len(numbers) / 2:
        raise UsageError(
            f"{name} was written with another list of tags: {len(unknown)} of its {len(numbers)} "
            f"tags are not in the vocabulary ({_listed(unknown)}); name the list that it was "
            "written with"
        )
    return unknown


def _listed(names: Sequence[str]) -> str:
    return ", ".join(printable(repr(each)) for each in names[:_SHOWN])


def _take(
    database: sqlite3.Connection, store: Decisions, rows: Iterator[_Row], seed: int
) -> list[Pair]:
    """Write rows, each id once. Return the tags that they name."""
    known = {
        id_: (number, state == REVIEWED)
        for id_, number, state in database.execute("SELECT id, number, state FROM readme")
    }
    database.execute("UPDATE readme SET place = NULL")
    pairs: dict[Pair, None] = {}
    met: set[int] = set()
    twice = 0
    while part := list(islice(rows, _AT_ONCE)):
        fresh, places, suggestions = [], [], []
        for row in part:
            old = row.id in known
            number, reviewed = known.setdefault(row.id, (len(known) + 1, False))
            if number in met:
                twice += 1
                continue
            met.add(number)
            pairs.update(dict.fromkeys(pair for pair, _ in row.tags))
            if reviewed or (old and row.human):
                places.append((len(met), number))
                continue
            found = [(store.names.number(*pair), sure) for pair, sure in row.tags]
            suggestions += [(number, 0, at, *each, not row.human) for at, each in enumerate(found)]
            about = (number, row.id, len(met), row.error, row.suspicious, chance(seed, row.id))
            fresh.append((*about, *summary([] if row.human else found)))
        database.executemany(_TAKE, fresh)
        database.executemany(
            "DELETE FROM suggestion WHERE readme = ?", [(about[0],) for about in fresh]
        )
        database.executemany("UPDATE readme SET place = ? WHERE number = ?", places)
        database.executemany("INSERT INTO suggestion VALUES (?, ?, ?, ?, ?, ?)", suggestions)
    database.execute(
        "DELETE FROM suggestion WHERE readme IN "
        "(SELECT number FROM readme WHERE place IS NULL AND state != ?)",
        (REVIEWED,),
    )
    if twice:
        log.warning("rows whose id came before are left out: %d", twice)
    return list(pairs)


def chance(seed: int, id_: str) -> int:
    """Return the place of a README in the random order, whatever the others are."""
    return int.from_bytes(hashlib.sha256(f"{seed}\n{id_}".encode()).digest()[:7])


def summary(
    given: Sequence[tuple[int, float | None]],
) -> tuple[int | None, float | None, float | None]:
    """Return the first tag, its confidence and the lowest, by which READMEs are put in order."""
    if not given:
        return None, None, None
    sure = [confidence for _, confidence in given if confidence is not None]
    return (*given[0], min(sure) if len(sure) == len(given) else None)


def _check_there(path: Path) -> None:
    if not path.exists():
        raise InputError(f"{printable(str(path))}: no such file: name an output of tagger batch")


def _check_same_output(database: sqlite3.Connection, store: str, output: str) -> None:
    """Refuse a store whose READMEs are all others. Say which of them are missing."""
    reviewed, gone = database.execute(
        "SELECT count(*), total(place IS NULL) FROM readme WHERE state = ?", (REVIEWED,)
    ).fetchone()
    if reviewed and gone == reviewed:
        raise UsageError(
            f"{store} is the review of another output: none of its {reviewed} reviewed READMEs is "
            f"in {output}; move it away to begin a review"
        )
    if gone:
        log.warning(
            "reviewed READMEs that are not in the output any more: %d of %d; their tags are kept",
            gone,
            reviewed,
        )


def _rows(lines: Path, name: str, vocabulary: Vocabulary) -> Iterator[_Row]:
    """Yield the rows of an output; those that cannot be read are counted and left out.

    Raises:
        InputError: none can be read.

    """
    pairs = [(str(tag.id), tag.name) for tag in vocabulary]
    by_word = {id_: (id_, name) for id_, name in pairs} | {
        fold(name): (id_, name) for id_, name in pairs
    }
    sound, faulty, number = 0, list[int](), 0
    with lines.open("rb") as file:
        while line := file.readline(MAX_LINE):
            number += 1
            try:
                row = _row(line, by_word)
            except (ValueError, TypeError, LookupError, RecursionError):
                faulty.append(number)
                continue
            sound += 1
            yield row
    if not sound:
        what = "has no rows" if not number else "has no line that is a row of tagger batch"
        raise InputError(f"{name}: {what}: name an output of tagger batch")
    if faulty:
        log.warning(
            "%s: lines that are not rows of a batch are left out: %d, the first: line %d",
            name,
            len(faulty),
            faulty[0],
        )


def _row(line: bytes, by_word: Mapping[str, Pair]) -> _Row:
    """Return what a line says. Raises `ValueError`, `TypeError` or `LookupError`."""
    found = json.loads(line)
    id_ = found["id"]
    if not isinstance(id_, str) or not id_:
        raise ValueError("no id")
    id_ = storable(id_)
    if "error" in found:
        return _Row(id_, error=storable(str(found["error"]["message"]))[:_LONGEST])
    if not isinstance(found["tags"], list):
        raise TypeError("no tags")
    tags = tuple(_tag(tag, by_word) for tag in found["tags"])
    if len({pair for pair, _ in tags}) < len(tags):
        raise ValueError("a tag twice")
    suspicious, human = found.get("suspicious") is True, found.get("source") == "human"
    return _Row(id_, tags, suspicious=suspicious, human=human)


def _tag(tag: object, by_word: Mapping[str, Pair]) -> tuple[Pair, float | None]:
    """Return a tag as replies write it, in any of their ways."""
    confidence = None
    if isinstance(tag, dict):
        confidence = tag.get("confidence")
        if confidence is not None and (confidence is True or not 0 <= confidence <= 1):
            raise ValueError("not a confidence")
        words = [_word(tag[key]) for key in ("id", "name") if key in tag]
    else:
        words = [_word(tag)]
    if len(words) == 2:
        return (words[0], words[1]), confidence
    return by_word.get(words[0]) or by_word.get(fold(words[0])) or (words[0], words[0]), confidence


def _word(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError("neither an id nor a name")
    word = storable(str(value))
    if not word or len(word) > MAX_NAME:
        raise ValueError("too long")
    return word
