"""How many of the ranked tags are given."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Self

from pydantic import TypeAdapter, ValidationError

from tagger.errors import UsageError

MAX_TAGS = 10
"""The most tags that anybody may ask for."""


@dataclass(frozen=True)
class Selection:
    """Which of the ranked tags are given.

    Attributes:
        max_tags: the most that are given.
        min_tags: the least, whatever their confidence.
        threshold: the confidence from which a tag is given; None takes the calibration's.

    Raises:
        UsageError: the numbers contradict each other.

    """

    max_tags: int = 3
    min_tags: int = 1
    threshold: float | None = None

    def count(self, confidences: Sequence[float], threshold: float) -> int:
        """Return how many tags are given.

        Args:
            confidences: of the ranked tags, the highest first.
            threshold: what counts where the choice names none.

        """
        least = threshold if self.threshold is None else self.threshold
        sure = sum(confidence >= least for confidence in confidences[: self.max_tags])
        return max(sure, min(self.min_tags, len(confidences)))

    def to_json(self) -> str:
        """Return it as JSON, for `from_json`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return what `to_json` has written. Raises `ValueError` if it is something else."""
        try:
            return TypeAdapter(cls).validate_json(text, strict=True)
        except (ValidationError, UsageError) as error:
            raise ValueError("not a selection") from error

    def __post_init__(self) -> None:
        if not 1 <= self.max_tags <= MAX_TAGS:
            raise UsageError(f"at most {self.max_tags} tags: choose from 1 to {MAX_TAGS}")
        if not 0 <= self.min_tags <= self.max_tags:
            raise UsageError(
                f"min-tags {self.min_tags} is not between 0 and max-tags {self.max_tags}"
            )
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise UsageError(f"threshold {self.threshold}: choose from 0 to 1")
