"""Heads with random numbers, for tests that need no labels."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from tagger.methods.base import FeatureIdentity
from tagger.methods.rank.calibration import Calibration
from tagger.methods.rank.head import ONE_QUESTION, Head
from tagger.methods.rank.rank import Rank
from tagger.vocabulary import fold


def random_head(
    tags: Sequence[str] = ("cli", "game", "web"), width: int = 8, seed: int = 0
) -> Head:
    """A head that knows some tags."""
    draw = torch.Generator().manual_seed(seed)
    base = Calibration(0.5, 1.0, 0.7, 0.9, 0.8, -1.0, 0.5)
    return Head(
        model="tiny",
        identity=FeatureIdentity("weights", "prompt", "1", 256, "the last root after layer 1"),
        method="rank 8",
        base=base.digest,
        tags=tuple(map(fold, tags)),
        ids=(),
        rows=torch.randn(len(tags), width, generator=draw).half(),
        mean=torch.randn(width, generator=draw),
        scale=torch.rand(width, generator=draw) / width**0.5,
        calibration=replace(base, margin=1.4, intercept=-2.0, threshold=0.45),
        weight=2.5,
        readmes=40,
        labels=80,
        fitted=("ab" * 32, "cd" * 32),
    )


def head_of(
    rank: Rank,
    tags: Sequence[str] | None = None,
    seed: int = 0,
    weight: float = 2.5,
    *,
    brief: bool = False,
) -> Head:
    """A head that fits a method, and knows all its tags or only some."""
    names = [tag.name for tag in rank.vocabulary] if tags is None else tags
    calibration = replace(
        rank.calibration,
        margin=1.3 * rank.calibration.margin,
        intercept=rank.calibration.intercept - 0.5,
        threshold=0.4,
        background=None,
        origin=None,
    )
    return replace(
        random_head(names, rank.model.width, seed),
        model=rank.name,
        identity=rank.identity.features,
        method=rank.identity.method + (ONE_QUESTION if brief else ""),
        base=rank.calibration.digest,
        calibration=calibration,
        weight=weight,
    )
