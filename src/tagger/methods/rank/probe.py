"""Find what a README says to whoever tags it, rather than about the project.

A model follows what it has read: one sentence that orders a tag, or a line that repeats it, would
decide the reply. What such passages have in common is not their words but that they speak of tags,
topics and answers instead of a project, in whatever language, and a model's hidden states tell that
apart. So a linear probe (Alain and Bengio 2016, "Understanding intermediate layers using linear
classifier probes") on the mean hidden state of each passage finds them.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Self

import torch
from pydantic import BaseModel, ConfigDict, TypeAdapter
from torch import Tensor

from tagger._util.hashing import digest

LONGEST = 32
"""Tokens of a passage; longer sentences are several passages, so that nothing hides in them."""

_SENTENCE = re.compile(r"\n+|(?<=[.!?])\s+|(?<=[。！？])")


@dataclass(frozen=True)
class Passage:
    """A sentence of a README, or a part of a long one.

    Attributes:
        tokens: its tokens among those that were read.
        text: its characters in the README's plain text.

    """

    tokens: slice
    text: slice


def passages(text: str, ends: Sequence[int]) -> list[Passage]:
    """Return the passages of a README.

    Args:
        text: its plain text.
        ends: for each token that was read, the index in `text` behind its last character.

    """
    starts = [0, *(found.end() for found in _SENTENCE.finditer(text, 0, ends[-1]))]
    sentences = [bisect_right(starts, max(end - 1, 0)) for end in ends]
    found, first = [], 0
    for place in range(1, len(ends) + 1):
        if place == len(ends) or sentences[place] != sentences[first] or place - first == LONGEST:
            start = ends[first - 1] if first else 0
            found.append(Passage(slice(first, place), slice(start, ends[place - 1])))
            first = place
    return found


@dataclass(frozen=True)
class Probe:
    """A linear probe on hidden states after the feature layer.

    There are two thresholds (hysteresis; Canny 1986, "A Computational Approach to Edge Detection"):
    a doubtful passage stays in a README until another one is surely planted.

    Attributes:
        weights: [hidden] of the mean hidden state of a passage; they give its score.
        sure: the score beyond which a passage was planted.
        doubtful: the same, in a README with planted passages.

    """

    weights: Tensor
    sure: float
    doubtful: float

    @classmethod
    def shipped(cls, model: str) -> Self | None:
        """Return the probe that ships for a model, or None where there is none."""
        row = _shipped().get(model)
        return cls(torch.tensor(row.weights), row.sure, row.doubtful) if row else None

    def find(
        self, text: str, ends: Sequence[int], states: Tensor, *, suspicious: bool = False
    ) -> list[Passage]:
        """Return the passages of a README that were planted.

        Args:
            text: the README's plain text.
            ends: for each token that was read, the index in `text` behind its last character.
            states: [tokens, hidden] the tokens' hidden states; more of them are padding.
            suspicious: whether planted passages were found in it before.

        """
        of_tokens = states.float().cpu() @ self.weights
        found = passages(text, ends)
        scores = [float(of_tokens[passage.tokens].mean()) for passage in found]
        threshold = self.doubtful if suspicious or max(scores) > self.sure else self.sure
        return [passage for passage, score in zip(found, scores, strict=True) if score > threshold]

    @property
    def digest(self) -> str:
        """A digest of the whole."""
        return digest([self.weights.tolist(), self.sure, self.doubtful])


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: list[float]
    sure: float
    doubtful: float


@cache
def _shipped() -> dict[str, _Row]:
    content = (files(__package__) / "probes.json").read_bytes()
    return TypeAdapter(dict[str, _Row]).validate_json(content)
