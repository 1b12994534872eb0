"""`Tagger`: a model and a vocabulary, joined to tag READMEs."""

import logging
from collections.abc import Iterable, Iterator
from itertools import islice

from tagger.choice import Choice
from tagger.defaults import README_TOKENS
from tagger.methods.calibration import Calibration
from tagger.methods.rank import Rank, ScoredTag
from tagger.models.language import LanguageModel
from tagger.models.load import load
from tagger.prompt import PromptTemplate
from tagger.readme import Readme
from tagger.tagging import GivenTag, Tagging
from tagger.vocabulary import Vocabulary

log = logging.getLogger(__name__)


class Tagger:
    """Gives tags of one vocabulary to READMEs.

    Args:
        model: a loaded model, or a name for `tagger.models.load.load`.
        vocabulary: the tags to choose from.
        choice: how many tags, and how sure of them.
        readme_tokens: the most that is read of a README; lowered, with a warning, where the
            model's context is too short.
        template: what is said to the model; by default the package's own.

    Raises:
        ModelError: no model to work with.
        VocabularyError: the vocabulary does not fit the model.

    """

    def __init__(
        self,
        model: LanguageModel | str,
        vocabulary: Vocabulary,
        *,
        choice: Choice | None = None,
        readme_tokens: int = README_TOKENS,
        template: PromptTemplate | None = None,
    ) -> None:
        if isinstance(model, str):
            model = load(model)
        self.vocabulary = vocabulary
        self._choice = choice or Choice()
        self._calibration = Calibration.of(model.name)
        self._rank = Rank(
            model, vocabulary, template or PromptTemplate.load(), self._calibration, readme_tokens
        )
        if self._rank.readme_tokens < readme_tokens:
            log.warning(
                "%d tokens of each README are read, not %d: the model's context holds no more",
                self._rank.readme_tokens,
                readme_tokens,
            )

    def tag(self, readmes: Iterable[Readme]) -> Iterator[Tagging]:
        """Yield the tagging of each README, in order, as soon as it is known."""
        for readme in readmes:
            given = self._given(self._rank.rank(readme.words))
            yield Tagging.checked(readme.id, given, self.vocabulary, self._choice.max_tags)

    def _given(self, ranking: list[ScoredTag]) -> Iterator[GivenTag]:
        threshold = self._choice.threshold
        if threshold is None:
            threshold = self._calibration.threshold
        for place, scored in enumerate(islice(ranking, self._choice.max_tags)):
            if place < self._choice.min_tags or scored.confidence >= threshold:
                yield GivenTag(id=scored.tag.id, name=scored.tag.name, confidence=scored.confidence)
