"""`rank`: score every tag of the vocabulary by one reading of the README.

score(tag) = log p(tag | README) - strength * prior(tag)

lies between the likelihood (strength 0) and the pointwise mutual information of README and tag
(strength 1). The scores are made confidences by a `Calibration`.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

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

    def rank(self, words: str) -> list[ScoredTag]:
        """Return all tags of the vocabulary, the best first; ties stay in its order."""
        log_probs = self.log_probs(words)
        scores = log_probs - self._calibration.strength * self._prior
        confidences = self._calibration.confidences(scores)
        columns = (log_probs, self._prior, scores, confidences)
        rows = zip(self._vocabulary, *(column.tolist() for column in columns), strict=True)
        return sorted((ScoredTag(*row) for row in rows), key=lambda scored: -scored.score)

    def log_probs(self, words: str) -> Tensor:
        """Return log p(tag | README) for every tag, [tags] in float32 nats."""
        return self._score(words, self.readme_tokens)

    def _score(self, words: str, budget: int) -> Tensor:
        """Score a text of which at most `budget` tokens are read."""
        readme = self._prompt.fit(words, budget)
        trunk = [*readme, *self._prompt.suffix, *self._tree.root]
        tree = self._tree
        hidden = self._model.branch(self._prefix, trunk, tree.tokens, tree.depths, tree.ancestry)
        log_probs = self._tree.log_probs(self._model.logits(hidden))
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
        described = [
            SCORING_VERSION,
            self._model.identity,
            self._prompt.prefix,
            self._prompt.suffix,
            [tag.label for tag in self._vocabulary],
        ]
        identity = hashlib.sha256(json.dumps(described).encode()).hexdigest()

        # Texts without content are read whole, whatever the budget of READMEs: what is kept must
        # not depend on it.
        def score(text: str) -> Tensor:
            return self._score(text, MIN_README_TOKENS)

        return prior(identity, len(self._vocabulary), score)
