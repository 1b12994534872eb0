"""The questions that were asked last, with what the model has read of them.

Reading the options takes much longer than reading a text, and clients ask the same questions about
one text after the other.
"""

from collections import OrderedDict

from tagger.methods.rank.choice import Chances, Choice, Chooser
from tagger.models.language import LanguageModel

MOST_TOKENS = 8192
"""Tokens whose keys and values are kept for all questions together: up to 0.3 GB with the 0.5B and
0.7 GB with the 1.5B."""


class Choosers:
    """Answers questions; the questions that were asked last are quickest to ask again.

    A question alone may be larger than `MOST_TOKENS`: it is kept until another is asked.

    Args:
        model: the language model.

    """

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._kept: OrderedDict[Choice, Chooser] = OrderedDict()

    def chances(self, choice: Choice, text: str) -> Chances:
        """Return how likely each option of a question is for a text. Raises as `Chooser`."""
        chooser = self._kept.pop(choice, None) or Chooser(self._model, choice)
        self._make_room(chooser.kept)
        chances = chooser.chances(text)
        self._kept[choice] = chooser
        return chances

    def _make_room(self, tokens: int) -> None:
        while self._kept and tokens + self.tokens > MOST_TOKENS:
            self._kept.popitem(last=False)

    @property
    def tokens(self) -> int:
        """How many tokens' keys and values are kept."""
        return sum(chooser.kept for chooser in self._kept.values())
