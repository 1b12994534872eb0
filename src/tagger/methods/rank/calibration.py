"""Calibration: from evidence to confidence.

A tag's log-probability less a part of its prior is comparable between branches and READMEs once it
is measured from the mean of the ten best tags; this is the tag's margin. Branches vote by the sum
of their probabilities, not by the product (Kittler et al. 1998, "On Combining Classifiers"). A
logistic function of the margin, of the tag's mentions, and of how far the README shifted the model
from its prior gives the probability that a curator would accept the tag. It is fitted on labelled
READMEs.

The background, mean log-probabilities over READMEs of the user's own corpus, replaces half of the
prior where there is one: what all of them have in common tells none of them apart.
"""

import json
import logging
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Self

import torch
from torch import Tensor

from tagger._util.hashing import digest
from tagger.methods.rank.evidence import Evidence, TagLogProbs
from tagger.vocabulary import Vocabulary

BEST = 10
"""Tags whose mean score is the zero of a README's margins."""

log = logging.getLogger(__name__)


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

    """

    prior_weight: float
    margin: float
    mentions: float
    lead: float
    shift: float
    intercept: float
    threshold: float
    background: TagLogProbs | None = None

    @classmethod
    def shipped(cls, model: str) -> Self:
        """Return the calibration that ships for a model of the catalogue, or the default."""
        models = _shipped()["models"]
        return cls(**models.get(model, models["default"]))

    @classmethod
    def of(cls, model: str, vocabulary: Vocabulary) -> Self:
        """Return the calibration that ships for a model, as `shipped` does.

        Logs a warning if it was not fitted on this model or these tags, or if the tags are too few
        for it.
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
        """All numbers by name; the background is not among them."""
        return {name: value for name, value in vars(self).items() if name != "background"}

    @property
    def digest(self) -> str:
        """A digest of the numbers and the background."""
        background = self.background and [part.tolist() for part in vars(self.background).values()]
        return digest([self.numbers, background])

    def expected(self, prior: TagLogProbs) -> TagLogProbs:
        """Return what is subtracted in part: the prior, or the mean of it and the background."""
        if self.background is None:
            return prior
        return TagLogProbs.stack([prior, self.background]).mean()

    def margins(
        self, log_probs: TagLogProbs, prior: TagLogProbs, limit: float | None = None
    ) -> Tensor:
        """Return how far each tag stands above the README's best tags, [..., tags] in nats.

        In every branch that is the log-probability less a part of its prior. The branches are mixed
        as probabilities, so that a tag stands high where one of them is sure of it.

        Args:
            log_probs: [..., branches, tags] for one or more READMEs.
            prior: [branches, tags] the same for content-free texts.
            limit: the most, in nats, that the tokens after a name's first may add; approached
                smoothly. What they take away counts in full.

        """
        expected = self.expected(prior)
        first = log_probs.first - self.prior_weight * expected.first
        rest = log_probs.rest - self.prior_weight * expected.rest
        if limit is not None:
            rest = torch.minimum(rest, limit * (rest / limit).tanh())
        return _above_best(_above_best(first + rest).logsumexp(dim=-2))

    def ranking_scores(self, margins: Tensor, mentions: Tensor) -> Tensor:
        """Return what the tags of one README are ranked by, [..., tags].

        Args:
            margins: [..., tags] as `margins` gives them.
            mentions: [..., tags, 2] log(1 + mentions), anywhere and in the lead.

        """
        return self.margin * margins + mentions @ torch.tensor([self.mentions, self.lead])

    def logits(self, evidence: Evidence) -> Tensor:
        """Return the logit of every tag's confidence, [READMEs, tags] in nats."""
        margins = self.margins(evidence.log_probs, evidence.prior, evidence.limit)
        scores = self.ranking_scores(margins, evidence.mentions)
        shift = self.shift * prior_shift(evidence.log_probs.first, evidence.prior.first).log()
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
