"""`rank`: score every tag of the vocabulary by one reading of the README.

The README is read once, behind the list of tags. Behind the README go branches, each a question
behind another order of the list. In a branch

    score(tag) = log p(tag | README, branch) - strength * log p(tag | no README, branch)

lies between the likelihood (strength 0) and the pointwise mutual information of README and tag
(strength 1). The evidence for a tag is a weighted sum of how far its score, over all branches,
stands above the README's best and of how often the README mentions it; a `Calibration` holds the
weights, which make it the logit of a confidence.

So that the cost of a README hardly grows with the vocabulary, a large list has one branch, and its
tags are searched rather than all scored; a very large one is not even seen by the README.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor

from tagger.digest import digest
from tagger.errors import LoadError, VocabularyError
from tagger.methods.answers import Answers
from tagger.methods.calibration import Calibration
from tagger.methods.candidates import CandidateTree, Forest
from tagger.methods.memories import kept
from tagger.methods.mentions import Mentions
from tagger.methods.prior import prior
from tagger.methods.search import LIMIT, search
from tagger.models.language import LanguageModel, Memory, join
from tagger.prompt import Conversation, Prompt, PromptTemplate
from tagger.vocabulary import Tag, Vocabulary

SCORING_VERSION = 8
"""Raised whenever the same input would be scored otherwise, so that nothing kept is reused."""

AT_ONCE = 128
"""Nodes of a tree up to which all of them are scored: larger ones are searched."""

IN_VIEW = 1536
"""Tokens of a list up to which READMEs are read behind it: for longer ones that costs too much."""

MIN_README_TOKENS = 64
"""A vocabulary that leaves less than this for the README is refused."""


@dataclass(frozen=True)
class Encoded:
    """A README as it is scored.

    Attributes:
        tokens: ids of what the model reads of it.
        mentions: [tags, 2] log(1 + mentions) of each tag, anywhere and in the lead.

    """

    tokens: list[int]
    mentions: Tensor

    @property
    def length(self) -> int:
        """How much there is to read."""
        return len(self.tokens)


@dataclass(frozen=True)
class ScoredTag:
    """What is known of one tag for one README.

    Attributes:
        tag: the tag.
        log_prob: mean over branches of log p(tag | README, branch), in nats.
        prior: the same for texts without content, and the background if there is one.
        evidence: what tags are ranked by: the logit of the confidence.
        confidence: probability that a curator would accept the tag.

    """

    tag: Tag
    log_prob: float
    prior: float
    evidence: float
    confidence: float


class Rank:
    """Ranks a vocabulary for one README after another.

    Args:
        model: the language model.
        vocabulary: the tags.
        template: what is said to the model.
        calibration: strength of the prior and weights of the evidence.
        readme_tokens: the most that is read of a README.

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
            CandidateTree.build(vocabulary, model.tokenizer, opening)
            for opening in self._prompt.openings
        ]
        self._small = _small(self._trees)
        self._all = torch.ones(len(vocabulary), dtype=torch.bool)
        prompt = self._prompt
        questions, orders = len(prompt.endings), len(prompt.lists)
        # Each question behind another order: as good as all behind all, at half the cost. A large
        # tree is one branch's whole cost.
        count = max(questions, orders) if self._small else 1
        self._branches = [(branch % questions, branch % orders) for branch in range(count)]
        self._orders = prompt.lists[:count]
        room = room_for_a_readme(prompt, self._trees, vocabulary, model.context_length)
        self.readme_tokens = min(readme_tokens, room)

    @property
    def settings(self) -> dict[str, str | int]:
        """Everything that a ranking depends on beside the README, by a name for people."""
        return {
            "model": self._model.weights,
            "machine, number format or library version": self._model.machine,
            "prompt and tags": self._identity,
            "calibration": self._calibration.digest,
            "readme tokens": self.readme_tokens,
            "way of scoring": SCORING_VERSION,
        }

    @property
    def limit(self) -> float | None:
        """The most, in nats, that the rest of a name may add to its first token, if anything."""
        return None if self._small else LIMIT

    @property
    def model(self) -> LanguageModel:
        """What reads."""
        return self._model

    def conversations(self, words: str) -> list[Conversation]:
        """Return what is said to the model about a README, once for each branch."""
        prompt, tokens = self._prompt, self.encode(words).tokens
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
        """How many tokens the prompt's parts have beside the README, by a name for people."""
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
        """How many tokens a pass holds for one README beside the README's own."""
        prompt = self._prompt
        before = len(prompt.head) + sum(map(len, self._orders)) + len(prompt.bridge)
        return before + sum(
            len(prompt.endings[question])
            + len(self._trees[question].root)
            + min(len(self._trees[question].tokens), AT_ONCE)
            for question, _ in self._branches
        )

    def prepare(self) -> None:
        """Compute whatever READMEs share; raises as `rank`."""
        _ = self._shared, self.prior

    def encode(self, words: str) -> Encoded:
        """Return what is scored of a README: as many of its tokens as the budget holds."""
        tokens = self._prompt.fit(words, self.readme_tokens)
        # Questions need something to stand behind, if only a blank.
        return Encoded(tokens or self._model.tokenizer.encode(" "), self._mentions.count(words))

    def rank(self, readmes: Sequence[Encoded]) -> list[list[ScoredTag]]:
        """Return the best tags of the vocabulary in order, ten at least, for each README.

        All READMEs go through the model together. Ties stay in the vocabulary's order. Of a small
        vocabulary all tags are returned; of a large one those that may be among the ten best are
        looked for, and what they are and their confidences are the same as if all had been scored.

        Raises:
            OutOfMemoryError: the pass needs more memory than there is.
            LoadError: the model's probabilities are not numbers.

        """
        prior = self.prior
        mentions = torch.stack([readme.mentions for readme in readmes])
        memory = self._memory([readme.tokens for readme in readmes])
        if self._small:
            answers, scored = self._ask(memory, self._all), self._all
        else:
            answers, scored = search(
                partial(self._ask, memory), self._trees, prior, mentions, self._calibration
            )
        evidence = self._calibration.logits(answers, prior, mentions, self.limit)
        expected = self._calibration.expected(prior)
        log_probs, priors = (found.names.mean(dim=-2) for found in (answers, expected))
        columns = (log_probs, priors.expand_as(evidence), evidence, evidence.sigmoid())
        tags = [tag for tag, known in zip(self._vocabulary, scored.tolist(), strict=True) if known]
        return [
            sorted(map(ScoredTag, tags, *row), key=lambda scored: -scored.evidence)
            for row in zip(*(column[:, scored].tolist() for column in columns), strict=True)
        ]

    def answers(self, readmes: Sequence[Sequence[int]]) -> Answers:
        """Return what the model says of all tags for the tokens of each README; raises as `rank`.

        Returns:
            [readmes, branches, tags] in float32 nats.

        """
        return self._ask(self._memory(readmes), self._all)

    def _memory(self, readmes: Sequence[Sequence[int]]) -> Memory:
        """Read READMEs, and return what is remembered of all that comes before the questions."""
        read = self._model.read(readmes, after=self._before)
        return join(*self._shared, read)

    def _ask(self, memory: Memory, tags: Tensor) -> Answers:
        """Return the answers about some tags, [tags] true for each; upper bounds of the others."""
        trees = [tree.part(tags) for tree in self._trees]
        # The branches of a large tree go one after another: their logits would take gigabytes.
        step = len(self._branches) if _small(trees) else 1
        parts = [
            self._pass(memory, trees, self._branches[start : start + step])
            for start in range(0, len(self._branches), step)
        ]
        answers = Answers.cat(parts, dim=1)
        if not answers.names.isfinite().all():
            raise LoadError(
                f"{self._model.name}: gives probabilities that are not numbers: the weights are "
                "damaged, or --dtype float32 is needed"
            )
        return answers

    def _pass(
        self, memory: Memory, trees: Sequence[CandidateTree], branches: Sequence[tuple[int, int]]
    ) -> Answers:
        """Ask of every README in one pass, [readmes, branches, tags]."""
        forest = self._forest(trees, branches)
        hidden = self._model.branch(
            memory, forest.tokens, forest.depths, forest.ancestry, forest.sight
        )
        forest = forest.to(hidden.device)
        # One README after another: the logits of many would not fit.
        return Answers.stack(
            [
                forest.answers(self._model.logits(rows[forest.scored], forest.words))
                for rows in hidden
            ]
        )

    def _forest(
        self, trees: Sequence[CandidateTree], branches: Sequence[tuple[int, int]]
    ) -> Forest:
        """Plant branches, each a question and an order of the list."""
        lengths = torch.tensor([len(listed) for listed in self._orders])
        lists = torch.arange(len(lengths)).repeat_interleave(lengths)
        return Forest.build(
            [self._prompt.endings[question] for question, _ in branches],
            [trees[question] for question, _ in branches],
            [lists == order for _, order in branches],
        )

    @cached_property
    def _shared(self) -> list[Memory]:
        """The lists of tags, the prompt's beginning, and what follows the list, if anything does.

        None of the lists knows of the others. This order is that of the forest's sights.
        """
        count = len(self._orders) + 1 + bool(self._prompt.bridge)
        return kept(self._stored("lists"), count, self._model.device, self._read_shared)

    def _read_shared(self) -> list[Memory]:
        head = self._model.read([self._prompt.head])
        lists = [self._model.read([listed], after=head) for listed in self._orders]
        listed = self._listed(lists, head)
        bridge = [self._prompt.bridge] if self._prompt.bridge else []
        return [*lists, head, *(self._model.read([text], after=listed) for text in bridge)]

    def _listed(self, lists: Sequence[Memory], head: Memory) -> Memory:
        """Return the prompt's beginning and the list as given, or a gap for a very large one."""
        seen = self._small or len(self._orders[0]) <= IN_VIEW
        listed = join(head, lists[0]) if seen else head
        return replace(listed, ends=torch.stack([memory.ends for memory in lists]).amax(0))

    @cached_property
    def _before(self) -> Memory:
        """What READMEs are read behind."""
        count = len(self._orders)
        lists, head, bridge = self._shared[:count], self._shared[count], self._shared[count + 1 :]
        return join(self._listed(lists, head), *bridge)

    @cached_property
    def prior(self) -> Answers:
        """What the model says without a README, [branches, tags] in nats."""

        # Texts without content are read whole, whatever the budget of READMEs: what is kept must
        # not depend on it.
        def score(text: str) -> Answers:
            found = self.answers([self._prompt.fit(text, MIN_README_TOKENS)])
            return Answers(found.names[0], found.starts[0])

        shape = (len(self._branches), len(self._vocabulary))
        return prior(self._stored("prior"), shape, score)

    def _stored(self, what: str) -> str:
        """Return the name of what is kept of this model, prompt and vocabulary."""
        model = [self._model.weights, self._model.machine]
        return digest([what, SCORING_VERSION, model, self._identity])

    @cached_property
    def _identity(self) -> str:
        prompt = self._prompt
        said = [prompt.head, prompt.lists, prompt.bridge, prompt.endings, prompt.openings]
        return digest([said, [tag.names for tag in self._vocabulary]])


def room_for_a_readme(
    prompt: Prompt, trees: Sequence[CandidateTree], vocabulary: Vocabulary, context: int
) -> int:
    """Return how many tokens of a README a model's context holds beside the rest.

    Raises:
        VocabularyError: hardly any.

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


def _small(trees: Sequence[CandidateTree]) -> bool:
    return max(len(tree.tokens) for tree in trees) <= AT_ONCE
