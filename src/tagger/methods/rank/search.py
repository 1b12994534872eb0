"""The ten best tags of a large vocabulary, without scoring all of it.

The log-probability of the first tokens of a tag's name is an upper bound on that of the whole name,
and that of the first token comes with the question's own pass. So tags are scored from the highest
bound downwards, until no remaining tag could be among the ten best (best-first branch and bound,
Land and Doig 1960).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from tagger.methods.rank.calibration import BEST
from tagger.methods.rank.evidence import Evidence, TagLogProbs
from tagger.methods.rank.head import Confidence
from tagger.methods.rank.tree import TagTree

LIMIT = 1.0
"""The most, in nats, that the tokens after a name's first may add to a tag's score. Without a limit
an unlikely name, whose prior is very low, could win by any of its later tokens, and every such tag
would have to be scored to rule it out."""

AT_A_TIME = 48
"""Tags of each README that the first pass scores. Every further pass scores twice as many, because
a pass has a fixed cost."""


def search(
    score: Callable[[Tensor], TagLogProbs],
    trees: Sequence[TagTree],
    bounds: Evidence,
    confidence: Confidence,
) -> tuple[Evidence, Tensor]:
    """Find the ten best tags of each README, by margin and by the logit of the confidence.

    Args:
        score: takes a mask of [tags], and gives their log-probabilities and upper bounds of the
            others', [READMEs, branches, tags].
        trees: the trees that `score` uses.
        bounds: the evidence with upper bounds for all tags.
        confidence: computes margins and logits, which must not fall where a margin rises.

    Returns:
        The evidence, in which log-probabilities of tags that were not scored are minus infinity,
        and a mask of [tags], true for those that were.

    """
    batch = torch.zeros(bounds.mentions.shape[-2], dtype=torch.bool)
    exact = batch
    count = AT_A_TIME
    full, first = bounds.log_probs.full, bounds.log_probs.first
    while True:
        exact = exact | torch.stack([tree.covered(batch) for tree in trees]).all(dim=0)
        evidence = replace(bounds, log_probs=TagLogProbs(full, first))
        margins, logits = confidence.margins(evidence), confidence.logits(evidence)
        contenders = _contenders(margins, exact) | _contenders(logits, exact)
        if not contenders.any():
            known = TagLogProbs(full.masked_fill(~exact, -torch.inf), first)
            return replace(bounds, log_probs=known), exact
        most = min(count, contenders.shape[-1])
        best = logits.masked_fill(~contenders, -torch.inf).topk(most).indices
        count *= 2
        highest = torch.zeros_like(contenders).scatter(-1, best, value=True)
        batch = (highest & contenders).any(dim=0)
        # Exact values stay as they were; bounds get tighter where prefixes are shared.
        full = torch.where(exact, full, torch.minimum(full, score(batch).full))


def _contenders(values: Tensor, exact: Tensor) -> Tensor:
    """Return which tags' upper bounds leave them a place among the best, [readmes, tags]."""
    scores = values.masked_fill(~exact, -torch.inf)
    last = scores.topk(min(BEST, values.shape[-1])).values[..., -1:]
    return (values >= last) & ~exact
