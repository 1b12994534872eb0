"""Evidence for tags: log-probabilities from the model, and mentions from the text.

A calibration turns it into a README's ranking; evaluation and the fitting of calibrations start
from it too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor


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
        limit: the most, in nats, that the tokens after a name's first may add to a tag's score;
            None where there is no limit.

    """

    log_probs: TagLogProbs
    prior: TagLogProbs
    mentions: Tensor
    limit: float | None = None

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """Concatenate the evidence of several READMEs for the same tags."""
        return replace(
            parts[0],
            log_probs=TagLogProbs.cat([part.log_probs for part in parts]),
            mentions=torch.cat([part.mentions for part in parts]),
        )

    def select(self, rows: object) -> Self:
        """Return the evidence of some READMEs, by any index that tensors take."""
        mentions = self.mentions[rows]  # type: ignore[index]
        return replace(self, log_probs=self.log_probs.select(rows), mentions=mentions)
