"""From scores to confidences.

A score says how much more likely a tag became by reading the README; its size depends on the
model. How far it stands above the README's middle field is comparable between READMEs, and a
logistic function of that margin, fitted on labelled READMEs, gives the probability that a curator
would accept the tag.
"""

import json
import logging
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Self

from torch import Tensor

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Calibration:
    """Fitted numbers of one model.

    Attributes:
        strength: how much of the prior is subtracted, from 0 to 1.
        slope: of the logistic function, per nat of margin.
        intercept: of the logistic function.
        threshold: the confidence from which a tag is given.

    """

    strength: float
    slope: float
    intercept: float
    threshold: float

    @classmethod
    def of(cls, model: str) -> Self:
        """Return the calibration that ships for a model, or the default with a warning."""
        shipped = _shipped()
        if model not in shipped:
            log.warning("no calibration ships for %s: its confidences are a rough default's", model)
        return cls(**shipped.get(model, shipped["default"]))

    def confidences(self, scores: Tensor) -> Tensor:
        """Return the confidence of every tag of one README, [tags] from [tags] scores in nats."""
        margins = scores - scores.median()
        return (self.slope * margins + self.intercept).sigmoid()


@cache
def _shipped() -> dict[str, dict[str, float]]:
    text = (files("tagger.methods") / "calibrations.json").read_text(encoding="utf-8")
    shipped: dict[str, dict[str, float]] = json.loads(text)
    return shipped
