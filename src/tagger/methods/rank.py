"""`rank`: score every tag of the vocabulary by one reading of the README.

The evidence for a tag is a weighted sum of how far

    score(tag) = log p(tag | README, question) - strength * prior(tag | question)

stands above the README's best tags, over the prompt's questions, and of how often the README
mentions the tag. The score lies between the likelihood (strength 0) and the pointwise mutual
information of README and tag (strength 1). The weights, which make the sum the logit of a
confidence, are a `Calibration`.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import torch
from torch import Tensor

from tagger.errors import LoadError, VocabularyError
from tagger.methods.calibration import Calibration
from tagger.methods.candidates import CandidateTree, Forest
from tagger.methods.mentions import Mentions
from tagger.methods.prior import prior
from tagger.models.language import LanguageModel, Memory
from tagger.prompt import Prompt, PromptTemplate
from tagger.vocabulary import Tag, Vocabulary

SCORING_VERSION = 2
"""Raised whenever the same input would be scored otherwise, so that kept priors are not reused."""

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


@dataclass(frozen=True)
class ScoredTag:
    """What is known of one tag for one README.

    Attributes:
        tag: the tag.
        log_probs: log p(tag | README, question) for each question, in nats.
        priors: the same for texts without content.
        evidence: what tags are ranked by: the logit of the confidence.
        confidence: probability that a curator would accept the tag.

    """

    tag: Tag
    log_probs: tuple[float, ...]
    priors: tuple[float, ...]
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
        trees = [
            CandidateTree.build(vocabulary, model.tokenizer, opening)
            for opening in self._prompt.openings
        ]
        self._forest = Forest.build(self._prompt.endings, trees)
        fixed = len(self._prompt.prefix) + len(self._forest.shared) + self._forest.depth
        room = model.context_length - fixed
        if room < MIN_README_TOKENS:
            raise VocabularyError(
                f"the vocabulary's {len(vocabulary)} tags and the prompt take {fixed:,} of the "
                f"model's {model.context_length:,} tokens, which leaves no room for a README: "
                "use fewer tags"
            )
        self.readme_tokens = min(readme_tokens, room)

    @property
    def settings(self) -> dict[str, str | int]:
        """Everything that a ranking depends on beside the README, by a name for people."""
        return {
            "model": self._model.weights,
            "machine, number format or library version": self._model.machine,
            "prompt and tags": self._identity,
            "calibration": _digest(asdict(self._calibration)),
            "readme tokens": self.readme_tokens,
            "way of scoring": SCORING_VERSION,
        }

    @property
    def extra_tokens(self) -> int:
        """How many tokens a pass takes for one README beside the README's own."""
        return len(self._forest.shared) + len(self._forest.tokens)

    def encode(self, words: str) -> Encoded:
        """Return what is scored of a README: as many of its tokens as the budget holds."""
        tokens = self._prompt.fit(words, self.readme_tokens)
        # Questions need something to stand behind, if only a blank.
        return Encoded(tokens or self._model.tokenizer.encode(" "), self._mentions.count(words))

    def rank(self, readmes: Sequence[Encoded]) -> list[list[ScoredTag]]:
        """Return all tags of the vocabulary, the best first, for each README.

        All READMEs go through the model in one pass. Ties stay in the vocabulary's order.

        Raises:
            OutOfMemoryError: the pass needs more memory than there is.
            LoadError: the model's probabilities are not numbers.

        """
        prior = self.prior
        log_probs = self.log_probs([readme.tokens for readme in readmes])
        return [
            self._ranking(scores, prior, readme.mentions)
            for scores, readme in zip(log_probs, readmes, strict=True)
        ]

    def _ranking(self, log_probs: Tensor, prior: Tensor, mentions: Tensor) -> list[ScoredTag]:
        evidence = self._calibration.logits(log_probs, prior, mentions)
        rows = zip(
            self._vocabulary,
            map(tuple, log_probs.T.tolist()),
            map(tuple, prior.T.tolist()),
            evidence.tolist(),
            evidence.sigmoid().tolist(),
            strict=True,
        )
        return sorted((ScoredTag(*row) for row in rows), key=lambda scored: -scored.evidence)

    def log_probs(self, readmes: Sequence[Sequence[int]]) -> Tensor:
        """Return log p(tag | README, question) for the tokens of each README; raises as `rank`.

        Returns:
            [readmes, questions, tags] in float32 nats.

        """
        forest = self._forest
        trunks = [[*readme, *forest.shared] for readme in readmes]
        hidden = self._model.branch(
            self._prefix, trunks, forest.tokens, forest.depths, forest.ancestry
        )
        # One README after another: the logits of many would not fit.
        log_probs = torch.stack([self._answers(rows) for rows in hidden])
        if not log_probs.isfinite().all():
            raise LoadError(
                f"{self._model.name}: gives probabilities that are not numbers: the weights are "
                "damaged, or --dtype float32 is needed"
            )
        return log_probs

    def _answers(self, hidden: Tensor) -> Tensor:
        """Return [questions, tags] log-probabilities from the rows of one README's pass."""
        forest = self._forest
        logits = self._model.logits(hidden[torch.cat(forest.rows)])
        parts = torch.split(logits, [len(rows) for rows in forest.rows])
        return torch.stack(
            [tree.log_probs(part) for tree, part in zip(forest.trees, parts, strict=True)]
        )

    @cached_property
    def _prefix(self) -> Memory:
        return self._model.read(self._prompt.prefix)

    @cached_property
    def prior(self) -> Tensor:
        """What the model says without a README, [questions, tags] in nats."""

        # Texts without content are read whole, whatever the budget of READMEs: what is kept must
        # not depend on it.
        def score(text: str) -> Tensor:
            return self.log_probs([self._prompt.fit(text, MIN_README_TOKENS)])[0]

        model = [self._model.weights, self._model.machine]
        identity = _digest([SCORING_VERSION, model, self._identity])
        return prior(identity, (len(self._forest.trees), len(self._vocabulary)), score)

    @cached_property
    def _identity(self) -> str:
        prompt = [self._prompt.prefix, self._prompt.endings, self._prompt.openings]
        return _digest([prompt, [tag.names for tag in self._vocabulary]])


def _digest(described: object) -> str:
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()
