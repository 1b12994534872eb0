"""All tags of a vocabulary as one tree of tokens, scored together.

The assistant's turn is opened, with `{"tags": ["` for example; each tag is one continuation.
Continuations share their common prefixes, so that one forward pass over the tree's inner nodes
gives the probability of every tag: a node is computed once for all tags below it, and a tag's last
token needs no computation of its own, because its probability is read off its parent.

Several questions about the same README make a forest: each is a branch that ends in a tree of its
own, and all of them go through the model in the same pass.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from tagger.errors import VocabularyError
from tagger.methods.rank.evidence import TagLogProbs
from tagger.models.tokenizer import ChatTokenizer
from tagger.vocabulary import Vocabulary

QUOTE = '"'


@dataclass(frozen=True)
class TagTree:
    """The tree, as the index arrays that scoring needs. Row 0 is the context's last position.

    Attributes:
        root: tokens that all tags share, to be appended to the context.
        tokens: [nodes] token of each inner node; node i is row i + 1.
        depths: [nodes] distance from the root, from 1.
        ancestors: [nodes, nodes] true where the column is the row's node or an ancestor of it.
        step_tags: [steps] the tag that a step belongs to.
        step_rows: [steps] the row that a step's probability is read from.
        step_tokens: [steps] the token whose probability is read.
        close_tags: [closes] tags whose name begins another tag's, so that their end is scored too.
        close_rows: [closes] the row that predicts their closing quote.
        quotes: [quotes] all tokens that begin with the closing quote.
        size: the number of tags.

    """

    root: tuple[int, ...]
    tokens: Tensor
    depths: Tensor
    ancestors: Tensor
    step_tags: Tensor
    step_rows: Tensor
    step_tokens: Tensor
    close_tags: Tensor
    close_rows: Tensor
    quotes: Tensor
    size: int

    @classmethod
    def build(cls, vocabulary: Vocabulary, tokenizer: ChatTokenizer, opening: str) -> Self:
        """Build the tree of a vocabulary in one model's tokens.

        Args:
            vocabulary: the tags.
            tokenizer: the model's tokenizer.
            opening: what the assistant's turn begins with, up to the quote before a tag.

        Raises:
            VocabularyError: two names have the same tokens.

        """
        prefix = tokenizer.encode(opening)
        # A name's first character may merge with the opening quote (`["` + `.net`), so the two
        # are tokenised together and the root is the common prefix of all of them.
        paths = [
            tokenizer.encode(opening + json.dumps(tag.label, ensure_ascii=False)[1:-1])
            for tag in vocabulary
        ]
        shared = _common_prefix([prefix, *paths])
        tails = [tuple(path[shared:]) for path in paths]
        _check_distinct(vocabulary, tails)

        tokens, depths, ancestors, rows = _nodes(tails)
        steps = [
            (index, row, token)
            for index, (tail, path) in enumerate(zip(tails, rows, strict=True))
            for row, token in zip(path, tail, strict=False)
        ]
        # A path goes on to the tag's own last node where that begins another tag.
        closes = [
            (index, path[-1]) for index, path in enumerate(rows) if len(path) > len(tails[index])
        ]
        step_tags, step_rows, step_tokens = _columns(steps, 3)
        close_tags, close_rows = _columns(closes, 2)
        return cls(
            root=tuple(prefix[:shared]),
            tokens=tokens,
            depths=depths,
            ancestors=ancestors,
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
        """The number of tokens from the root to the end of the longest tag."""
        return int(self.depths.max()) + 1 if len(self.depths) else 1

    @cached_property
    def _tag_rows(self) -> Tensor:
        """[tags, 1 + nodes] true where a tag's probability is read from the row."""
        rows = torch.zeros(self.size, 1 + len(self.tokens), dtype=torch.bool)
        rows[self.step_tags, self.step_rows] = True
        rows[self.close_tags, self.close_rows] = True
        return rows

    @cached_property
    def token_ids(self) -> Tensor:
        """Ids of all tokens whose probability is read."""
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
        """Return the tree with only the nodes that some tags need.

        It gives the log-probability of these tags, and for the others an upper bound: that of as
        much of their names as it holds, which is their first token at least.

        Args:
            tags: [tags] true for each tag that is needed.

        """
        mask = self._rows_for(tags)
        rows = mask.cumsum(0) - 1
        steps, closes = mask[self.step_rows], mask[self.close_rows]
        inner = mask[1:]
        return replace(
            self,
            tokens=self.tokens[inner],
            depths=self.depths[inner],
            ancestors=self.ancestors[inner][:, inner],
            step_tags=self.step_tags[steps],
            step_rows=rows[self.step_rows[steps]],
            step_tokens=self.step_tokens[steps],
            close_tags=self.close_tags[closes],
            close_rows=rows[self.close_rows[closes]],
        )

    def covered(self, tags: Tensor) -> Tensor:
        """Return which [tags] `part` gives exactly when these [tags] are needed."""
        return ~(self._tag_rows & ~self._rows_for(tags)).any(dim=1)

    def _rows_for(self, tags: Tensor) -> Tensor:
        """Return which [1 + nodes] rows some tags need; the context's row is always among them."""
        mask = self._tag_rows[tags].any(dim=0)
        mask[0] = True
        return mask

    def first_log_probs(self, logits: Tensor) -> Tensor:
        """Return [tags] the log-probability of every tag's first token.

        Args:
            logits: [vocab_size] of the context's last position.

        """
        first = self.step_rows == 0
        log_probs = logits.log_softmax(dim=-1)[self.step_tokens[first]]
        return logits.new_zeros(self.size).index_add(0, self.step_tags[first], log_probs)

    def log_probs(self, logits: Tensor) -> Tensor:
        """Return the log-probability of every tag.

        Args:
            logits: [1 + nodes, vocab_size] float32 logits over the model's whole vocabulary, the
                context's last position first.

        Returns:
            [tags] sums of the log-probabilities of each tag's tokens and, where the name begins
            another tag's, of the closing quote: the total probability of all tokens that begin
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
    """Several branches after one README, each a question that ends in a tree of tags.

    Attributes:
        tokens: [nodes] token of each node: those of the questions and of their trees, and before
            them those of the README where it is not in the KV cache.
        depths: [nodes] distance from the last token before the nodes, from 1.
        ancestors: [nodes, nodes] true where the column is the row's node or an ancestor of it.
        visible: [nodes, tokens] which tokens before the README each node attends to.
        trees: the tree of each branch.
        rows: for each branch, the nodes that its tree is scored from, the last token before the
            tree first.

    """

    tokens: Tensor
    depths: Tensor
    ancestors: Tensor
    visible: Tensor
    trees: tuple[TagTree, ...]
    rows: tuple[Tensor, ...]

    @classmethod
    def build(
        cls,
        endings: Sequence[Sequence[int]],
        trees: Sequence[TagTree],
        visibilities: Sequence[Tensor],
    ) -> Self:
        """Append trees to questions.

        Args:
            endings: [branches] ids of each question, at least one.
            trees: [branches] the tree that follows each question.
            visibilities: [branches] which [tokens] before the README each branch attends to.

        """
        tokens, depths, rows, blocks = [], [], [], []
        start = 0
        for ending, tree in zip(endings, trees, strict=True):
            stem = torch.tensor([*ending, *tree.root], dtype=torch.long)
            size = len(stem) + len(tree.tokens)
            tokens += [stem, tree.tokens]
            depths += [torch.arange(1, len(stem) + 1), len(stem) + tree.depths]
            block = torch.ones(size, size, dtype=torch.bool).tril()
            block[len(stem) :, len(stem) :] = tree.ancestors
            blocks.append(block)
            rows.append(torch.arange(start + len(stem) - 1, start + size))
            start += size
        visible = [
            row.expand(len(block), -1) for row, block in zip(visibilities, blocks, strict=True)
        ]
        return cls(
            tokens=torch.cat(tokens),
            depths=torch.cat(depths),
            ancestors=torch.block_diag(*blocks).bool(),  # type: ignore[no-untyped-call]
            visible=torch.cat(visible),
            trees=tuple(trees),
            rows=tuple(rows),
        )

    def after(self, readme: Sequence[int], visible: Tensor) -> Self:
        """Return the forest with a README's tokens as its first nodes, which all others follow.

        Args:
            readme: the tokens.
            visible: [tokens] which of those before the README each of its own attends to.

        """
        length, size = len(readme), len(readme) + len(self.tokens)
        ancestors = torch.ones(size, size, dtype=torch.bool).tril_()
        ancestors[length:, length:] = self.ancestors
        return replace(
            self,
            tokens=torch.cat([torch.tensor(readme, dtype=torch.long), self.tokens]),
            depths=torch.cat([torch.arange(1, length + 1), length + self.depths]),
            ancestors=ancestors,
            visible=torch.cat([visible.expand(length, -1), self.visible]),
            rows=tuple(length + rows for rows in self.rows),
        )

    @cached_property
    def output_nodes(self) -> Tensor:
        """The nodes whose logits are needed, branch by branch."""
        return torch.cat(self.rows)

    @cached_property
    def token_ids(self) -> Tensor:
        """Ids of all tokens whose probability is read."""
        return torch.cat([tree.token_ids for tree in self.trees])

    def to(self, device: torch.device) -> Self:
        """Return the forest with its trees on a device, where they are then scored."""
        return replace(self, trees=tuple(tree.to(device) for tree in self.trees))

    def log_probs(self, logits: Tensor) -> TagLogProbs:
        """Return the log-probability of every tag, [branches, tags], on the CPU.

        Args:
            logits: [output nodes, vocab_size] on the device of the trees.

        """
        parts = torch.split(logits, [len(rows) for rows in self.rows])
        full = [tree.log_probs(part) for tree, part in zip(self.trees, parts, strict=True)]
        first = [
            tree.first_log_probs(part[0]) for tree, part in zip(self.trees, parts, strict=True)
        ]
        return TagLogProbs(torch.stack(full).cpu(), torch.stack(first).cpu())


def _common_prefix(sequences: Sequence[Sequence[int]]) -> int:
    """Return how many leading items all sequences share."""
    for index, column in enumerate(zip(*sequences, strict=False)):
        if len(set(column)) > 1:
            return index
    return min(map(len, sequences))


def _nodes(tails: Sequence[tuple[int, ...]]) -> tuple[Tensor, Tensor, Tensor, list[list[int]]]:
    """Return the inner nodes of a tree, in the order of their paths.

    Sorted tails are a walk through the tree: each leaves the path of the one before it where the
    two first differ, so that the work grows with the number of tokens, however long a name is.

    Args:
        tails: the tokens of each tag below the root, all different.

    Returns:
        [nodes] tokens, [nodes] depths and [nodes, nodes] ancestors, as in `TagTree`, and for each
        tag the rows on its way: 0, and those of its inner nodes. Its last token has a row only
        where the tag begins another one.

    """
    order = sorted(range(len(tails)), key=tails.__getitem__)
    tokens: list[int] = []
    parents: list[int] = []  # rows
    depths: list[int] = []
    rows: list[list[int]] = [[] for _ in tails]
    path: list[int] = [0]
    before: tuple[int, ...] = ()
    for place, index in enumerate(order):
        tail = tails[index]
        after = tails[order[place + 1]] if place + 1 < len(order) else ()
        shared = _common_prefix([before, tail])
        del path[shared + 1 :]
        inner = len(tail) if after[: len(tail)] == tail else len(tail) - 1
        for token in tail[len(path) - 1 : inner]:
            tokens.append(token)
            parents.append(path[-1])
            depths.append(len(path))
            path.append(len(tokens))
        rows[index] = path[: inner + 1]
        before = tail
    ancestors = torch.eye(len(tokens), dtype=torch.bool)
    for node, parent in enumerate(parents):
        if parent:
            ancestors[node] |= ancestors[parent - 1]
    return (
        torch.tensor(tokens, dtype=torch.long),
        torch.tensor(depths, dtype=torch.long),
        ancestors,
        rows,
    )


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
