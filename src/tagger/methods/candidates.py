"""All tags of a vocabulary as one tree of tokens, to be scored together.

The model's turn is opened, with `{"tags": ["` for example; each tag is one way to go on. Ways that
begin alike share their beginning, so that one forward pass over the tree's inner nodes gives the
probability of every tag: a node is computed once for all tags behind it, and a tag's last token
needs no computation of its own, because its probability is read off its parent.

Several questions about the same README are a forest: each is a branch that ends in a tree of its
own, and all of them go through in the same pass.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from tagger.errors import VocabularyError
from tagger.methods.answers import Answers
from tagger.models.tokenizer import ChatTokenizer
from tagger.vocabulary import Vocabulary

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
    def build(cls, vocabulary: Vocabulary, tokenizer: ChatTokenizer, opening: str) -> Self:
        """Lay out the tree of a vocabulary in one model's tokens.

        Args:
            vocabulary: the tags.
            tokenizer: the model's tokenizer.
            opening: what the model's turn begins with, up to the quote before a tag.

        Raises:
            VocabularyError: two names that the tokenizer cannot tell apart.

        """
        opened = tokenizer.encode(opening)
        # A name's first character may merge with the opening quote (`["` + `.net`), so the two
        # are tokenised together and the root is what all of them have in common.
        ways = [
            tokenizer.encode(opening + json.dumps(tag.label, ensure_ascii=False)[1:-1])
            for tag in vocabulary
        ]
        shared = _common_prefix([opened, *ways])
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
            root=tuple(opened[:shared]),
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

    @cached_property
    def needs(self) -> Tensor:
        """[tags, 1 + nodes] true where a tag's probability is read from the row."""
        needs = torch.zeros(self.size, 1 + len(self.tokens), dtype=torch.bool)
        needs[self.step_tags, self.step_rows] = True
        needs[self.close_tags, self.close_rows] = True
        return needs

    @cached_property
    def words(self) -> Tensor:
        """The words whose probability is read somewhere."""
        return torch.cat([self.step_tokens, self.quotes])

    def to(self, device: torch.device) -> Self:
        """Return the tree on a device."""
        tensors: dict[str, Any] = {
            field.name: value.to(device)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **tensors)

    def part(self, tags: Tensor) -> Self:
        """Return the tree with only those nodes that some tags need, [tags] true for each of them.

        It gives the log-probability of these tags, and for the others an upper bound: that of as
        much of their names as it holds, which is their first token at least.
        """
        kept = self._kept(tags)
        rows = kept.cumsum(0) - 1
        steps, closes = kept[self.step_rows], kept[self.close_rows]
        inner = kept[1:]
        return replace(
            self,
            tokens=self.tokens[inner],
            depths=self.depths[inner],
            ancestry=self.ancestry[inner][:, inner],
            step_tags=self.step_tags[steps],
            step_rows=rows[self.step_rows[steps]],
            step_tokens=self.step_tokens[steps],
            close_tags=self.close_tags[closes],
            close_rows=rows[self.close_rows[closes]],
        )

    def covered(self, tags: Tensor) -> Tensor:
        """Return which [tags] the part of the tree that some tags need gives exactly."""
        return ~(self.needs & ~self._kept(tags)).any(dim=1)

    def _kept(self, tags: Tensor) -> Tensor:
        """Return which [1 + nodes] rows some tags need; the context's is there in any case."""
        kept = self.needs[tags].any(dim=0)
        kept[0] = True
        return kept

    def starts(self, logits: Tensor) -> Tensor:
        """Return the log-probability of every tag's first token, from the context's [words]."""
        first = self.step_rows == 0
        log_probs = logits.log_softmax(dim=-1)[self.step_tokens[first]]
        return logits.new_zeros(self.size).index_add(0, self.step_tags[first], log_probs)

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
        scores = logits.new_zeros(self.size).index_add(0, self.step_tags, steps)
        if len(self.close_tags):
            closing = logits[self.close_rows][:, self.quotes].logsumexp(dim=-1)
            scores = scores.index_add(0, self.close_tags, closing - totals[self.close_rows])
        return scores


@dataclass(frozen=True)
class Forest:
    """Several branches behind one README, each a question that ends in the tree of its answers.

    Attributes:
        tokens: [nodes] token of each node: the questions' own tokens and their trees'.
        depths: [nodes] distance from the README's last token, from 1.
        ancestry: [nodes, nodes] true where the column is the row's node or an ancestor of it.
        sight: [nodes, tokens] which tokens before the README each node sees.
        trees: the tree of each branch.
        rows: for each branch, the nodes that its tree is scored from, its context's last token
            first.

    """

    tokens: Tensor
    depths: Tensor
    ancestry: Tensor
    sight: Tensor
    trees: tuple[CandidateTree, ...]
    rows: tuple[Tensor, ...]

    @classmethod
    def build(
        cls,
        endings: Sequence[Sequence[int]],
        trees: Sequence[CandidateTree],
        sights: Sequence[Tensor],
    ) -> Self:
        """Plant trees behind questions.

        Args:
            endings: [branches] ids of each question, at least one.
            trees: [branches] the tree of its answers.
            sights: [branches] which [tokens] before the README the branch sees.

        """
        tokens, depths, rows, blocks = [], [], [], []
        start = 0
        for ending, tree in zip(endings, trees, strict=True):
            stem = torch.tensor([*ending, *tree.root], dtype=torch.long)
            size = len(stem) + len(tree.tokens)
            tokens += [stem, tree.tokens]
            depths += [torch.arange(1, len(stem) + 1), len(stem) + tree.depths]
            block = torch.ones(size, size, dtype=torch.bool).tril()
            block[len(stem) :, len(stem) :] = tree.ancestry
            blocks.append(block)
            rows.append(torch.arange(start + len(stem) - 1, start + size))
            start += size
        sight = [seen.expand(len(block), -1) for seen, block in zip(sights, blocks, strict=True)]
        return cls(
            tokens=torch.cat(tokens),
            depths=torch.cat(depths),
            ancestry=torch.block_diag(*blocks).bool(),  # type: ignore[no-untyped-call]
            sight=torch.cat(sight),
            trees=tuple(trees),
            rows=tuple(rows),
        )

    @cached_property
    def scored(self) -> Tensor:
        """The nodes that logits are needed of, branch by branch."""
        return torch.cat(self.rows)

    @cached_property
    def words(self) -> Tensor:
        """The words whose probability is read somewhere."""
        return torch.cat([tree.words for tree in self.trees])

    def to(self, device: torch.device) -> Self:
        """Return the forest with its trees on a device, to be scored there."""
        return replace(self, trees=tuple(tree.to(device) for tree in self.trees))

    def answers(self, logits: Tensor) -> Answers:
        """Return what the model says of every tag, [branches, tags], on the CPU.

        Args:
            logits: [scored, words] of the nodes that are scored, where the trees are.

        """
        found = torch.split(logits, [len(rows) for rows in self.rows])
        names = [tree.log_probs(part) for tree, part in zip(self.trees, found, strict=True)]
        starts = [tree.starts(part[0]) for tree, part in zip(self.trees, found, strict=True)]
        return Answers(torch.stack(names).cpu(), torch.stack(starts).cpu())


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
