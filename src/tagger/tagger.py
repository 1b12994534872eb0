"""`Tagger`: a method and a selection, which together give replies."""

from collections.abc import Iterable, Iterator
from typing import Any, Generic

from tagger.errors import TaggerError, UsageError
from tagger.methods.base import E, Method
from tagger.readme.readme import Readme
from tagger.selection import Selection
from tagger.tagging import Ranking, Tagging
from tagger.vocabulary import Vocabulary


class Tagger(Generic[E]):
    """Gives READMEs tags of one vocabulary.

    Args:
        method: finds the tags: `Rank`, `Generate` or `Endpoint`.
        selection: how many tags are given, and from which confidence.

    Attributes:
        method: finds the tags.
        selection: how many tags are given.

    Raises:
        UsageError: the selection has a threshold, and the method has no confidences.

    """

    def __init__(self, method: Method[E], selection: Selection | None = None) -> None:
        self.method = method
        self.selection = selection or Selection()
        if self.selection.threshold is not None and method.threshold is None:
            raise UsageError("a generated reply has no confidences: leave out the threshold")

    @classmethod
    def load(
        cls, model: str, vocabulary: Vocabulary, selection: Selection | None = None
    ) -> "Tagger[Any]":
        """Load a model, fetching it first if it has to be, and rank tags with it.

        Raises:
            ModelError: there is no such model, or it cannot be used.
            VocabularyError: the vocabulary does not fit the model.

        """
        # Here, not above: it imports PyTorch, which the client of a server has no use for.
        from tagger.methods.rank.rank import Rank
        from tagger.models.load import load

        return Tagger(Rank(load(model), vocabulary), selection)

    @property
    def vocabulary(self) -> Vocabulary:
        """The tags to choose from."""
        return self.method.vocabulary

    @property
    def threshold(self) -> float | None:
        """The confidence from which a tag is given; None without confidences."""
        threshold = self.selection.threshold
        return self.method.threshold if threshold is None else threshold

    def tag(self, readmes: Iterable[Readme]) -> Iterator[Tagging]:
        """Yield the tagging of each README, in order, as soon as it is known.

        Raises:
            ReadmeError: a README cannot be read as text.
            ReplyError: the model's reply cannot be used.
            ModelError: as `Method.read`.

        """
        for readme in readmes:
            (reading,) = self.method.read([self.method.encode(readme)])
            if isinstance(reading, TaggerError):
                raise reading
            (ranking,) = self.method.rank([reading])
            yield self.reply(readme.id, ranking)

    def reply(self, id: str, ranking: Ranking) -> Tagging:  # noqa: A002
        """Return the reply for a README: those of its ranked tags that are to be given.

        Raises:
            ReplyError: the ranking breaks the contract of a reply.

        """
        count = self.selection.max_tags
        if self.threshold is not None:
            confidences = [tag.confidence or 0.0 for tag in ranking.tags]
            count = self.selection.count(confidences, self.threshold)
        return Tagging.checked(
            id,
            ranking.tags[:count],
            self.vocabulary,
            self.selection.max_tags,
            suspicious=ranking.suspicious,
        )
