"""Tags that are not in the vocabulary, and those of it that may be meant."""

from collections.abc import Iterable
from difflib import get_close_matches

from tagger._util.text import printable
from tagger.vocabulary import Vocabulary, fold

SHORT = 40
"""Characters of a tag or an id that are shown."""


def short(text: str) -> str:
    """Return a quotation of a text, at most of its beginning."""
    return printable(f"'{text[:SHORT]}…'" if len(text) > SHORT else f"'{text}'")


class Nearest:
    """Finds what may be meant by a tag that a vocabulary does not have."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._known = {fold(tag.name): tag.label for tag in vocabulary}

    def unknown(self, tags: Iterable[str]) -> list[str]:
        """Return those of some tags that are not names of the vocabulary."""
        return [tag for tag in tags if fold(tag) not in self._known]

    def __getitem__(self, tag: str) -> str | None:
        """Return the nearest tag of the vocabulary, or None where none is near."""
        near = get_close_matches(fold(tag)[:SHORT], self._known, n=1)
        return self._known[near[0]] if near else None

    def suggest(self, tag: str) -> str:
        """Return a tag for people, with the nearest of the vocabulary."""
        near = self[tag]
        return short(tag) + (f" (did you mean {short(near)}?)" if near else "")
