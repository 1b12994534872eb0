"""Passes of the model over READMEs: to read them, to ask about their tags, or both at once."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from tagger.errors import LoadError
from tagger.methods.rank.evidence import TagLogProbs
from tagger.methods.rank.layout import Layout, is_small
from tagger.methods.rank.prefix import Prefix
from tagger.methods.rank.tree import Forest, TagTree
from tagger.models.kv import KVCache, concat
from tagger.models.language import LanguageModel

_HALF = 65_504.0
"""The largest number of float16."""


class Passes:
    """Runs a model over READMEs that are laid out with a list of tags.

    Args:
        model: the language model.
        layout: the prompt, its lists and its trees of tags.
        key: a digest of everything that the KV caches of the prompt depend on, under which they
            are kept on disk; None keeps them in memory only.

    """

    def __init__(self, model: LanguageModel, layout: Layout, key: str | None) -> None:
        self._model = model
        self._layout = layout
        self._prefix = Prefix(model, layout, key)

    def prepare(self) -> None:
        """Load the model and prefill the lists of tags, unless they are cached."""
        self._model.load()
        _ = self._prefix.caches

    def prefill(self, readmes: Sequence[Sequence[int]]) -> tuple[KVCache, Tensor]:
        """Return the KV cache of everything before the questions, READMEs included.

        Returns:
            The KV cache, and [READMEs, tokens, hidden] the hidden states of the READMEs' tokens
            after the feature layer; those of shorter READMEs are followed by padding.

        Raises:
            OutOfMemoryError: the pass needs more memory than there is.

        """
        tail, states = self._model.read(readmes, self._prefix.of_readmes)
        return concat(*self._prefix.caches, tail), states

    def read_and_score(
        self, readme: Sequence[int], *, brief: bool = False
    ) -> tuple[TagLogProbs, Tensor, Tensor]:
        """Read a README that attends to the list, and score all tags, in one pass.

        For one README this is faster than two passes: much of a short one is fetching the weights
        from memory.

        Args:
            readme: its tokens.
            brief: whether to score as `ask_last` rather than as `score`.

        Returns:
            What they return, and [tokens, hidden] the hidden states of the README's tokens after
            the feature layer.

        Raises:
            As `score`.

        """
        layout = self._layout
        trees = self._first_tokens if brief else layout.trees
        branches = layout.branches[-1:] if brief else layout.branches
        forest = layout.forest(trees, branches, readme)
        hidden, states = self._forward(self._prefix.whole, forest)
        log_probs, features = self._read_off(forest, hidden, states)
        return self._finite(log_probs), features, states[0, : len(readme)]

    def ask_last(self, prefix: KVCache) -> tuple[TagLogProbs, Tensor]:
        """Return what the last branch gives: as `score`, but of each name its first token alone."""
        return self._score(prefix, self._first_tokens, self._layout.branches[-1:])

    def score(self, prefix: KVCache, tags: Tensor) -> tuple[TagLogProbs, Tensor]:
        """Return the log-probabilities of a mask of [tags], and features.

        Of the other tags the log-probabilities are upper bounds.

        Raises:
            OutOfMemoryError: the pass needs more memory than there is.
            LoadError: the model's probabilities are not numbers.

        """
        trees = [tree.part(tags) for tree in self._layout.trees]
        return self._score(prefix, trees, self._layout.branches)

    @cached_property
    def _first_tokens(self) -> list[TagTree]:
        """The trees of which nothing but the first tokens of names are scored."""
        return [tree.part(torch.zeros(tree.size, dtype=torch.bool)) for tree in self._layout.trees]

    def _score(
        self, prefix: KVCache, trees: Sequence[TagTree], branches: Sequence[tuple[int, int]]
    ) -> tuple[TagLogProbs, Tensor]:
        # The branches of a large tree are scored one by one: all logits would take gigabytes.
        step = len(branches) if is_small(trees) else 1
        parts = []
        for start in range(0, len(branches), step):
            forest = self._layout.forest(trees, branches[start : start + step])
            parts.append(self._read_off(forest, *self._forward(prefix, forest)))
        log_probs = TagLogProbs.cat([part for part, _ in parts], dim=1)
        return self._finite(log_probs), torch.cat([features for _, features in parts], dim=1)

    def _forward(self, prefix: KVCache, forest: Forest) -> tuple[Tensor, Tensor]:
        return self._model.forward_tree(
            prefix, forest.tokens, forest.depths, forest.ancestors, forest.visible
        )

    def _read_off(
        self, forest: Forest, hidden: Tensor, states: Tensor
    ) -> tuple[TagLogProbs, Tensor]:
        """Return the log-probabilities of tags in a forest's branches, and features.

        A branch's features are the hidden state of the root of its tree, where the model knows the
        README and the question, and is about to name a tag.

        Args:
            forest: the branches.
            hidden: [READMEs, nodes, hidden] after the last layer.
            states: [READMEs, nodes, hidden] after the feature layer.

        """
        roots = states[:, [int(rows[0]) for rows in forest.rows]]
        # As they are kept: what is read now and what was read before must be ranked alike.
        features = roots.float().clamp(-_HALF, _HALF).half().float().cpu()
        forest = forest.to(hidden.device)
        # README by README: the logits of many would not fit into memory.
        log_probs = TagLogProbs.stack(
            [
                forest.log_probs(self._model.logits(states[forest.output_nodes], forest.token_ids))
                for states in hidden
            ]
        )
        return log_probs, features

    def _finite(self, log_probs: TagLogProbs) -> TagLogProbs:
        if not log_probs.full.isfinite().all():
            raise LoadError(
                f"{self._model.name}: its probabilities are not finite: try --dtype float32; if "
                "that fails, the weights are damaged: fetch them again"
            )
        return log_probs
