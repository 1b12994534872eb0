"""What each part of the evidence is worth, from the raw scores of labelled READMEs.

    python scripts/ablate.py labels.jsonl scores.parquet void.parquet

Every row is fitted anew without the part and cross-validated as in scripts/fit_calibration.py. The
last columns are differences to the whole, with 95 % bootstrap intervals over the same READMEs.
"""

import argparse
import copy
from dataclasses import replace
from pathlib import Path

import numpy as np

from fit_calibration import Data, Features, cross_validated, features_of
from tagger import Vocabulary
from tagger.evaluation.measures import MEASURES, Judged, measure
from tagger.learning.void import PATH
from tagger.methods.rank.evidence import TagLogProbs

ROOT = Path(__file__).parents[1]
MARGIN, MENTIONS, SHIFT = 0, (1, 2), 3
"""Columns of the features."""

SHOWN = ("precision_at_1_strict", "precision_at_1_lenient", "hit_at_3", "f1_given")
RESAMPLES = 500


def without(features: Features, *columns: int) -> Features:
    """Return the features with some of their columns set to zero."""
    rest = copy.deepcopy(features)
    for parts in rest.values():
        for kinds in parts:
            kinds[..., list(columns)] = 0
    return rest


def only(data: Data, branch: int) -> Data:
    """Return the data as if there were one branch alone."""
    evidence = data.scores.evidence

    def one(log_probs: TagLogProbs) -> TagLogProbs:
        full, first = log_probs.full, log_probs.first
        return TagLogProbs(full[..., [branch], :], first[..., [branch], :])

    part = replace(evidence, log_probs=one(evidence.log_probs), prior=one(evidence.prior))
    return Data(data.labels, replace(data.scores, evidence=part), data.vocabulary)


def differences(whole: Judged, part: Judged) -> dict[str, tuple[float, float]]:
    """Return intervals of part less whole, by a bootstrap that draws the same READMEs of both."""
    draw = np.random.default_rng(0)
    size = len(whole.gold)
    samples = []
    for _ in range(RESAMPLES):
        rows = draw.integers(0, size, size)
        before, after = measure(whole.take(rows)), measure(part.take(rows))
        samples.append([after[name] - before[name] for name in SHOWN])
    low, high = np.quantile(samples, [0.025, 0.975], axis=0)
    return {name: (low[index], high[index]) for index, name in enumerate(SHOWN)}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("labels", type=Path)
    parser.add_argument("scores", type=Path)
    parser.add_argument("void", type=Path)
    parser.add_argument("--tags", type=Path, default=ROOT / "tags.json")
    options = parser.parse_args()
    vocabulary = Vocabulary.load(options.tags)
    data = Data.load(options.labels, options.scores, vocabulary)
    void = Data.load(PATH, options.void, vocabulary)
    features = features_of(data, void)
    variants = {
        "all": features,
        "no mentions": without(features, *MENTIONS),
        "mentions in the lead only": without(features, MENTIONS[0]),
        "mentions only": without(features, MARGIN),
        "no prior shift": without(features, SHIFT),
        "no prior": {0.0: features[0.0]},
        "half the prior": {0.5: features[0.5]},
        "the whole prior": {1.0: features[1.0]},
    }
    results = {name: cross_validated(data, kinds) for name, kinds in variants.items()}
    for branch in range(len(data.scores.evidence.prior.full)):
        alone = only(data, branch)
        results[f"branch {branch + 1} only"] = cross_validated(
            alone, features_of(alone, only(void, branch))
        )
    titles = " | ".join(MEASURES[shown][0] for shown in SHOWN)
    print(f"| {data.scores.model} | {titles} |\n|---|{'---|' * len(SHOWN)}")
    for name, judged in results.items():
        values, limits = measure(judged), differences(results["all"], judged)
        cells = [
            f"{values[shown]:.3f}"
            + (f" ({limits[shown][0]:+.2f} to {limits[shown][1]:+.2f})" if name != "all" else "")
            for shown in SHOWN
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
