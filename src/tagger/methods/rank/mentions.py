"""How often a README mentions each tag by name: evidence beside the model's log-probabilities.

Words are compared case-folded and without a plural s, and a name of several words matches whatever
joins them ("game engine", "game-engine"). In scripts that do not separate words a name matches only
where it stands alone.
"""

import re

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
        for start, (_, position) in enumerate(words):
            node = self._names
            for place in range(start, len(words)):
                following = node.after.get(words[place][0])
                if following is None:
                    break
                node = following
                for tag in node.tags:
                    anywhere[tag] += 1
                    lead[tag] += position < LEAD
        counts = list(zip(anywhere, lead, strict=True))
        return torch.tensor(counts, dtype=torch.float32).log1p()


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
