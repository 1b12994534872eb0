"""The ten best tags of a large vocabulary, without scoring all of it.

The log-probability of the first tokens of a tag's name bounds that of the whole name from above,
and the first token's costs nothing once the question has been read. So tags are scored from the
highest bound downwards, until no tag that is left could still be among the ten best (best-first
branch and bound, Land and Doig 1960).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tagger.methods.answers import Answers
from tagger.methods.calibration import BEST, Calibration
from tagger.methods.candidates import CandidateTree

LIMIT = 1.0
"""The most, in nats, that the rest of a name may add to its first token. Without a limit a name
that nobody would guess, whose prior is very low, could win by any of its later tokens, and every
such tag would have to be scored to know that it does not."""

AT_A_TIME = 48
"""Tags that are scored in the first pass for each README. Every further one takes twice as many,
because a pass has a cost of its own."""


def search(
    ask: Callable[[Tensor], Answers],
    trees: Sequence[CandidateTree],
    prior: Answers,
    mentions: Tensor,
    calibration: Calibration,
) -> tuple[Answers, Tensor]:
    """Find the ten best tags of each README, by score within `LIMIT` and by standing.

    Args:
        ask: gives the log-probabilities, [readmes, branches, tags], of tags, [tags] true for each
            of them, and of the others upper bounds.
        trees: the trees that it takes them from.
        prior: what the model says without a README, of all tags.
        mentions: [readmes, tags, 2] log(1 + mentions), anywhere and in the lead.
        calibration: what scores and standings are; it must not weigh answers below zero.

    Returns:
        The answers, minus infinity for tags that were not scored, and [tags] true for those that
        were.

    """
    chosen = torch.zeros(mentions.shape[-2], dtype=torch.bool)
    known = chosen
    count = AT_A_TIME
    answers = ask(chosen)
    names = answers.names
    while True:
        newly = torch.stack([tree.covered(chosen) for tree in trees]).all(dim=0)
        known = known | newly
        scores = calibration.scores(Answers(names, answers.starts), prior, LIMIT)
        standings = calibration.standings(scores, mentions)
        left = _contenders(scores, known) | _contenders(standings, known)
        if not left.any():
            unknown = names.masked_fill(~known, -torch.inf)
            return Answers(unknown, answers.starts), known
        hopes = standings.masked_fill(~left, -torch.inf)
        best = hopes.topk(min(count, hopes.shape[-1])).indices
        count *= 2
        chosen = (torch.zeros_like(left).scatter(-1, best, value=True) & left).any(dim=0)
        more = ask(chosen).names
        # What is known stays as it was; bounds get tighter where beginnings are shared.
        names = torch.where(known, names, torch.minimum(names, more))


def _contenders(values: Tensor, known: Tensor) -> Tensor:
    """Return which unknown tags may be among the best, [readmes, tags], by their upper bounds."""
    settled = values.masked_fill(~known, -torch.inf)
    last = settled.topk(min(BEST, values.shape[-1])).values[..., -1:]
    return (values >= last) & ~known
