"""What all ways of finding tags have in common, and what their answers depend on."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol, Self

from typing_extensions import TypeVar

from tagger._util.hashing import digest
from tagger.errors import TaggerError
from tagger.prompts.prompt import Conversation
from tagger.readme.readme import Readme
from tagger.tagging import GivenTag, Ranking
from tagger.vocabulary import Vocabulary


class Encoded(Protocol):
    """A README as a method reads it."""

    @property
    def length(self) -> int:
        """How many tokens there are to read."""


E = TypeVar("E", bound=Encoded, default=Any)


@dataclass(frozen=True)
class Capacity:
    """How much a method takes at once.

    Attributes:
        tokens: of one pass, over all its READMEs; None where tokens are not the limit.
        readmes: at once, where tokens are not the limit.
        overhead: tokens that a pass holds for each README beside the README's own.

    """

    tokens: int | None = None
    readmes: int = 1
    overhead: int = 0


@dataclass(frozen=True)
class FeatureIdentity:
    """What the hidden states of a README depend on; neither the machine nor the list of tags.

    Attributes:
        weights: a digest of the model, or a server's name for it.
        prompt: a digest of the prompt template.
        cleaning: the version of the cleaning of READMEs.
        readme_tokens: the most that is read of a README.
        layers: which hidden states.

    """

    weights: str = field(default="", metadata={"name": "model"})
    prompt: str = field(default="", metadata={"name": "prompt"})
    cleaning: str = field(default="", metadata={"name": "README cleaning"})
    readme_tokens: int = field(default=0, metadata={"name": "README tokens"})
    layers: str = field(default="", metadata={"name": "hidden states"})


@dataclass(frozen=True)
class Identity:
    """What a ranking depends on beside the README. Empty values are unknown, or do not matter.

    Attributes:
        features: what is read off the README.
        method: the method, its version and its settings.
        machine: a digest of processor, number format and library versions.
        vocabulary: a digest of what the model reads of the tags.
        calibration: a digest of the calibration.
        probe: a digest of what finds planted passages.
        head: a digest of the head.

    """

    features: FeatureIdentity = FeatureIdentity()
    method: str = field(default="", metadata={"name": "method"})
    machine: str = field(default="", metadata={"name": "machine, number format or library version"})
    vocabulary: str = field(default="", metadata={"name": "vocabulary"})
    calibration: str = field(default="", metadata={"name": "calibration"})
    probe: str = field(default="", metadata={"name": "detector of planted passages"})
    head: str = field(default="", metadata={"name": "head"})

    def differences(self, other: "Identity") -> list[str]:
        """Return the names of what differs, leaving out what either side does not know."""
        mine, others = self.values(), other.values()
        return [
            name for name, value in mine.items() if value and others[name] not in (0, "", value)
        ]

    @property
    def digest(self) -> str:
        """A digest of all of it."""
        return digest(asdict(self))

    def to_json(self) -> str:
        """Return it as JSON, for `from_json`."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` has written.

        Raises:
            ValueError: it is something else.

        """
        try:
            values = dict(json.loads(text))
            return cls(FeatureIdentity(**values.pop("features")), **values)
        except (TypeError, KeyError, RecursionError) as error:
            raise ValueError("not an identity") from error

    def values(self) -> dict[str, Any]:
        """Return what it depends on by the names that people are told."""
        return {
            each.metadata["name"]: getattr(part, each.name)
            for part in (self.features, self)
            for each in fields(part)
            if each.metadata
        }


class Method(Protocol[E]):
    """A way of finding tags.

    It is split where time is: `read` runs a model and takes seconds, and what it returns can be
    kept; `rank` makes tags of that in no time.
    """

    @property
    def name(self) -> str:
        """What people call the model."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The tags to choose from."""

    @property
    def identity(self) -> Identity:
        """What a ranking depends on."""

    @property
    def reading_identity(self) -> Identity:
        """What a reading depends on: often less, such as not the calibration."""

    @property
    def capacity(self) -> Capacity:
        """How much `read` takes at once."""

    @property
    def threshold(self) -> float | None:
        """The confidence from which a tag is given by default; None without confidences."""

    def prepare(self, *, reading: bool = True) -> None:
        """Compute whatever all READMEs share, or make sure that a server answers.

        Otherwise this happens with the first README; for a new vocabulary it may take a minute.

        Args:
            reading: whether READMEs are to be read, and not only ranked by what was read before.

        """

    def encode(self, readme: Readme) -> E:
        """Return what is read of a README. Raises `ReadmeError`."""

    def read(self, readmes: Sequence[E]) -> Sequence[bytes | TaggerError]:
        """Return what the model makes of each README, or why that cannot be used.

        After `stop` the last READMEs may be missing.

        Raises:
            OutOfMemoryError: the pass needs more memory than there is.
            LoadError: the model's probabilities are not numbers.
            EndpointError: the server can answer no README.

        """

    def rank(self, readings: Sequence[bytes]) -> list[Ranking]:
        """Return the best tags by each reading, the best first, whatever the others are.

        Raises:
            ValueError: some of the bytes are no reading of this identity.

        """

    def conversations(self, readme: Readme) -> list[Conversation]:
        """Return what is said to the model about a README."""

    def stop(self) -> None:
        """Have `read` end early, where it takes long."""


def ranking_to_bytes(ranking: Ranking, vocabulary: Vocabulary) -> bytes:
    """Return a ranking as a reading: the places of its tags in the vocabulary, and confidences.

    That the README is suspicious is said by a null at the end.
    """
    places = {tag.id: place for place, tag in enumerate(vocabulary)}
    rows = [(places[tag.id], tag.confidence) for tag in ranking.tags]
    return json.dumps([*rows, *([None] if ranking.suspicious else [])]).encode()


def ranking_from_bytes(reading: bytes, vocabulary: Vocabulary) -> Ranking:
    """Return the ranking that `ranking_to_bytes` has written.

    Raises:
        ValueError: it is something else.

    """
    try:
        rows = json.loads(reading)
        suspicious = rows[-1:] == [None]
        found = [
            (vocabulary.tags[place], confidence)
            for place, confidence in (rows[:-1] if suspicious else rows)
        ]
        tags = tuple(
            GivenTag(id=tag.id, name=tag.name, confidence=confidence) for tag, confidence in found
        )
    except (TypeError, LookupError, RecursionError) as error:
        raise ValueError("not a ranking") from error
    ranking, different = Ranking(tags, suspicious), len({tag.id for tag in tags})
    if different < len(tags) or ranking_to_bytes(ranking, vocabulary) != reading:
        raise ValueError("not a ranking as it is written")
    return ranking
