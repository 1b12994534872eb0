"""A head: what labels have taught about tags, as linear functions of a README's features.

One ridge regression a tag, one against the rest (Hoerl and Kennard 1970, "Ridge Regression"), on
features that are standardised by the READMEs it was fitted to. Its score for a tag is one more
input of the logistic function that gives the confidence. With a brief head, the others come from
the last question alone, and of each name from its first token: with a few hundred labels that is as
good, and takes less time.

A head knows tags by their names, and so serves every list that has some of them; one that was
learned for a list also knows the tags of it that were renamed, by their ids. The others keep their
zero-shot confidence.

The file is a safetensors file: numbers, and text about them. Nothing in it is code, and its digest
tells whether it was edited.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, FiniteFloat, NonNegativeInt, PositiveInt
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from tagger._util.files import check_own_file, check_target, replacing, reporting
from tagger._util.hashing import digest
from tagger._util.reading import read_bounded
from tagger._util.text import printable
from tagger.errors import HeadError
from tagger.methods.base import FeatureIdentity, Identity
from tagger.methods.rank.calibration import Calibration
from tagger.methods.rank.evidence import Evidence
from tagger.vocabulary import Vocabulary, fold, renames

MAX_BYTES = 256 * 1024 * 1024
"""Larger files are refused unread: that is room for tens of thousands of tags."""

_AGAIN = "make one with `tagger learn`"

ONE_QUESTION = ", one question"
"""What the method of a brief head ends with."""

_TENSORS = ("rows", "mean", "scale")

_LONGEST = 200
"""Characters of a model's name, or of a setting, that a message shows."""

_SHOWN = {
    "README cleaning": "version {} of the README cleaning, and here it is {}",
    "README tokens": "{} README tokens, and {} are read here",
    "hidden states": "{} as hidden states, and here they are {}",
    "method": "the method {}, and here it is {}",
}
"""How two values of a setting are said. Those of the others are digests, which tell nobody more."""


class _About(BaseModel):
    """The text beside the numbers of a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    model: str
    features: dict[str, str | int]
    method: str
    calibration: str
    tags: tuple[str, ...]
    ids: tuple[str, ...]
    numbers: dict[str, FiniteFloat]
    weight: FiniteFloat
    readmes: PositiveInt
    labels: NonNegativeInt
    fitted: tuple[str, ...]
    digest: str = ""


@dataclass(frozen=True)
class Head:
    """What was learned from labels.

    Attributes:
        model: the name of the model, for people.
        identity: what the features depend on.
        method: the method and its version, which margins depend on.
        base: a digest of the calibration of tags that the head does not know, with which it was
            fitted.
        tags: the folded names of the tags it knows.
        ids: their ids in the list that it was learned for; empty if it is for any list.
        rows: [tags, width] weights of the standardised features, float16.
        mean: [width] what is subtracted from features.
        scale: [width] what they are then multiplied with.
        calibration: gives the confidences of the tags it knows, before the head's scores are
            added. Its margins are those of the calibration with which the head was fitted.
        weight: of a score in a logit; 0 if the labels were too few, or taught nothing.
        readmes: how many READMEs it was fitted to.
        labels: how many tags these had.
        fitted: digests of these READMEs, sorted.
        source: the name of the file that it was read from, for messages.

    """

    model: str
    identity: FeatureIdentity
    method: str
    base: str
    tags: tuple[str, ...]
    ids: tuple[str, ...]
    rows: Tensor
    mean: Tensor
    scale: Tensor
    calibration: Calibration
    weight: float
    readmes: int
    labels: int
    fitted: tuple[str, ...]
    source: str = field(default="", compare=False)

    @property
    def brief(self) -> bool:
        """Whether it needs no more than `Evidence.of_last_question`."""
        return self.method.endswith(ONE_QUESTION)

    def scores(self, features: Tensor) -> Tensor:
        """Return how far features speak for each of its tags, [READMEs, tags].

        Args:
            features: [READMEs, 1, hidden].

        """
        standard = (features.flatten(1).float() - self.mean) * self.scale
        # One by one: products of larger matrices are summed in another order, and what a README
        # gets must not depend on the others.
        return torch.stack([self._weights @ row for row in standard])

    def known(self, vocabulary: Vocabulary) -> Tensor:
        """Return the row of every tag, [tags]; -1 for those that it does not know."""
        places = {name: place for place, name in enumerate(self.tags)}
        renamed = {new: places[old] for old, new in self.renames(vocabulary)}
        names = [fold(tag.name) for tag in vocabulary]
        return torch.tensor([places.get(name, renamed.get(name, -1)) for name in names])

    def renames(self, vocabulary: Vocabulary) -> list[tuple[str, str]]:
        """Return the folded old and new names of tags that it knows by their ids; see `renames`."""
        return renames(dict(zip(self.tags, self.ids, strict=False)), vocabulary)

    def check(self, identity: Identity, model: str) -> None:
        """Make sure that it belongs to what features depend on. Any machine will do.

        Raises:
            HeadError: it belongs to something else; the differences are named.

        """
        method = self.method.removesuffix(ONE_QUESTION)
        mine = Identity(self.identity, method=method, calibration=self.base)
        different = mine.differences(identity)
        if "model" in different:  # others of these go with the model
            different = [name for name in different if name not in ("calibration", "hidden states")]
        values, others = mine.values(), identity.values()
        said = [
            _models(self.model, model)
            if name == "model"
            else _SHOWN.get(name, f"another {name}").format(
                _shown(values[name]), _shown(others[name])
            )
            for name in different
        ]
        if said:
            raise HeadError(
                f"{self._name} was learned with {', and with '.join(said)}; use the same, or learn "
                "again"
            )

    def check_shape(self, width: int) -> None:
        """Make sure that it is about features of so many numbers. Raises `HeadError`."""
        if len(self.mean) != width:
            raise HeadError(f"{self._name} has numbers that do not fit this model; {_AGAIN}")

    @property
    def digest(self) -> str:
        """A digest of the whole."""
        return self._about.digest

    def save(self, path: Path) -> None:
        """Write the file. The same head gives the same bytes. Raises `OutputError`."""
        content = to_bytes(
            {name: getattr(self, name).contiguous() for name in _TENSORS},
            {"tagger": self._about.model_dump_json()},
        )
        with reporting(printable(str(path))), replacing(path) as part:
            part.write_bytes(content)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` has written.

        Raises:
            HeadError: the file cannot be read, is damaged, or is something else.

        """
        name = printable(str(path))
        try:
            if Path(path).is_fifo():  # which would be waited for
                raise HeadError(f"{name}: is a pipe, but a head must be a regular file; {_AGAIN}")
            content = read_bounded(Path(path), MAX_BYTES)
        except OSError as error:
            raise HeadError(f"{name}: cannot be read: {error.strerror}") from error
        try:
            tensors = from_bytes(content)
            about = _About.model_validate_json(_metadata(content)["tagger"])
            head = cls(
                model=about.model,
                identity=FeatureIdentity(**about.features),  # type: ignore[arg-type]
                method=about.method,
                base=about.calibration,
                tags=about.tags,
                ids=about.ids,
                rows=tensors["rows"],
                mean=tensors["mean"],
                scale=tensors["scale"],
                calibration=Calibration.of(about.numbers),
                weight=about.weight,
                readmes=about.readmes,
                labels=about.labels,
                fitted=about.fitted,
                source=name,
            )
            sound = head._is_sound()
        except (SafetensorError, ValueError, TypeError, LookupError, RuntimeError) as error:
            raise HeadError(
                f"{name}: is not a head, or is truncated or from another version; {_AGAIN}"
            ) from error
        if not sound:
            raise HeadError(f"{name}: its numbers do not fit together; {_AGAIN}")
        if about.digest != head.digest:
            raise HeadError(f"{name}: has been edited since it was written; {_AGAIN}")
        return head

    def __str__(self) -> str:
        return f"learned from {self.readmes} READMEs with {self.labels} tags"

    @property
    def _name(self) -> str:
        return f"{self.source}:" if self.source else "the head"

    def _is_sound(self) -> bool:
        width = self.mean.numel()
        kinds = {part.dtype for part in (self.mean, self.scale)} == {torch.float32}
        shapes = self.mean.shape == self.scale.shape == (width,)
        shapes = shapes and self.rows.shape == (len(self.tags), width)
        tensors = (self.rows, self.mean, self.scale)
        shapes = shapes and len(self.ids) in (0, len(self.tags))
        # By NumPy: PyTorch would start OpenMP threads for the thread that loads the head. With more
        # of them than processors, all sleep between operations, and where a server runs the model
        # in another thread, that takes up to 30 % longer.
        finite = all(bool(np.isfinite(part.numpy()).all()) for part in tensors)
        return kinds and shapes and finite and self.rows.dtype == torch.float16

    @cached_property
    def _weights(self) -> Tensor:
        return self.rows.float()

    @cached_property
    def _about(self) -> _About:
        about = _About(
            model=self.model,
            features=asdict(self.identity),
            method=self.method,
            calibration=self.base,
            tags=self.tags,
            ids=self.ids,
            numbers=self.calibration.numbers,
            weight=self.weight,
            readmes=self.readmes,
            labels=self.labels,
            fitted=self.fitted,
        )
        contents = [getattr(self, key).contiguous().numpy().tobytes() for key in _TENSORS]
        numbers = [hashlib.sha256(content).hexdigest() for content in contents]
        return about.model_copy(update={"digest": digest([about.model_dump(), numbers])})


@dataclass(frozen=True)
class Confidence:
    """A calibration and, where there is one, a head: from evidence to confidence.

    Attributes:
        calibration: of tags that the head does not know.
        head: what was learned.
        rows: [tags] the head's row of every tag, -1 where it has none.

    """

    calibration: Calibration
    head: Head | None
    rows: Tensor

    @classmethod
    def of(cls, calibration: Calibration, head: Head | None, vocabulary: Vocabulary) -> Self:
        """Put a calibration and a head together for a vocabulary."""
        rows = head.known(vocabulary) if head else torch.full((len(vocabulary),), -1)
        return cls(calibration, head, rows)

    @property
    def threshold(self) -> float:
        """The confidence from which a tag is given: as much the head's as it knows of the tags."""
        if self.head is None:
            return self.calibration.threshold
        share = self.known / len(self.rows)
        return blended_threshold(self.calibration, self.head.calibration, share)

    @property
    def known(self) -> int:
        """How many tags the head knows."""
        return int((self.rows >= 0).sum())

    @property
    def complete(self) -> bool:
        """Whether `Evidence.of_last_question` is enough: a brief head knows every tag."""
        return self.head is not None and self.head.brief and self.known == len(self.rows)

    def margins(self, evidence: Evidence) -> Tensor:
        """Return how far each tag stands above the README's best tags; see `Calibration`."""
        return self.calibration.margins(evidence)

    def learned(self, evidence: Evidence) -> Tensor | None:
        """Return what the head adds to the logits of tags, [READMEs, tags] in nats.

        None without a head. Of tags that it does not cover the values mean nothing.
        """
        if self.head is None or evidence.features is None:
            return None
        scores = self.head.scores(evidence.features[:, -1:])
        return self.head.weight * scores[:, self.rows.clamp(min=0)]

    def logits(self, evidence: Evidence) -> Tensor:
        """Return the logit of every tag's confidence, [READMEs, tags] in nats."""
        learned = self.learned(evidence)
        if self.head is None or learned is None:
            return self.calibration.logits(evidence)
        if not self.head.brief:
            margins = self.margins(evidence)
            learned = self.head.calibration.weighed(margins, evidence) + learned
            return torch.where(self.rows >= 0, learned, self.calibration.weighed(margins, evidence))
        short = evidence.of_last_question()
        margins = self.calibration.of_last_question().margins(short)
        learned = self.head.calibration.weighed(margins, short) + learned
        if self.complete:
            return learned
        return torch.where(self.rows >= 0, learned, self.calibration.logits(evidence))


def blended_threshold(before: Calibration, learned: Calibration, share: float) -> float:
    """Return the threshold where a head's calibration is for a share of the tags."""
    return before.threshold + share * (learned.threshold - before.threshold)


def check_head_target(path: Path) -> None:
    """Make sure, before anything is read, that a head can be written to a file.

    Raises:
        OutputError: it cannot.
        UsageError: there is another file, or a link.

    """

    def ours() -> bool:
        try:
            Head.load(path)
        except HeadError:
            return False
        return True

    check_own_file(path)
    check_target(path, ours, "head")


def _models(learned: str, here: str) -> str:
    """Say what model a head was learned with, and what is here."""
    if learned == here:
        return f"other weights of {_shown(here)}"
    return f"the model {_shown(learned)}, and the model here is {_shown(here)}"


def _shown(value: object) -> str:
    text = str(value)
    return printable(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


def _metadata(content: bytes) -> dict[str, Any]:
    """Return the text of a safetensors file, whose header is JSON after its length in 8 bytes."""
    length = int.from_bytes(content[:8], "little")
    found: dict[str, Any] = json.loads(content[8 : 8 + length])["__metadata__"]
    return found
