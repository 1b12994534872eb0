"""From evidence to confidences.

What the model says of a tag in answer to each question, less a part of the prior, is comparable
between READMEs once it is measured from the README's best tags: from the mean of the ten best. A
logistic function of these margins, of the tag's mentions, and of how much the README moved the
model at all, fitted on labelled READMEs, gives the probability that a curator would accept the tag.
"""

import json
import logging
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Self

import torch
from torch import Tensor

BEST = 10
"""Tags whose mean is the zero of a README's margins."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Calibration:
    """Fitted numbers of one model.

    Attributes:
        strength: how much of the prior is subtracted, from 0 to 1.
        answers: weight of the margin in answer to each question, per nat.
        mentions: weight of log(1 + mentions) of the tag, anywhere.
        lead: weight of log(1 + mentions) in the README's lead.
        moved: weight of the log of how far the README moved the model from its prior.
        intercept: of the logistic function.
        threshold: the confidence from which a tag is given.

    """

    strength: float
    answers: tuple[float, ...]
    mentions: float
    lead: float
    moved: float
    intercept: float
    threshold: float

    @classmethod
    def of(cls, model: str, questions: int) -> Self:
        """Return the calibration that ships for a model, or the default with a warning.

        Args:
            model: its name in the catalogue.
            questions: how many questions the prompt asks; for another number than the calibration
                was fitted on, its weight is spread evenly.

        """
        shipped = _shipped()
        if model not in shipped:
            log.warning("no calibration ships for %s: its confidences are a rough default's", model)
        numbers = shipped.get(model, shipped["default"])
        answers = tuple(numbers["answers"])
        if len(answers) != questions:
            answers = (sum(answers) / questions,) * questions
        return cls(**(numbers | {"answers": answers}))

    def logits(self, log_probs: Tensor, prior: Tensor, mentions: Tensor) -> Tensor:
        """Return the evidence for every tag, as the logit of its confidence.

        Args:
            log_probs: [..., questions, tags] log p(tag | README, question), in nats.
            prior: [questions, tags] the same of texts without content.
            mentions: [..., tags, 2] log(1 + mentions), anywhere and in the lead.

        Returns:
            [..., tags] in nats.

        """
        answers = torch.tensor(self.answers) @ margins(log_probs, prior, self.strength)
        named = mentions @ torch.tensor([self.mentions, self.lead])
        moved = self.moved * movement(log_probs, prior).log()
        return answers + named + moved.unsqueeze(-1) + self.intercept


def movement(log_probs: Tensor, prior: Tensor) -> Tensor:
    """Return how far a README moved the model from its prior, [...] in nats.

    The mean over tags and questions of the absolute change, beside one that all tags share. A text
    that says nothing (badges, a licence) leaves the model where it was.
    """
    change = log_probs - prior
    change = change - change.mean(dim=-1, keepdim=True)
    return change.abs().mean(dim=(-2, -1)).clamp(min=1e-3)


def margins(log_probs: Tensor, prior: Tensor, strength: float) -> Tensor:
    """Return how far the scores stand above the README's best, [..., questions, tags] in nats."""
    scores = log_probs - strength * prior
    best = scores.topk(min(BEST, scores.shape[-1])).values
    return scores - best.mean(dim=-1, keepdim=True)


@cache
def _shipped() -> dict[str, dict[str, Any]]:
    text = (files("tagger.methods") / "calibrations.json").read_text(encoding="utf-8")
    shipped: dict[str, dict[str, Any]] = json.loads(text)
    return shipped
