"""What is wrong or doubtful with a list of tags, all at once."""

import difflib
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tagger.errors import VocabularyError
from tagger.text import printable
from tagger.vocabulary import Vocabulary, fold

_ALIKE = 0.92
"""Share of equal characters from which two names are near-duplicates (difflib's ratio)."""

_COMPARED = 2_000
"""Names beyond which near-duplicates are looked for by their bare form alone."""


def read_entries(path: Path) -> list[Any]:
    """Return the entries of a vocabulary file, sound or not.

    Raises:
        VocabularyError: it cannot be read, or is no JSON list.

    """
    try:
        return list(Vocabulary.load(path))
    except VocabularyError:
        try:
            entries = json.loads(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
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


def _alike(names: Sequence[tuple[int, str]]) -> Iterator[str]:
    """Yield names that are the same, or nearly so."""
    folded: dict[str, int] = {}
    bare: dict[str, tuple[int, str]] = {}
    seen: list[tuple[int, str]] = []
    for position, name in names:
        key = fold(name)
        if (first := folded.setdefault(key, position)) != position:
            yield f"tags {first} and {position} share the name {name!r}"
            continue
        short = _bare(key)
        if short in bare:
            other, earlier = bare[short]
            yield f"tags {other} and {position} are nearly the same: {earlier!r} and {name!r}"
        else:
            bare[short] = position, name
            if len(names) <= _COMPARED:
                yield from (
                    f"tags {other} and {position} are nearly the same: {earlier!r} and {name!r}"
                    for other, earlier in seen
                    if _similar(fold(earlier), key)
                )
            seen.append((position, name))


def _bare(name: str) -> str:
    """Return a name without what does not tell tags apart: separators, and an s at its end."""
    letters = re.sub(r"[\s_\-./]+", "", name)
    return letters[:-1] if len(letters) > 3 and letters.endswith("s") else letters


def _similar(one: str, other: str) -> bool:
    matcher = difflib.SequenceMatcher(None, one, other)
    return (
        min(len(one), len(other)) > 5
        and matcher.real_quick_ratio() >= _ALIKE
        and matcher.quick_ratio() >= _ALIKE
        and matcher.ratio() >= _ALIKE
    )
