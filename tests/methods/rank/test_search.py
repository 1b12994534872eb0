"""The search of a large vocabulary, on made-up log-probabilities: with and without a head."""

from dataclasses import replace
from typing import cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from support.heads import random_head
from tagger.methods.rank import search as module
from tagger.methods.rank.calibration import BEST, Calibration
from tagger.methods.rank.evidence import Evidence, TagLogProbs
from tagger.methods.rank.head import Confidence
from tagger.methods.rank.search import LIMIT, search
from tagger.methods.rank.tree import TagTree
from tagger.vocabulary import Vocabulary

TAGS, WIDTH = 120, 8
VOCABULARY = Vocabulary.from_names([f"tag {number}" for number in range(TAGS)])
BASE = Calibration(0.5, 1.0, 0.7, 0.9, 0.8, -1.0, 0.5)


class Apart:
    """A tree of names that share no token: those asked for are known exactly, and no others."""

    def covered(self, tags: Tensor) -> Tensor:
        return tags


def evidence_for(readmes: int, seed: int) -> Evidence:
    """What scoring all tags gives. The first tokens of names say nearly all there is to say."""
    draw = torch.Generator().manual_seed(seed)
    first = -8 + 3 * torch.randn(readmes, 1, TAGS, generator=draw)
    prior = -8 + torch.randn(1, TAGS, generator=draw)
    return Evidence(
        TagLogProbs(first - torch.rand(first.shape, generator=draw), first),
        TagLogProbs(prior - 0.5, prior),
        (torch.rand(readmes, TAGS, 2, generator=draw) > 0.95).float(),
        torch.randn(readmes, 1, WIDTH, generator=draw),
        LIMIT,
    )


def confidence_of(seed: int, known: int, weight: float, margin: float) -> Confidence:
    head = random_head([tag.name for tag in VOCABULARY][:known], WIDTH, seed)
    head = replace(head, weight=weight, calibration=replace(head.calibration, margin=margin))
    return Confidence.of(BASE, head if known else None, VOCABULARY)


def searched(whole: Evidence, confidence: Confidence, at_a_time: int) -> tuple[Evidence, Tensor]:
    """Search, and make sure that what was scored is said, and no more."""
    asked = torch.zeros(TAGS, dtype=torch.bool)

    def score(tags: Tensor) -> TagLogProbs:
        asked.logical_or_(tags)
        full = torch.where(tags, whole.log_probs.full, whole.log_probs.first)
        return TagLogProbs(full, whole.log_probs.first)

    bounds = replace(whole, log_probs=score(torch.zeros_like(asked)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "AT_A_TIME", at_a_time)
        found, exact = search(score, [cast("TagTree", Apart())], bounds, confidence)
    assert torch.equal(exact, asked)
    return found, exact


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    readmes=st.integers(1, 3),
    at_a_time=st.sampled_from([1, 4, 48]),
    weight=st.sampled_from([0.0, 1.0, 8.0]),
    known=st.integers(0, TAGS),
    margin=st.sampled_from([0.0, 0.2, 1.4]),
)
def test_the_ten_best_tags_are_those_of_scoring_all(
    seed: int, readmes: int, at_a_time: int, weight: float, known: int, margin: float
) -> None:
    whole = evidence_for(readmes, seed)
    confidence = confidence_of(seed, known, weight, margin)
    found, exact = searched(whole, confidence, at_a_time)
    expected = confidence.logits(whole)
    logits = confidence.logits(found).masked_fill(~exact, -torch.inf)
    best = expected.topk(BEST).values
    assert torch.allclose(logits.topk(BEST).values, best, atol=1e-4)
    rows, places = (logits >= best[:, -1:]).nonzero(as_tuple=True)
    assert torch.allclose(logits[rows, places], expected[rows, places], atol=1e-4)


@pytest.mark.parametrize("known", [0, TAGS // 2, TAGS])
def test_far_fewer_than_all_tags_are_scored(known: int) -> None:
    for seed in range(20):
        whole, confidence = evidence_for(1, seed), confidence_of(seed, known, 2.0, 1.4)
        _, exact = searched(whole, confidence, at_a_time=4)
        assert BEST <= exact.sum() <= TAGS // 2
