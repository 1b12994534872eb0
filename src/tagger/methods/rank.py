"""`rank`: score every tag of the vocabulary by one reading of the README.

score(tag) = log p(tag | README) - strength * prior(tag)

lies between the likelihood (strength 0) and the pointwise mutual information of README and tag
(strength 1). The scores are made confidences by a `Calibration`.
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
from tagger.methods.candidates import CandidateTree
from tagger.methods.prior import prior
from tagger.models.language import LanguageModel, Memory
from tagger.prompt import Prompt, PromptTemplate
from tagger.vocabulary import Tag, Vocabulary

SCORING_VERSION = 1
"""Raised whenever the same input would be scored otherwise, so that kept priors are not reused."""

MIN_README_TOKENS = 64
"""A vocabulary that leaves less than this for the README is refused."""


@dataclass(frozen=True)
class ScoredTag:
    """What is known of one tag for one README.

    Attributes:
        tag: the tag.
        log_prob: log p(tag | README), in nats.
        prior: mean log p(tag | text without content), in nats.
        score: what tags are ranked by, in nats.
        confidence: probability that a curator would accept the tag.

    """

    tag: Tag
    log_prob: float
    prior: float
    score: float
    confidence: float


class Rank:
    """Ranks a vocabulary for one README after another.

    Args:
        model: the language model.
        vocabulary: the tags.
        template: what is said to the model.
        calibration: strength of the prior and meaning of the scores.
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
        self._prompt = Prompt(template, vocabulary, model.tokenizer)
        self._tree = CandidateTree.build(vocabulary, model.tokenizer)
        fixed = len(self._prompt.prefix) + len(self._prompt.suffix) + len(self._tree.root)
        room = model.context_length - fixed - self._tree.depth
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
        return len(self._prompt.suffix) + len(self._tree.root) + len(self._tree.tokens)

    def encode(self, words: str) -> list[int]:
        """Return the tokens of a README that are read: as many as the budget holds."""
        return self._prompt.fit(words, self.readme_tokens)

    def rank(self, readmes: Sequence[Sequence[int]]) -> list[list[ScoredTag]]:
        """Return all tags of the vocabulary, the best first, for the tokens of each README.

        All READMEs go through the model in one pass. Ties stay in the vocabulary's order.

        Raises:
            OutOfMemoryError: the pass needs more memory than there is.
            LoadError: the model's probabilities are not numbers.

        """
        prior = self._prior
        return [self._ranking(log_probs, prior) for log_probs in self.log_probs(readmes)]

    def _ranking(self, log_probs: Tensor, prior: Tensor) -> list[ScoredTag]:
        scores = log_probs - self._calibration.strength * prior
        confidences = self._calibration.confidences(scores)
        columns = (log_probs, prior, scores, confidences)
        rows = zip(self._vocabulary, *(column.tolist() for column in columns), strict=True)
        return sorted((ScoredTag(*row) for row in rows), key=lambda scored: -scored.score)

    def log_probs(self, readmes: Sequence[Sequence[int]]) -> Tensor:
        """Return log p(tag | README), [readmes, tags] in float32 nats; raises as `rank`."""
        tree = self._tree
        ending = [*self._prompt.suffix, *tree.root]
        trunks = [[*readme, *ending] for readme in readmes]
        hidden = self._model.branch(self._prefix, trunks, tree.tokens, tree.depths, tree.ancestry)
        # One README after another: the logits of many would not fit.
        log_probs = torch.stack([tree.log_probs(self._model.logits(rows)) for rows in hidden])
        if not log_probs.isfinite().all():
            raise LoadError(
                f"{self._model.name}: gives probabilities that are not numbers: the weights are "
                "damaged, or --dtype float32 is needed"
            )
        return log_probs

    @cached_property
    def _prefix(self) -> Memory:
        return self._model.read(self._prompt.prefix)

    @cached_property
    def _prior(self) -> Tensor:
        # Texts without content are read whole, whatever the budget of READMEs: what is kept must
        # not depend on it.
        def score(text: str) -> Tensor:
            return self.log_probs([self._prompt.fit(text, MIN_README_TOKENS)])[0]

        model = [self._model.weights, self._model.machine]
        identity = _digest([SCORING_VERSION, model, self._identity])
        return prior(identity, len(self._vocabulary), score)

    @cached_property
    def _identity(self) -> str:
        labels = [tag.label for tag in self._vocabulary]
        return _digest([self._prompt.prefix, self._prompt.suffix, labels])


def _digest(described: object) -> str:
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()
