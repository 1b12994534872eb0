"""The file of `tagger calibrate`: a calibration, and all that it belongs to.

A calibration means nothing for another model, prompt or list of tags, and so the file names its
own and is refused for any other. Its last field is a digest of the others: a file that was edited
or damaged is noticed.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError
from torch import Tensor

from tagger._util.files import check_target, reporting, write_atomically
from tagger._util.hashing import digest
from tagger._util.reading import read_bounded
from tagger._util.text import printable
from tagger.errors import CalibrationError
from tagger.methods.rank.calibration import Calibration
from tagger.methods.rank.evidence import TagLogProbs
from tagger.methods.rank.rank import SCORING_VERSION
from tagger.models.fetch.catalogue import catalogue
from tagger.prompts.prompt import PromptTemplate
from tagger.vocabulary import Vocabulary

MAX_BYTES = 16 * 1024 * 1024
"""Larger files are refused unread: that is room for some 100,000 tags."""

_DIGITS = 4
"""Decimals of a log-probability that are kept."""

_KEYS = Calibration.shipped("").numbers.keys()

_AGAIN = "make one with `tagger calibrate`"

_Number = Annotated[float, Field(allow_inf_nan=False)]


class CalibrationFile(BaseModel):
    """What the file holds.

    Attributes:
        format: of the file.
        model: the model's name, for people.
        weights: a digest of the model.
        prompt: a digest of the prompt template.
        tags: a digest of what the model reads of the tags.
        scoring: the way of scoring.
        readmes: how many READMEs the background is from.
        labels: how many labels the confidences are from; 0 where they are as shipped.
        numbers: those of the calibration, by name.
        full: [branches][tags] the background's log-probabilities of names, in nats.
        first: [branches][tags] those of their first tokens.
        digest: of all that.

    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2] = 2
    model: str
    weights: str
    prompt: str
    tags: str
    scoring: int
    readmes: PositiveInt
    labels: NonNegativeInt
    numbers: dict[str, _Number]
    full: list[list[_Number]]
    first: list[list[_Number]]
    digest: str = ""

    @classmethod
    def of(
        cls,
        calibration: Calibration,
        *,
        model: str,
        weights: str,
        template: PromptTemplate,
        vocabulary: Vocabulary,
        readmes: int,
        labels: int,
    ) -> Self:
        """Make what is to be written; the calibration has a background."""
        background = calibration.background
        if background is None:
            raise ValueError("a calibration without a background belongs to no corpus")
        unsigned = cls(
            model=model,
            weights=weights,
            prompt=template.digest,
            tags=vocabulary.wording,
            scoring=SCORING_VERSION,
            readmes=readmes,
            labels=labels,
            numbers=calibration.numbers,
            full=_rounded(background.full),
            first=_rounded(background.first),
        )
        return unsigned.model_copy(update={"digest": unsigned._digest})

    def save(self, path: Path) -> None:
        """Write the file. Raises `OutputError`."""
        with reporting(printable(str(path))):
            write_atomically(path, self.model_dump_json(indent=1) + "\n")

    @classmethod
    def check_target(cls, path: Path) -> None:
        """Make sure, before anything is read, that a calibration can be written to a file.

        Raises:
            OutputError: it cannot.
            UsageError: there is another file.

        """

        def ours() -> bool:
            if path.stat().st_size > MAX_BYTES:
                return False
            try:
                cls.model_validate_json(path.read_bytes())
            except ValidationError:
                return False
            return True

        check_target(path, ours, "calibration")

    @classmethod
    def load(cls, path: str | Path, vocabulary: Vocabulary) -> Self:
        """Read a file, and make sure that it belongs to these tags.

        Raises:
            CalibrationError: it cannot be read, is damaged, or belongs to others.

        """
        name = printable(str(path))
        try:
            found = cls.model_validate_json(read_bounded(Path(path), MAX_BYTES))
        except OSError as error:
            raise CalibrationError(f"{name}: cannot be read: {error.strerror}") from error
        except ValidationError as error:
            raise CalibrationError(
                f"{name}: is no calibration, or is cut short or of another version; {_AGAIN}"
            ) from error
        if found.digest != found._digest:
            raise CalibrationError(f"{name}: has been edited since it was written; {_AGAIN}")
        if found.tags != vocabulary.wording:
            raise CalibrationError(
                f"{name}: belongs to another list of tags, or to these in another order; {_AGAIN}"
            )
        if found.scoring != SCORING_VERSION:
            raise CalibrationError(f"{name}: belongs to another version of tagger; {_AGAIN}")
        sizes = {len(row) for row in (*found.full, *found.first)}
        if sizes != {len(vocabulary)} or found.numbers.keys() != _KEYS:
            raise CalibrationError(f"{name}: its numbers do not fit together; {_AGAIN}")
        return found

    def check_prompt(self, prompt: str) -> None:
        """Make sure that it belongs to a prompt, by its digest. Raises `CalibrationError`."""
        if self.prompt != prompt:
            raise CalibrationError(f"the calibration belongs to another prompt; {_AGAIN}")

    def check_model(self, model: str, weights: str | None = None) -> None:
        """Make sure that it belongs to a model.

        Args:
            model: the model's name.
            weights: the model's digest, which decides where it is known. Two names of the
                catalogue tell models apart too.

        Raises:
            CalibrationError: it belongs to another one.

        """
        named = self.model != model and {self.model, model} <= catalogue().keys()
        if named if weights is None else self.weights != weights:
            raise CalibrationError(
                f"the calibration belongs to {printable(self.model)}, and the model is "
                f"{printable(model)}; name that with --model, or {_AGAIN}"
            )

    @property
    def summary(self) -> str:
        """What it was made from, for people."""
        labels = f" and {self.labels} labels" if self.labels else ""
        return f"calibrated on {self.readmes} READMEs{labels}"

    @property
    def calibration(self) -> Calibration:
        """The calibration."""
        background = TagLogProbs(torch.tensor(self.full), torch.tensor(self.first))
        return Calibration(**self.numbers, background=background)

    @property
    def _digest(self) -> str:
        return digest(self.model_dump(exclude={"digest"}))


def calibration_for(
    fitted: CalibrationFile | None,
    vocabulary: Vocabulary,
    prompt: str,
    model: str,
    weights: str | None = None,
) -> Calibration:
    """Return the calibration of a file, or else the one that ships, for a prompt and a model.

    Warns where confidences were not fitted on these tags. Raises `CalibrationError`.
    """
    if fitted is None:
        return Calibration.of(model, vocabulary)
    fitted.check_prompt(prompt)
    fitted.check_model(model, weights)
    if not fitted.labels:
        Calibration.of(model, vocabulary)  # for its warnings
    return fitted.calibration


def _rounded(values: Tensor) -> list[list[float]]:
    return [[round(value, _DIGITS) for value in row] for row in values.tolist()]
