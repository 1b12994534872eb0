"""How often a README mentions each tag by name: evidence beside the model's log-probabilities.

Words are compared case-folded and without a plural s, and a name of several words matches whatever
joins them ("game engine", "game-engine"). In scripts that do not separate words a name matches only
where it stands alone.
"""

import re
from collections.abc import Iterator

import torch
from torch import Tensor

from tagger.vocabulary import Vocabulary

LEAD = 500
"""Characters at the start of a README in which a mention counts for more."""

LIMIT = 20_000
"""Characters of a README that are searched."""

_WORD = re.compile(r"[^\W_]+(?:\+\+|#)?")

_PLURAL = 4
"""Letters from which on a word's last s is taken for a plural."""

_WITHIN = 3
"""Letters from which on a name counts as repeated where it is a part of a word, too."""

STUFFING_VERSION = 1
"""Changes with what counts as stuffed: readings depend on it."""

_STUFFED = 3
"""A text is stuffed that repeats a name so often, if that is more than one of so many words."""


class Mentions:
    """Counts the mentions of a vocabulary's tags."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._names = _Node()
        for index, tag in enumerate(vocabulary):
            for name in {tuple(word for word, _ in _words(name)) for name in tag.names}:
                node = self._names
                for word in name:
                    node = node.after.setdefault(word, _Node())
                node.tags.append(index)
        self._names.tags.clear()  # a name without a letter or digit is found nowhere
        self._size = len(vocabulary)

    def count(self, text: str) -> Tensor:
        """Return [tags, 2] log(1 + mentions), anywhere in the text and in its lead."""
        anywhere, lead = [0] * self._size, [0] * self._size
        words = _words(text[:LIMIT])
        for start, _, tags in self._find(words):
            for tag in tags:
                anywhere[tag] += 1
                lead[tag] += words[start][1] < LEAD
        counts = list(zip(anywhere, lead, strict=True))
        return torch.tensor(counts, dtype=torch.float32).log1p()

    def stuffed(self, text: str) -> bool:
        """Return whether a sentence does little but repeat the name of one tag."""
        places = _words(text)
        words = [word for word, _ in places]
        joined = " ".join(words)
        found = {id(tags): (start, stop) for start, stop, tags in self._find(places)}
        for start, stop in found.values():
            name = " ".join(words[start:stop])
            times = joined.count(name) if len(name) >= _WITHIN else words.count(name)
            if times >= _STUFFED and _STUFFED * times * (stop - start) > len(words):
                return True
        return False

    def _find(self, words: list[tuple[str, int]]) -> Iterator[tuple[int, int, list[int]]]:
        """Yield for each name where it starts and ends among words, and whose name it is."""
        for start in range(len(words)):
            node = self._names
            for place in range(start, len(words)):
                following = node.after.get(words[place][0])
                if following is None:
                    break
                node = following
                if node.tags:
                    yield start, place + 1, node.tags


class _Node:
    """Where some words lead: to the tags of that name, and to the words that may follow."""

    def __init__(self) -> None:
        self.tags: list[int] = []
        self.after: dict[str, _Node] = {}


def _words(text: str) -> list[tuple[str, int]]:
    """Return the words of a text in the form that is compared, with their positions in it."""
    return [(_singular(match[0]), match.start()) for match in _WORD.finditer(text.casefold())]


def _singular(word: str) -> str:
    plural = len(word) >= _PLURAL and word.endswith("s") and not word.endswith("ss")
    return word[:-1] if plural else word
