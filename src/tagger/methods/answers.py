"""What the model says of every tag when it is asked of one README."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Answers:
    """Log-probabilities in nats of every tag, in every branch: a question behind a list.

    Attributes:
        names: [..., branches, tags] log p(tag | README, branch).
        starts: [..., branches, tags] the same of the first token of the tag's name.

    """

    names: Tensor
    starts: Tensor

    @property
    def rests(self) -> Tensor:
        """[..., branches, tags] the log-probability of what follows the first token of a name."""
        return self.names - self.starts

    @classmethod
    def stack(cls, parts: Sequence[Self]) -> Self:
        """Put the answers for single READMEs together."""
        names, starts = [part.names for part in parts], [part.starts for part in parts]
        return cls(torch.stack(names), torch.stack(starts))

    @classmethod
    def cat(cls, parts: Sequence[Self], dim: int = 0) -> Self:
        """Put answers behind one another: those for more READMEs, or of more branches."""
        names, starts = [part.names for part in parts], [part.starts for part in parts]
        return cls(torch.cat(names, dim), torch.cat(starts, dim))
