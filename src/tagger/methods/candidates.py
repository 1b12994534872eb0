"""All tags of a vocabulary as one tree of tokens, to be scored together.

The model's turn is opened with `{"tags": ["`; each tag is one way to go on. Ways that begin alike
share their beginning, so that one forward pass over the tree's inner nodes gives the probability
of every tag: a node is computed once for all tags behind it, and a tag's last token needs no
computation of its own, because its probability is read off its parent.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from tagger.errors import VocabularyError
from tagger.models.tokenizer import ChatTokenizer
from tagger.vocabulary import Vocabulary

OPENING = '{"tags": ["'
QUOTE = '"'


@dataclass(frozen=True)
class CandidateTree:
    """The tree, as the index arrays that scoring needs. Row 0 is the context's last position.

    Attributes:
        root: tokens that all tags share, to be appended to the context.
        tokens: [nodes] token of each inner node; node i is row i + 1.
        depths: [nodes] distance from the root, from 1.
        ancestry: [nodes, nodes] true where the column is the row's node or an ancestor of it.
        step_tags: [steps] the tag that a step belongs to.
        step_rows: [steps] the row that a step's probability is read from.
        step_tokens: [steps] the token whose probability is read.
        close_tags: [closes] tags that another tag extends, whose end must be scored too.
        close_rows: [closes] the row that predicts their closing quote.
        quotes: [quotes] all tokens that begin with the closing quote.
        size: the number of tags.

    """

    root: tuple[int, ...]
    tokens: Tensor
    depths: Tensor
    ancestry: Tensor
    step_tags: Tensor
    step_rows: Tensor
    step_tokens: Tensor
    close_tags: Tensor
    close_rows: Tensor
    quotes: Tensor
    size: int

    @classmethod
    def build(cls, vocabulary: Vocabulary, tokenizer: ChatTokenizer) -> Self:
        """Lay out the tree of a vocabulary in one model's tokens.

        Raises:
            VocabularyError: two names that the tokenizer cannot tell apart.

        """
        opening = tokenizer.encode(OPENING)
        # A name's first character may merge with the opening quote (`["` + `.net`), so the two
        # are tokenised together and the root is what all of them have in common.
        ways = [
            tokenizer.encode(OPENING + json.dumps(tag.label, ensure_ascii=False)[1:-1])
            for tag in vocabulary
        ]
        shared = _common_prefix([opening, *ways])
        tails = [tuple(way[shared:]) for way in ways]
        _check_distinct(vocabulary, tails)

        inner = sorted({tail[:end] for tail in tails for end in range(1, len(tail))})
        row = {(): 0} | {node: index for index, node in enumerate(inner, start=1)}
        ancestry = torch.zeros(len(inner), len(inner), dtype=torch.bool)
        for node in inner:
            for end in range(1, len(node) + 1):
                ancestry[row[node] - 1, row[node[:end]] - 1] = True
        steps = [
            (index, row[tail[:end]], tail[end])
            for index, tail in enumerate(tails)
            for end in range(len(tail))
        ]
        closes = [(index, row[tail]) for index, tail in enumerate(tails) if tail in row]
        step_tags, step_rows, step_tokens = _columns(steps, 3)
        close_tags, close_rows = _columns(closes, 2)
        return cls(
            root=tuple(opening[:shared]),
            tokens=torch.tensor([node[-1] for node in inner], dtype=torch.long),
            depths=torch.tensor([len(node) for node in inner], dtype=torch.long),
            ancestry=ancestry,
            step_tags=step_tags,
            step_rows=step_rows,
            step_tokens=step_tokens,
            close_tags=close_tags,
            close_rows=close_rows,
            quotes=torch.tensor(tokenizer.starting_with(QUOTE), dtype=torch.long),
            size=len(tails),
        )

    @property
    def depth(self) -> int:
        """The number of tokens on the longest way."""
        return int(self.depths.max()) + 1 if len(self.depths) else 1

    def log_probs(self, logits: Tensor) -> Tensor:
        """Return the log-probability of every tag.

        Args:
            logits: [1 + nodes, words] float32 logits over the model's whole vocabulary, the
                context's last position first.

        Returns:
            [tags] sums of the log-probabilities of each tag's tokens and, where another tag goes
            on from its end, of the closing quote, which is the total over all tokens that begin
            with one.

        """
        totals = logits.logsumexp(dim=-1)
        steps = logits[self.step_rows, self.step_tokens] - totals[self.step_rows]
        scores = torch.zeros(self.size).index_add(0, self.step_tags, steps)
        if len(self.close_tags):
            closing = logits[self.close_rows][:, self.quotes].logsumexp(dim=-1)
            scores = scores.index_add(0, self.close_tags, closing - totals[self.close_rows])
        return scores


def _common_prefix(sequences: Sequence[Sequence[int]]) -> int:
    """Return how many leading items all sequences share."""
    for index, column in enumerate(zip(*sequences, strict=False)):
        if len(set(column)) > 1:
            return index
    return min(map(len, sequences))


def _check_distinct(vocabulary: Vocabulary, tails: list[tuple[int, ...]]) -> None:
    seen: dict[tuple[int, ...], str] = {}
    for tag, tail in zip(vocabulary, tails, strict=True):
        if tail in seen:
            raise VocabularyError(
                f"the model reads the tags {seen[tail]!r} and {tag.name!r} as the same tokens: "
                "rename one"
            )
        seen[tail] = tag.name


def _columns(rows: Sequence[tuple[int, ...]], width: int) -> Tensor:
    """Return rows of integers as `width` index tensors."""
    return torch.tensor(rows, dtype=torch.long).reshape(-1, width).T
