"""`Tagger`: a model and a vocabulary, joined to tag READMEs."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from tagger.methods.rank.calibration_file import CalibrationFile, calibration_for
from tagger.methods.rank.rank import Encoded, Rank
from tagger.models.language import LanguageModel
from tagger.models.load import load
from tagger.prompts.prompt import PromptTemplate
from tagger.readme.readme import Readme
from tagger.selection import MAX_TAGS, Choice
from tagger.tagging import GivenTag, Ranking, Tagging
from tagger.types import README_TOKENS
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
        calibration: what `tagger calibrate` has written for this model, vocabulary and template.

    Raises:
        ModelError: no model to work with.
        VocabularyError: the vocabulary does not fit the model.
        CalibrationError: the calibration belongs to another model.

    """

    def __init__(
        self,
        model: LanguageModel | str,
        vocabulary: Vocabulary,
        *,
        choice: Choice | None = None,
        readme_tokens: int = README_TOKENS,
        template: PromptTemplate | None = None,
        calibration: CalibrationFile | None = None,
    ) -> None:
        if isinstance(model, str):
            model = load(model)
        self.vocabulary = vocabulary
        self.choice = choice or Choice()
        template = template or PromptTemplate.load()
        self._calibration = calibration_for(
            calibration, vocabulary, template.digest, model.name, model.weights
        )
        self._rank = Rank(model, vocabulary, template, self._calibration, readme_tokens)
        if self._rank.readme_tokens < readme_tokens:
            log.warning(
                "%d tokens of each README are read, not %d: the model's context holds no more",
                self._rank.readme_tokens,
                readme_tokens,
            )

    @property
    def method(self) -> Rank:
        """What ranks the tags."""
        return self._rank

    @property
    def threshold(self) -> float:
        """The confidence from which a tag is given."""
        threshold = self.choice.threshold
        return self._calibration.threshold if threshold is None else threshold

    def prepare(self) -> None:
        """Prefill the list of tags and compute the prior, unless both are cached.

        Otherwise this happens with the first README; for a new vocabulary it may take a minute.
        """
        self._rank.prepare()

    def tag(self, readmes: Iterable[Readme]) -> Iterator[Tagging]:
        """Yield the tagging of each README, in order, as soon as it is known."""
        for readme in readmes:
            (ranking,) = self.rank([self.encode(readme)])
            yield self.reply(readme.id, ranking)

    @property
    def settings(self) -> dict[str, str | int]:
        """Everything that a ranking depends on beside the README, by a name for people."""
        return self._rank.settings

    @property
    def extra_tokens(self) -> int:
        """How many tokens a pass holds for one README beside the README's own."""
        return self._rank.extra_tokens

    def encode(self, readme: Readme) -> Encoded:
        """Return what is scored of a README."""
        return self._rank.encode(readme.words)

    def rank(self, readmes: Sequence[Encoded]) -> list[Ranking]:
        """Rank the vocabulary for each README, all in one pass of the model.

        Raises:
            OutOfMemoryError: the pass needs more memory than there is.
            LoadError: the model's probabilities are not numbers.

        """
        return [
            tuple(
                GivenTag(id=scored.tag.id, name=scored.tag.name, confidence=scored.confidence)
                for scored in islice(ranking, MAX_TAGS)
            )
            for ranking in self._rank.rank(readmes)
        ]

    def stop(self) -> None:
        """Do nothing: a pass of the model takes seconds, and ends by itself."""

    def reply(self, id: str, ranking: Ranking) -> Tagging:  # noqa: A002
        """Return the reply for a README: those of its ranked tags that are to be given."""
        confidences = [tag.confidence or 0.0 for tag in ranking]
        count = self.choice.count(confidences, self._calibration.threshold)
        return Tagging.checked(id, ranking[:count], self.vocabulary, self.choice.max_tags)
