"""From evidence to confidences.

What the model says of a tag, less a part of the prior, is comparable between branches and READMEs
once it is measured from the best tags: from the mean of the ten best. Branches vote by the sum of
their probabilities, not by the product (Kittler et al. 1998, "On Combining Classifiers"). Of this
margin, of the tag's mentions, and of how much the README moved the model at all, a logistic
function, fitted on labelled READMEs, makes the probability that a curator would accept the tag.

Where READMEs of the user's own corpus have been read, half of the prior is what the model says of
them on average, their background: what all of them have in common tells none of them apart.
"""

import json
import logging
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Self

import torch
from torch import Tensor

from tagger.digest import digest
from tagger.methods.answers import Answers
from tagger.vocabulary import Vocabulary

BEST = 10
"""Tags whose mean is the zero of a README's margins."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Calibration:
    """Fitted numbers of one model.

    Attributes:
        strength: how much of the prior is subtracted, from 0 to 1.
        answers: weight of what the model says, per nat of the margin; not negative.
        mentions: weight of log(1 + mentions) of the tag, anywhere.
        lead: weight of log(1 + mentions) in the README's lead.
        moved: weight of the log of how far the README moved the model from its prior.
        intercept: of the logistic function.
        threshold: the confidence from which a tag is given.
        background: [branches, tags] what the model says of a README of the user's corpus on
            average; None where nothing is known of that.

    """

    strength: float
    answers: float
    mentions: float
    lead: float
    moved: float
    intercept: float
    threshold: float
    background: Answers | None = None

    @classmethod
    def shipped(cls, model: str) -> Self:
        """Return the calibration that ships for a model of the catalogue, or the default."""
        models = _shipped()["models"]
        return cls(**models.get(model, models["default"]))

    @classmethod
    def of(cls, model: str, vocabulary: Vocabulary) -> Self:
        """Return the calibration that ships, as `shipped` does.

        Warns where it was not fitted on this model or these tags, or cannot fit so few.
        """
        if model not in _shipped()["models"]:
            log.warning(
                "no calibration ships for %s: its confidences are a rough default's; tagger "
                "calibrate --labels fits them",
                model,
            )
        elif len(vocabulary) < BEST:
            log.warning(
                "confidences mean little with fewer than %d tags: the order of the tags does, so "
                "set --min-tags and --max-tags rather than --threshold",
                BEST,
            )
        elif vocabulary.fingerprint != _shipped()["vocabulary"]:
            log.warning(
                "confidences were fitted on another list of tags: tagger eval measures them on "
                "yours, and tagger calibrate --labels fits them"
            )
        return cls.shipped(model)

    @property
    def numbers(self) -> dict[str, float]:
        """All numbers by name, but the background."""
        return {name: value for name, value in vars(self).items() if name != "background"}

    @property
    def digest(self) -> str:
        """A digest of all of it."""
        background = self.background and [part.tolist() for part in vars(self.background).values()]
        return digest([self.numbers, background])

    def expected(self, prior: Answers) -> Answers:
        """Return what is subtracted in part: the prior, or the middle of it and the background."""
        if self.background is None:
            return prior
        pairs = zip(vars(prior).values(), vars(self.background).values(), strict=True)
        return Answers(*((one + other) / 2 for one, other in pairs))

    def scores(self, answers: Answers, prior: Answers, limit: float | None = None) -> Tensor:
        """Return how far each tag stands above the README's best, [..., tags] in nats.

        In every branch it is what the model says of the tag beyond its prior. The branches are
        mixed as probabilities, so that a tag stands high where one of them is sure of it.

        Args:
            answers: for one or more READMEs.
            prior: the same for texts without content.
            limit: the most, in nats, that what follows the first token of a name may add; reached
                smoothly. What it takes away counts in full.

        """
        expected = self.expected(prior)
        first = answers.starts - self.strength * expected.starts
        rest = answers.rests - self.strength * expected.rests
        if limit is not None:
            rest = torch.minimum(rest, limit * (rest / limit).tanh())
        return margins(margins(first + rest).logsumexp(dim=-2))

    def standings(self, scores: Tensor, mentions: Tensor) -> Tensor:
        """Return what the tags of one README are ranked by, [..., tags].

        Args:
            scores: [..., tags] as `scores` gives them.
            mentions: [..., tags, 2] log(1 + mentions), anywhere and in the lead.

        """
        return self.answers * scores + mentions @ torch.tensor([self.mentions, self.lead])

    def logits(
        self, answers: Answers, prior: Answers, mentions: Tensor, limit: float | None = None
    ) -> Tensor:
        """Return the evidence for every tag, as the logit of its confidence.

        Args:
            answers: for one or more READMEs.
            prior: the same for texts without content.
            mentions: [..., tags, 2] log(1 + mentions), anywhere and in the lead.
            limit: as of `scores`.

        Returns:
            [..., tags] in nats.

        """
        standings = self.standings(self.scores(answers, prior, limit), mentions)
        moved = self.moved * movement(answers.starts, prior.starts).log()
        return standings + moved.unsqueeze(-1) + self.intercept


def movement(starts: Tensor, prior: Tensor) -> Tensor:
    """Return how far a README moved the model from its prior, [...] in nats.

    The mean over tags of the absolute change of what the model says of their first token, beside
    one that all tags share. A text that says nothing (badges, a licence) leaves the model where it
    was.

    Args:
        starts: [..., branches, tags] log-probabilities of the tags' first tokens.
        prior: [branches, tags] the same of texts without content.

    """
    change = (starts - prior).mean(dim=-2)
    change = change - change.mean(dim=-1, keepdim=True)
    return change.abs().mean(dim=-1).clamp(min=1e-3)


def margins(scores: Tensor) -> Tensor:
    """Return how far the scores stand above the mean of the README's best, [..., tags] in nats."""
    best = scores.topk(min(BEST, scores.shape[-1])).values
    return scores - best.mean(dim=-1, keepdim=True)


@cache
def _shipped() -> dict[str, Any]:
    text = (files("tagger.methods") / "calibrations.json").read_text(encoding="utf-8")
    shipped: dict[str, Any] = json.loads(text)
    return shipped
