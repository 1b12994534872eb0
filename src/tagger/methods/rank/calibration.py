"""Calibration: from evidence to confidence.

A tag's log-probability less a part of its prior is comparable between branches and READMEs once it
is measured from the mean of the ten best tags; this is the tag's margin. Branches vote by the sum
of their probabilities, not by the product (Kittler et al. 1998, "On Combining Classifiers"). A
logistic function of the margin, of the tag's mentions, and of how far the README shifted the model
from its prior gives the probability that a curator would accept the tag. It is fitted on labelled
READMEs.

The background, mean log-probabilities over READMEs of the user's own corpus, replaces half of the
prior where there is one: what all of them have in common tells none of them apart.

A calibration of the user's own is a file. It means nothing for another model, prompt or list of
tags, and so the file names its own. Its last field is a digest of the others: a file that was
edited or damaged is noticed.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError
from torch import Tensor

from tagger._util.files import check_target, reporting, write_atomically
from tagger._util.hashing import digest
from tagger._util.reading import read_bounded
from tagger._util.text import printable
from tagger.errors import CalibrationError
from tagger.methods.base import Identity
from tagger.methods.rank.evidence import Evidence, TagLogProbs
from tagger.models.fetch.catalogue import catalogue
from tagger.vocabulary import Vocabulary

BEST = 10
"""Tags whose mean score is the zero of a README's margins."""

MAX_BYTES = 16 * 1024 * 1024
"""Larger files are refused unread: that is room for some 100,000 tags."""

_DIGITS = 4
"""Decimals of a log-probability in a file."""

_AGAIN = "make one with `tagger calibrate`"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Origin:
    """What a calibration was made from.

    Attributes:
        model: the name of the model.
        identity: what scores depend on, and so the calibration: model, prompt, method and tags.
        readmes: how many READMEs the background is from.
        labels: how many labelled READMEs the numbers are from; 0 if they are those that ship.

    """

    model: str
    identity: Identity
    readmes: int
    labels: int

    def __str__(self) -> str:
        labels = f" and {self.labels} labels" if self.labels else ""
        return f"calibrated on {self.readmes} READMEs{labels}"


@dataclass(frozen=True)
class Calibration:
    """The fitted numbers of one model.

    Attributes:
        prior_weight: how much of the prior is subtracted, from 0 to 1.
        margin: weight of a tag's margin, per nat; not negative.
        mentions: weight of log(1 + mentions) of the tag, anywhere.
        lead: weight of log(1 + mentions) in the README's lead.
        shift: weight of the log of how far the README shifted the model from its prior.
        intercept: of the logistic function.
        threshold: the confidence from which a tag is given.
        background: [branches, tags] mean log-probabilities over READMEs of the user's corpus;
            None where there are none.
        origin: what it was made from; None for one that ships.

    """

    prior_weight: float
    margin: float
    mentions: float
    lead: float
    shift: float
    intercept: float
    threshold: float
    background: TagLogProbs | None = None
    origin: Origin | None = None

    @classmethod
    def shipped(cls, model: str) -> Self:
        """Return the calibration that ships for a model of the catalogue, or the default."""
        models = _shipped()["models"]
        return cls(**models.get(model, models["default"]))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` has written.

        Raises:
            CalibrationError: the file cannot be read, is damaged, or is something else.

        """
        name = printable(str(path))
        try:
            file = _File.model_validate_json(read_bounded(Path(path), MAX_BYTES))
            identity = Identity.from_json(file.identity)
        except OSError as error:
            raise CalibrationError(f"{name}: cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise CalibrationError(
                f"{name}: is not a calibration, or is truncated or from another version; {_AGAIN}"
            ) from error
        if file.digest != file.computed_digest:
            raise CalibrationError(f"{name}: has been edited since it was written; {_AGAIN}")
        sizes = {len(row) for row in (*file.full, *file.first)}
        sound = len(sizes) == 1 and len(file.full) == len(file.first)
        if not sound or file.numbers.keys() != cls.shipped("").numbers.keys():
            raise CalibrationError(f"{name}: its numbers do not fit together; {_AGAIN}")
        return cls(
            **file.numbers,
            background=TagLogProbs(torch.tensor(file.full), torch.tensor(file.first)),
            origin=Origin(file.model, identity, file.readmes, file.labels),
        )

    def save(self, path: Path) -> None:
        """Write a calibration that has a background and an origin. Raises `OutputError`."""
        if self.background is None or self.origin is None:
            raise ValueError("a calibration without a background belongs to no corpus")
        file = _File(
            model=self.origin.model,
            identity=self.origin.identity.to_json(),
            readmes=self.origin.readmes,
            labels=self.origin.labels,
            numbers=self.numbers,
            full=_rounded(self.background.full),
            first=_rounded(self.background.first),
        )
        text = file.model_copy(update={"digest": file.computed_digest}).model_dump_json(indent=1)
        with reporting(printable(str(path))):
            write_atomically(path, text + "\n")

    def check(self, identity: Identity, model: str) -> None:
        """Make sure that it belongs to what scores depend on; any may be unknown.

        Args:
            identity: what scores depend on.
            model: the name of the model. Two names of the catalogue tell models apart, even where
                their weights are not known yet.

        Raises:
            CalibrationError: it belongs to something else.

        """
        if self.origin is None:
            return
        different = self.origin.identity.differences(identity)
        known = identity.features.weights or not {self.origin.model, model} <= catalogue().keys()
        if "model" in different or (not known and self.origin.model != model):
            raise CalibrationError(
                f"the calibration belongs to {printable(self.origin.model)}, and the model is "
                f"{printable(model)}; use that model, or {_AGAIN}"
            )
        if different:
            raise CalibrationError(
                f"the calibration belongs to another {' and '.join(different)}; {_AGAIN}"
            )

    def check_shape(self, branches: int, tags: int) -> None:
        """Make sure that the background, if any, is of so many. Raises `CalibrationError`."""
        if self.background and self.background.full.shape != (branches, tags):
            raise CalibrationError(f"the calibration's numbers do not fit these tags; {_AGAIN}")

    def warn(self, model: str, vocabulary: Vocabulary) -> None:
        """Log a warning if its confidences were not fitted on this model or these tags."""
        if self.origin and self.origin.labels:
            return
        if model not in _shipped()["models"]:
            log.warning(
                "no calibration ships for %s, so its confidences are rough: `tagger calibrate` "
                "fits them to labels",
                model,
            )
        elif len(vocabulary) < BEST:
            log.warning(
                "with fewer than %d tags, confidences mean little, but the order of the tags is "
                "still meaningful: use --max-tags rather than --threshold",
                BEST,
            )
        elif vocabulary.fingerprint != _shipped()["vocabulary"]:
            log.warning(
                "confidences were fitted on another list of tags: `tagger eval` measures them on "
                "yours, and `tagger calibrate` fits them to labels"
            )

    @classmethod
    def of(cls, numbers: Mapping[str, float]) -> Self:
        """Return a calibration by its numbers, as `numbers` has them. Raises `TypeError`."""
        return cls(**numbers)  # type: ignore[arg-type]

    @property
    def numbers(self) -> dict[str, float]:
        """All numbers by name; the background is not among them."""
        values = vars(self).items()
        return {name: value for name, value in values if name not in ("background", "origin")}

    @property
    def digest(self) -> str:
        """A digest of the numbers and the background."""
        background = self.background and [part.tolist() for part in vars(self.background).values()]
        return digest([self.numbers, background])

    def of_last_question(self) -> Self:
        """Return it for evidence of the last question alone."""
        background = self.background and self.background.of_last_question()
        return replace(self, background=background)

    def expected(self, prior: TagLogProbs) -> TagLogProbs:
        """Return what is subtracted in part: the prior, or the mean of it and the background."""
        if self.background is None:
            return prior
        return TagLogProbs.stack([prior, self.background]).mean()

    def margins(self, evidence: Evidence) -> Tensor:
        """Return how far each tag stands above the README's best tags, [READMEs, tags] in nats.

        In every branch that is the log-probability less a part of its prior. The branches are mixed
        as probabilities, so that a tag stands high where one of them is sure of it. What the tokens
        after a name's first may add is limited smoothly; what they take away counts in full.
        """
        expected = self.expected(evidence.prior)
        first = evidence.log_probs.first - self.prior_weight * expected.first
        rest = evidence.log_probs.rest - self.prior_weight * expected.rest
        if (limit := evidence.limit) is not None:
            rest = torch.minimum(rest, limit * (rest / limit).tanh())
        return _above_best(_above_best(first + rest).logsumexp(dim=-2))

    def logits(self, evidence: Evidence) -> Tensor:
        """Return the logit of every tag's confidence, [READMEs, tags] in nats."""
        return self.weighed(self.margins(evidence), evidence)

    def weighed(self, margins: Tensor, evidence: Evidence) -> Tensor:
        """Return the logits of evidence whose margins are known, [READMEs, tags] in nats."""
        mentions = evidence.mentions @ torch.tensor([self.mentions, self.lead])
        shift = self.shift * prior_shift(evidence.log_probs.first, evidence.prior.first).log()
        scores = self.margin * margins + mentions
        return scores + shift.unsqueeze(-1) + self.intercept


def prior_shift(first: Tensor, prior: Tensor) -> Tensor:
    """Return how far a README shifted the model from its prior, [...] in nats.

    The mean over tags of the absolute change of the log-probability of their first token, beyond
    the change that all tags share. A text without content (badges, a licence) shifts nothing.

    Args:
        first: [..., branches, tags] log-probabilities of the tags' first tokens.
        prior: [branches, tags] the same for content-free texts.

    """
    change = (first - prior).mean(dim=-2)
    change = change - change.mean(dim=-1, keepdim=True)
    return change.abs().mean(dim=-1).clamp(min=1e-3)


def _above_best(scores: Tensor) -> Tensor:
    """Return how far the scores stand above the mean of the ten best, [..., tags] in nats."""
    best = scores.topk(min(BEST, scores.shape[-1])).values
    return scores - best.mean(dim=-1, keepdim=True)


@cache
def _shipped() -> dict[str, Any]:
    text = (files(__package__) / "calibrations.json").read_text(encoding="utf-8")
    shipped: dict[str, Any] = json.loads(text)
    return shipped


_Number = Annotated[float, Field(allow_inf_nan=False)]


class _File(BaseModel):
    """The content of a file; `full` and `first` are the background, [branches, tags]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[3] = 3
    model: str
    identity: str
    readmes: PositiveInt
    labels: NonNegativeInt
    numbers: dict[str, _Number]
    full: list[list[_Number]]
    first: list[list[_Number]]
    digest: str = ""

    @property
    def computed_digest(self) -> str:
        return digest(self.model_dump(exclude={"digest"}))


def check_calibration_target(path: Path) -> None:
    """Make sure, before anything is read, that a calibration can be written to a file.

    Raises:
        OutputError: it cannot.
        UsageError: there is another file.

    """

    def ours() -> bool:
        if path.stat().st_size > MAX_BYTES:
            return False
        try:
            _File.model_validate_json(path.read_bytes())
        except ValidationError:
            return False
        return True

    check_target(path, ours, "calibration")


def _rounded(values: Tensor) -> list[list[float]]:
    return [[round(value, _DIGITS) for value in row] for row in values.tolist()]
