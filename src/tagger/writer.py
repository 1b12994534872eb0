"""`Writer`: a vocabulary and a model that writes its replies, here or behind a server."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tagger.errors import TaggerError
from tagger.methods.endpoint import Endpoint
from tagger.readme.readme import Readme
from tagger.tagging import GivenTag, Ranking, Tagging
from tagger.vocabulary import Vocabulary

if TYPE_CHECKING:  # it loads PyTorch, which a server's client has no use for
    from tagger.methods.written.generate import Generate


class Writer:
    """Gives READMEs the tags that a model writes; to a batch it looks like a `Tagger`.

    Args:
        method: who writes.
        vocabulary: the tags to choose from.
        max_tags: the most that are given.

    """

    def __init__(
        self, method: "Generate | Endpoint", vocabulary: Vocabulary, max_tags: int
    ) -> None:
        self.vocabulary = vocabulary
        self._method: Any = method
        self._max_tags = max_tags

    @property
    def settings(self) -> dict[str, str | int]:
        """Everything that a reply depends on beside the README, by a name for people."""
        settings: dict[str, str | int] = self._method.settings
        return settings

    @property
    def extra_tokens(self) -> int:
        """How many tokens a pass holds for one README beside the README's own."""
        return int(self._method.extra_tokens)

    def prepare(self) -> None:
        """Read the list of tags, or make sure that a server answers."""
        self._method.prepare()

    def stop(self) -> None:
        """Let `rank` end early: with the READMEs that a server has been asked about."""
        if isinstance(self._method, Endpoint):
            self._method.stop()

    def encode(self, readme: Readme) -> Any:
        """Return what is asked about a README."""
        return self._method.encode(readme)

    def rank(self, readmes: Sequence[Any]) -> list[Ranking | TaggerError]:
        """Return the tags of each README in the order of its reply, or why there are none.

        After `stop` the last READMEs may be missing.
        """
        return [
            found
            if isinstance(found, TaggerError)
            else tuple(GivenTag(id=tag.id, name=tag.name) for tag in found)
            for found in self._method.write(readmes)
        ]

    def reply(self, id: str, ranking: Ranking) -> Tagging:  # noqa: A002
        """Return the reply for a README, checked once more against the vocabulary."""
        return Tagging.checked(id, ranking, self.vocabulary, self._max_tags)

    def tag(self, readmes: Iterable[Readme]) -> Iterator[Tagging]:
        """Yield the tagging of each README, in order; raises why a reply cannot be used."""
        for readme in readmes:
            (ranking,) = self.rank([self.encode(readme)])
            if isinstance(ranking, TaggerError):
                raise ranking
            yield self.reply(readme.id, ranking)
