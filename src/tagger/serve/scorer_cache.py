"""The questions that were asked last, with what the model has read of them.

Reading the options takes much longer than reading a text, and clients ask the same questions about
one text after the other.
"""

from collections import OrderedDict

from tagger.methods.rank.choice import Choice, OptionProbabilities, OptionScorer
from tagger.models.language import LanguageModel

MOST_TOKENS = 8192
"""Tokens whose keys and values are kept for all questions together: up to 0.3 GB with the 0.5B and
0.7 GB with the 1.5B."""


class ScorerCache:
    """Answers questions; the questions that were asked last are quickest to ask again.

    A question alone may be larger than `MOST_TOKENS`: it is kept until another is asked.

    Args:
        model: the language model.

    """

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._kept: OrderedDict[Choice, OptionScorer] = OrderedDict()

    def probabilities(self, choice: Choice, text: str) -> OptionProbabilities:
        """Return how likely each option of a question is for a text. Raises as `OptionScorer`."""
        scorer = self._kept.pop(choice, None) or OptionScorer(self._model, choice)
        self._make_room(scorer.kept)
        found = scorer.probabilities(text)
        self._kept[choice] = scorer
        return found

    def _make_room(self, tokens: int) -> None:
        while self._kept and tokens + self.tokens > MOST_TOKENS:
            self._kept.popitem(last=False)

    @property
    def tokens(self) -> int:
        """How many tokens' keys and values are kept."""
        return sum(scorer.kept for scorer in self._kept.values())
