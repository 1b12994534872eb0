"""What is wrong or doubtful with a list of tags, all at once."""

import difflib
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from itertools import combinations, starmap
from operator import or_
from pathlib import Path
from typing import Any, NamedTuple, Self

from tagger._util.reading import read_bounded
from tagger._util.text import printable
from tagger.errors import VocabularyError
from tagger.vocabulary import MAX_BYTES, Vocabulary, fold

_ALIKE = 0.92
"""Share of equal characters from which two names are near-duplicates (difflib's ratio)."""

_COMPARED = 2_000
"""Names beyond which near-duplicates are looked for by their bare form alone."""

_WORK = 10_000_000
"""How much may be compared in all, in products of two names' lengths: that takes seconds."""


def read_entries(path: Path) -> list[Any]:
    """Return the entries of a vocabulary file, sound or not.

    Raises:
        VocabularyError: it cannot be read, or is not a JSON list.

    """
    try:
        return list(Vocabulary.load(path))
    except VocabularyError:
        try:
            entries = json.loads(read_bounded(path, MAX_BYTES).removeprefix(b"\xef\xbb\xbf"))
        except (OSError, ValueError, RecursionError):
            entries = None
        if not isinstance(entries, list) or not entries:
            raise
        return entries


def problems(entries: Sequence[Any]) -> Iterator[str]:
    """Yield what keeps entries from being a vocabulary, and what is odd about them."""
    names: list[tuple[int, str]] = []
    ids: dict[str, int] = {}
    if len({isinstance(entry, str) for entry in entries}) > 1:
        yield "names and objects are mixed: use one of the two"
    for position, entry in enumerate(entries, start=1):
        try:
            (tag,) = Vocabulary.from_json(json.dumps([_plain(entry)]))
        except VocabularyError as error:
            yield str(error).replace("tag 1", f"tag {position}", 1)
            continue
        if (first := ids.setdefault(str(tag.id), position)) != position:
            yield f"tags {first} and {position} share the id {tag.id!r}"
        names.append((position, tag.name))
        if tag.name != tag.name.strip() or re.search(r"\s\s|[^\S ]", tag.name):
            yield f"tag {position} has odd spacing: {tag.name!r}"
        if any(unicodedata.category(char) in ("Cc", "Cf") for char in tag.name):
            yield f"tag {position} holds characters that nobody sees: {printable(tag.name)}"
    yield from _alike(names)


def same_tokens(vocabulary: Vocabulary, encode: Callable[[str], list[int]]) -> Iterator[str]:
    """Yield the tags that a model cannot tell apart."""
    by_tokens: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for tag in vocabulary:
        by_tokens[tuple(encode(tag.label))].append(tag.name)
    for names in by_tokens.values():
        if len(names) > 1:
            yield f"the model reads these as the same tokens: {', '.join(map(repr, names))}"


def _plain(entry: Any) -> Any:
    return entry.model_dump() if hasattr(entry, "model_dump") else entry


class _Name(NamedTuple):
    """A tag's name: where it stands, as given, as compared, and the letters in it as a bit set."""

    position: int
    given: str
    folded: str
    letters: int

    @classmethod
    def of(cls, position: int, name: str) -> Self:
        folded = fold(name)
        letters = reduce(or_, (1 << ord(letter) % 64 for letter in folded), 0)
        return cls(position, name, folded, letters)


def _alike(names: Sequence[tuple[int, str]]) -> Iterator[str]:
    """Yield names that are the same, or nearly so."""
    folded: dict[str, int] = {}
    bare: dict[str, _Name] = {}
    for name in starmap(_Name.of, names):
        if (first := folded.setdefault(name.folded, name.position)) != name.position:
            yield f"tags {first} and {name.position} share the name {name.given!r}"
        elif (earlier := bare.setdefault(_bare(name.folded), name)) is not name:
            yield _nearly_the_same(earlier, name)
    if len(names) <= _COMPARED:
        yield from _similar(list(bare.values()))


def _nearly_the_same(one: _Name, other: _Name) -> str:
    positions = f"tags {one.position} and {other.position}"
    return f"{positions} are nearly the same: {one.given!r} and {other.given!r}"


def _bare(name: str) -> str:
    """Return a name without what does not tell tags apart: separators, and an s at its end."""
    letters = re.sub(r"[\s_\-./]+", "", name)
    return letters[:-1] if len(letters) > 3 and letters.endswith("s") else letters


def _similar(names: Sequence[_Name]) -> Iterator[str]:
    """Yield pairs of names that share most of their characters."""
    work = 0
    for one, other in combinations(names, 2):
        if not _may_be_similar(one, other):
            continue
        work += len(one.folded) * len(other.folded)
        if work > _WORK:
            yield "so many long names are so alike that not all of them were compared"
            return
        if difflib.SequenceMatcher(None, one.folded, other.folded).ratio() >= _ALIKE:
            yield _nearly_the_same(one, other)


def _may_be_similar(one: _Name, other: _Name) -> bool:
    """Return False for names whose lengths or letters alone show that they differ too much."""
    lengths = len(one.folded), len(other.folded)
    # Names of one length that are not the same differ in two characters: one of each.
    fewest = max(abs(lengths[0] - lengths[1]) or 2, (one.letters ^ other.letters).bit_count())
    return min(lengths) > 5 and fewest <= (1 - _ALIKE) * sum(lengths)
