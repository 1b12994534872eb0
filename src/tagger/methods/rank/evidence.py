"""Evidence for tags: log-probabilities from the model, and mentions from the text.

A calibration turns it into a README's ranking; evaluation and the fitting of calibrations start
from it too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from tagger.vocabulary import Tag


@dataclass(frozen=True)
class TagLogProbs:
    """Log-probabilities, in nats, of every tag in every branch.

    A branch is a question that attends to one order of the list of tags.

    Attributes:
        full: [..., branches, tags] log p(tag | README, branch).
        first: [..., branches, tags] that of the first token of the tag's name.

    """

    full: Tensor
    first: Tensor

    @property
    def rest(self) -> Tensor:
        """[..., branches, tags] that of all tokens of the tag's name but the first."""
        return self.full - self.first

    @classmethod
    def stack(cls, parts: Sequence[Self]) -> Self:
        """Stack the log-probabilities of single READMEs."""
        full, first = [part.full for part in parts], [part.first for part in parts]
        return cls(torch.stack(full), torch.stack(first))

    @classmethod
    def cat(cls, parts: Sequence[Self], dim: int = 0) -> Self:
        """Concatenate the log-probabilities of several READMEs, or of several branches."""
        full, first = [part.full for part in parts], [part.first for part in parts]
        return cls(torch.cat(full, dim), torch.cat(first, dim))

    def select(self, rows: object) -> Self:
        """Return the log-probabilities of some READMEs, by any index that tensors take."""
        return type(self)(self.full[rows], self.first[rows])  # type: ignore[index]

    def of_last_question(self) -> Self:
        """Return what the last branch gives, of each name its first token alone: one branch."""
        first = self.first[..., -1:, :]
        return type(self)(first, first)

    def mean(self) -> Self:
        """Return the mean over READMEs, [branches, tags]."""
        return type(self)(self.full.mean(dim=0), self.first.mean(dim=0))


@dataclass(frozen=True)
class Evidence:
    """The evidence for every tag of some READMEs.

    Attributes:
        log_probs: [READMEs, branches, tags] log p(tag | README, branch).
        prior: [branches, tags] the mean of the same over content-free texts.
        mentions: [READMEs, tags, 2] log(1 + mentions), anywhere and in the lead.
        features: [READMEs, branches, hidden] hidden states of the trees' roots, after the feature
            layer; None where no head is to use them.
        limit: the most, in nats, that the tokens after a name's first may add to a tag's score;
            None where there is no limit.

    """

    log_probs: TagLogProbs
    prior: TagLogProbs
    mentions: Tensor
    features: Tensor | None = None
    limit: float | None = None

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """Concatenate the evidence of several READMEs for the same tags."""
        return replace(
            parts[0],
            log_probs=TagLogProbs.cat([part.log_probs for part in parts]),
            mentions=torch.cat([part.mentions for part in parts]),
            features=None
            if parts[0].features is None
            else torch.cat([part.features for part in parts if part.features is not None]),
        )

    def select(self, rows: object) -> Self:
        """Return the evidence of some READMEs, by any index that tensors take."""
        return replace(
            self,
            log_probs=self.log_probs.select(rows),
            mentions=self.mentions[rows],  # type: ignore[index]
            features=None if self.features is None else self.features[rows],  # type: ignore[index]
        )

    def of_last_question(self) -> Self:
        """Return what a head needs: one branch, and the first tokens of names.

        Evidence that is no more than this stays the same.
        """
        return replace(
            self,
            log_probs=self.log_probs.of_last_question(),
            prior=self.prior.of_last_question(),
            features=None if self.features is None else self.features[:, -1:],
        )

    def to_bytes(self) -> list[bytes]:
        """Return what is known of each README alone: float32, and features as float16."""
        parts = (self.log_probs.full, self.log_probs.first, self.mentions)
        rows = torch.cat([part.flatten(1).float() for part in parts], dim=1)
        contents = [row.numpy().tobytes() for row in rows]
        if self.features is None:
            return contents
        halves = [row.half().numpy().tobytes() for row in self.features]
        return [content + half for content, half in zip(contents, halves, strict=True)]

    @classmethod
    def from_bytes(
        cls,
        contents: Sequence[bytes],
        prior: TagLogProbs,
        width: int = 0,
        limit: float | None = None,
    ) -> Self:
        """Return the evidence for some READMEs.

        Args:
            contents: what `to_bytes` has made of each.
            prior: [branches, tags] as it was then.
            width: of the hidden states; 0 where there are none.
            limit: as it was then.

        Raises:
            ValueError: a content is something else.

        """
        branches, tags = prior.full.shape
        scores = branches * tags
        floats = 4 * (2 * scores + 2 * tags)
        size = floats + 2 * branches * width
        if any(len(content) != size for content in contents):
            raise ValueError("not the evidence of these branches and tags")
        rows = np.frombuffer(b"".join(contents), np.uint8).reshape(len(contents), size)
        values = torch.from_numpy(rows[:, :floats].copy().view(np.float32))
        halves = torch.from_numpy(rows[:, floats:].copy().view(np.float16))
        if not (values.isfinite().all() and halves.isfinite().all()):
            raise ValueError("not the evidence of these branches and tags")
        full, first = values[:, : 2 * scores].reshape(-1, 2, branches, tags).unbind(1)
        return cls(
            TagLogProbs(full, first),
            prior,
            values[:, 2 * scores :].reshape(-1, tags, 2),
            halves.reshape(-1, branches, width).float() if width else None,
            limit,
        )


@dataclass(frozen=True)
class ScoredTag:
    """One tag of one README's ranking.

    Attributes:
        tag: the tag.
        log_prob: mean over branches of log p(tag | README, branch), in nats; of its first token
            where only the last question is asked.
        prior: the mean of the same over content-free texts, averaged with the background if there
            is one.
        learned: what the head adds to the logit; None for tags that it does not cover.
        logit: the logit of the confidence, which tags are ranked by.
        confidence: the probability that a curator would accept the tag.

    """

    tag: Tag
    log_prob: float
    prior: float
    learned: float | None
    logit: float
    confidence: float
