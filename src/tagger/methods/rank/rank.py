"""`rank`: score every tag of the vocabulary with one pass over the README.

The README is prefilled once, after the list of tags. Branches follow it, each a question that
attends to the list in another order. In a branch

    score(tag) = log p(tag | README, branch) - prior_weight * log p(tag | no README, branch)

lies between the likelihood (weight 0) and the pointwise mutual information of README and tag
(weight 1). How far its score, over all branches, stands above the README's best tags and how often
the README mentions it are weighed by a `Calibration`, which gives the logit of a confidence.

So that the cost of a README hardly grows with the vocabulary, a large list has one branch, and its
tags are searched rather than all scored; to a very large one the README does not even attend.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor

from tagger._util.hashing import digest
from tagger.errors import LoadError, VocabularyError
from tagger.methods.rank.cache import cached
from tagger.methods.rank.calibration import Calibration
from tagger.methods.rank.evidence import Evidence, TagLogProbs
from tagger.methods.rank.mentions import Mentions
from tagger.methods.rank.prior import prior
from tagger.methods.rank.search import LIMIT, search
from tagger.methods.rank.tree import Forest, TagTree
from tagger.models.kv import KVCache, concat
from tagger.models.language import LanguageModel
from tagger.prompts.prompt import Conversation, Prompt, PromptTemplate
from tagger.vocabulary import Tag, Vocabulary

SCORING_VERSION = 8
"""Bump when the same input would be scored differently, so that nothing cached is reused."""

AT_ONCE = 128
"""Nodes of a tree up to which all tags are scored; larger trees are searched."""

IN_VIEW = 1536
"""Tokens of a list up to which READMEs attend to it; with longer lists that costs too much."""

MIN_README_TOKENS = 64
"""A vocabulary that leaves fewer tokens than this for the README is refused."""


@dataclass(frozen=True)
class Encoded:
    """A README as `Rank` scores it.

    Attributes:
        tokens: ids of the part that the model reads.
        mentions: [tags, 2] log(1 + mentions) of each tag, anywhere and in the lead.

    """

    tokens: list[int]
    mentions: Tensor

    @property
    def length(self) -> int:
        """The number of tokens to be read."""
        return len(self.tokens)


@dataclass(frozen=True)
class ScoredTag:
    """One tag of one README's ranking.

    Attributes:
        tag: the tag.
        log_prob: mean over branches of log p(tag | README, branch), in nats.
        prior: the mean of the same over content-free texts, averaged with the background if there
            is one.
        logit: the logit of the confidence, which tags are ranked by.
        confidence: the probability that a curator would accept the tag.

    """

    tag: Tag
    log_prob: float
    prior: float
    logit: float
    confidence: float


class Rank:
    """Ranks the tags of a vocabulary for READMEs.

    Args:
        model: the language model.
        vocabulary: the tags.
        template: the prompt.
        calibration: turns evidence into confidences.
        readme_tokens: the most tokens that are read of a README.

    Raises:
        VocabularyError: the vocabulary leaves no room for a README in the model's context.

    """

    def __init__(
        self,
        model: LanguageModel,
        vocabulary: Vocabulary,
        template: PromptTemplate,
        calibration: Calibration,
        readme_tokens: int,
    ) -> None:
        self._model = model
        self._vocabulary = vocabulary
        self._calibration = calibration
        self._mentions = Mentions(vocabulary)
        self._prompt = Prompt(template, vocabulary, model.tokenizer)
        self._trees = [
            TagTree.build(vocabulary, model.tokenizer, opening) for opening in self._prompt.openings
        ]
        self._small = _small(self._trees)
        self._all = torch.ones(len(vocabulary), dtype=torch.bool)
        prompt = self._prompt
        questions, orders = len(prompt.endings), len(prompt.lists)
        # Each question attends to another order: as good as all questions with all orders, at half
        # the cost. With a large tree even a second branch costs too much.
        count = max(questions, orders) if self._small else 1
        self._branches = [(branch % questions, branch % orders) for branch in range(count)]
        self._orders = prompt.lists[:count]
        room = room_for_a_readme(prompt, self._trees, vocabulary, model.context_length)
        self.readme_tokens = min(readme_tokens, room)

    @property
    def settings(self) -> dict[str, str | int]:
        """Everything but the README that a ranking depends on, keyed by human-readable names."""
        return {
            "model": self._model.weights,
            "machine, number format or library version": self._model.machine,
            "prompt and tags": self._identity,
            "calibration": self._calibration.digest,
            "readme tokens": self.readme_tokens,
            "way of scoring": SCORING_VERSION,
        }

    @property
    def model(self) -> LanguageModel:
        """The language model."""
        return self._model

    def conversations(self, text: str) -> list[Conversation]:
        """Return the conversation about a README's plain text in each branch."""
        prompt, tokens = self._prompt, self.encode(text).tokens
        return [
            Conversation(
                before=(*prompt.head, *prompt.lists[order], *prompt.bridge),
                readme=tuple(tokens),
                after=(*prompt.endings[question], *self._trees[question].root),
            )
            for question, order in self._branches
        ]

    @property
    def prompt_tokens(self) -> dict[str, int]:
        """Tokens of the prompt's parts without the README, keyed by human-readable names."""
        prompt = self._prompt
        return {
            "opening": len(prompt.head) + len(prompt.bridge),
            "lists of tags": sum(map(len, self._orders)),
            "questions": sum(
                len(prompt.endings[question]) + len(self._trees[question].root)
                for question, _ in self._branches
            ),
        }

    @property
    def extra_tokens(self) -> int:
        """How many tokens a pass has for each README beside the README's own."""
        prompt = self._prompt
        before = len(prompt.head) + sum(map(len, self._orders)) + len(prompt.bridge)
        return before + sum(
            len(prompt.endings[question])
            + len(self._trees[question].root)
            + min(len(self._trees[question].tokens), AT_ONCE)
            for question, _ in self._branches
        )

    def prepare(self) -> None:
        """Compute whatever all READMEs share; raises as `rank`."""
        _ = self._shared, self.prior

    def encode(self, text: str) -> Encoded:
        """Encode a README's plain text, cut to the token budget."""
        tokens = self._prompt.fit(text, self.readme_tokens)
        # A row of the pass needs at least one token, if only a space.
        return Encoded(tokens or self._model.tokenizer.encode(" "), self._mentions.count(text))

    def rank(self, readmes: Sequence[Encoded]) -> list[list[ScoredTag]]:
        """Return the best tags of the vocabulary in order, ten at least, for each README.

        All READMEs go through the model together. Ties keep the vocabulary's order. With a small
        vocabulary all tags are returned. A large one is searched: the ten best tags and their
        confidences are those that scoring all tags would give.

        Raises:
            OutOfMemoryError: the pass needs more memory than there is.
            LoadError: the model's probabilities are not numbers.

        """
        if self._small:
            evidence, mask = self.evidence(readmes), self._all
        else:
            evidence, mask = self._search(readmes)
        logits = self._calibration.logits(evidence)
        expected = self._calibration.expected(evidence.prior).full.mean(dim=-2)
        log_probs = evidence.log_probs.full.mean(dim=-2)
        columns = (log_probs, expected.expand_as(logits), logits, logits.sigmoid())
        tags = [tag for tag, keep in zip(self._vocabulary, mask.tolist(), strict=True) if keep]
        return [
            sorted(map(ScoredTag, tags, *row), key=lambda scored: -scored.logit)
            for row in zip(*(column[:, mask].tolist() for column in columns), strict=True)
        ]

    def evidence(self, readmes: Sequence[Encoded]) -> Evidence:
        """Return the evidence for every tag of each README; raises as `rank`."""
        log_probs = self._score(self._prefill([readme.tokens for readme in readmes]), self._all)
        return self._with_mentions(log_probs, readmes)

    def _search(self, readmes: Sequence[Encoded]) -> tuple[Evidence, Tensor]:
        """Return the evidence for tags that may be among the best, and a mask of those [tags]."""
        prefix = self._prefill([readme.tokens for readme in readmes])
        mentions = torch.stack([readme.mentions for readme in readmes])
        log_probs, mask = search(
            partial(self._score, prefix), self._trees, self.prior, mentions, self._calibration
        )
        return self._with_mentions(log_probs, readmes), mask

    def _with_mentions(self, log_probs: TagLogProbs, readmes: Sequence[Encoded]) -> Evidence:
        mentions = torch.stack([readme.mentions for readme in readmes])
        return Evidence(log_probs, self.prior, mentions, None if self._small else LIMIT)

    def _prefill(self, readmes: Sequence[Sequence[int]]) -> KVCache:
        """Return the KV cache of everything before the questions, READMEs included."""
        return concat(*self._shared, self._model.prefill(readmes, self._readme_prefix))

    def _score(self, prefix: KVCache, tags: Tensor) -> TagLogProbs:
        """Return the log-probabilities of a mask of [tags], and upper bounds of the others'."""
        trees = [tree.part(tags) for tree in self._trees]
        # The branches of a large tree are scored one by one: all logits would take gigabytes.
        step = len(self._branches) if _small(trees) else 1
        parts = [
            self._score_branches(prefix, trees, self._branches[start : start + step])
            for start in range(0, len(self._branches), step)
        ]
        log_probs = TagLogProbs.cat(parts, dim=1)
        if not log_probs.full.isfinite().all():
            raise LoadError(
                f"{self._model.name}: gives probabilities that are not numbers: the weights are "
                "damaged, or --dtype float32 is needed"
            )
        return log_probs

    def _score_branches(
        self, prefix: KVCache, trees: Sequence[TagTree], branches: Sequence[tuple[int, int]]
    ) -> TagLogProbs:
        """Return the log-probabilities of tags in some branches, [readmes, branches, tags]."""
        forest = self._forest(trees, branches)
        hidden = self._model.forward_tree(
            prefix, forest.tokens, forest.depths, forest.ancestors, forest.visible
        )
        forest = forest.to(hidden.device)
        # README by README: the logits of many would not fit into memory.
        return TagLogProbs.stack(
            [
                forest.log_probs(self._model.logits(states[forest.output_nodes], forest.token_ids))
                for states in hidden
            ]
        )

    def _forest(self, trees: Sequence[TagTree], branches: Sequence[tuple[int, int]]) -> Forest:
        """Build the forest of some branches, each a question and an order of the list."""
        lengths = torch.tensor([len(listed) for listed in self._orders])
        lists = torch.arange(len(lengths)).repeat_interleave(lengths)
        return Forest.build(
            [self._prompt.endings[question] for question, _ in branches],
            [trees[question] for question, _ in branches],
            [lists == order for _, order in branches],
        )

    @cached_property
    def _shared(self) -> list[KVCache]:
        """KV caches of the list in each order, of the prompt before it, and of the text after it.

        No list attends to another. The last is missing if no text follows the list. The forest's
        visibility masks rely on this order.
        """
        count = len(self._orders) + 1 + bool(self._prompt.bridge)
        return cached(self._key("lists"), count, self._model.device, self._prefill_shared)

    def _prefill_shared(self) -> list[KVCache]:
        head = self._model.prefill([self._prompt.head])
        lists = [self._model.prefill([listed], head) for listed in self._orders]
        prefix = self._list_prefix(lists, head)
        bridge = [self._prompt.bridge] if self._prompt.bridge else []
        return [*lists, head, *(self._model.prefill([text], prefix) for text in bridge)]

    def _list_prefix(self, lists: Sequence[KVCache], head: KVCache) -> KVCache:
        """Return the cache of the prompt through the list; a very large list is a gap in it."""
        attend = self._small or len(self._orders[0]) <= IN_VIEW
        prefix = concat(head, lists[0]) if attend else head
        next_position = torch.stack([cache.next_position for cache in lists]).amax(0)
        return replace(prefix, next_position=next_position)

    @cached_property
    def _readme_prefix(self) -> KVCache:
        """The KV cache that READMEs attend to."""
        count = len(self._orders)
        lists, head, bridge = self._shared[:count], self._shared[count], self._shared[count + 1 :]
        return concat(self._list_prefix(lists, head), *bridge)

    @cached_property
    def prior(self) -> TagLogProbs:
        """The prior of every tag, [branches, tags] in nats."""

        # The token budget of READMEs does not apply: the cached prior must not depend on it.
        def score(text: str) -> TagLogProbs:
            tokens = self._prompt.fit(text, MIN_README_TOKENS)
            return self._score(self._prefill([tokens]), self._all).select(0)

        shape = (len(self._branches), len(self._vocabulary))
        return prior(self._key("prior"), shape, score)

    def _key(self, what: str) -> str:
        """Return the name under which something of this model, prompt and vocabulary is cached."""
        model = [self._model.weights, self._model.machine]
        return digest([what, SCORING_VERSION, model, self._identity])

    @cached_property
    def _identity(self) -> str:
        prompt = self._prompt
        text = [prompt.head, prompt.lists, prompt.bridge, prompt.endings, prompt.openings]
        return digest([text, [tag.names for tag in self._vocabulary]])


def room_for_a_readme(
    prompt: Prompt, trees: Sequence[TagTree], vocabulary: Vocabulary, context: int
) -> int:
    """Return how many tokens of a README fit into a model's context beside the prompt.

    Raises:
        VocabularyError: fewer than `MIN_README_TOKENS`.

    """
    fixed = len(prompt.head) + max(map(len, prompt.lists)) + len(prompt.bridge)
    fixed += max(
        len(ending) + len(tree.root) + tree.depth
        for ending, tree in zip(prompt.endings, trees, strict=True)
    )
    room = context - fixed
    if room < MIN_README_TOKENS:
        raise VocabularyError(
            f"the vocabulary's {len(vocabulary)} tags and the prompt take {fixed:,} of the "
            f"model's {context:,} tokens, which leaves no room for a README: "
            "use fewer tags, or shorter descriptions and fewer aliases"
        )
    return room


def _small(trees: Sequence[TagTree]) -> bool:
    return max(len(tree.tokens) for tree in trees) <= AT_ONCE
