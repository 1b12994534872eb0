"""What methods have in common whose tags a model writes, here or on a server."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from tagger.methods.base import Identity, ranking_from_bytes
from tagger.tagging import Ranking
from tagger.vocabulary import Vocabulary


class Written(ABC):
    """The part of a `Method` that follows from its reading being the reply.

    Attributes:
        vocabulary: the tags.
        threshold: None: a generated reply has no confidences.

    """

    vocabulary: Vocabulary
    threshold: float | None = None

    @property
    @abstractmethod
    def identity(self) -> Identity:
        """What a reply depends on; see `Method`."""

    @property
    def reading_identity(self) -> Identity:
        """What a reading depends on: it is the reply."""
        return self.identity

    def rank(self, readings: Sequence[bytes]) -> list[Ranking]:
        """Return the tags of each reply. Raises `ValueError`."""
        return [ranking_from_bytes(reading, self.vocabulary) for reading in readings]
