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

from fit_calibration import VOID, Data, Evidence, cross_validated, gather
from tagger import Vocabulary
from tagger.evaluate import Judged, measure
from tagger.methods.answers import Answers

ROOT = Path(__file__).parents[1]
MARGIN, MENTIONS, MOVEMENT = 0, (1, 2), 3
"""Columns of the evidence."""

SHOWN = ("first strict", "first acceptable", "hit@3", "F1 (given)")
RESAMPLES = 500


def without(evidence: Evidence, *columns: int) -> Evidence:
    """Return the evidence with some of its kinds blotted out."""
    kept = copy.deepcopy(evidence)
    for parts in kept.values():
        for kinds in parts:
            kinds[..., list(columns)] = 0
    return kept


def only(data: Data, branch: int) -> Data:
    """Return the data as if one branch alone had been asked."""
    scores = data.scores

    def one(answers: Answers) -> Answers:
        names, starts = answers.names, answers.starts
        return Answers(names[..., [branch], :], starts[..., [branch], :])

    fewer = replace(scores, answers=one(scores.answers), prior=one(scores.prior))
    return Data(data.labels, fewer, data.vocabulary)


def differences(whole: Judged, part: Judged) -> dict[str, tuple[float, float]]:
    """Return intervals of part less whole, by a bootstrap that draws the same READMEs of both."""
    draw = np.random.default_rng(0)
    size = len(whole.gold)
    found = []
    for _ in range(RESAMPLES):
        rows = draw.integers(0, size, size)
        before, after = measure(whole.take(rows)), measure(part.take(rows))
        found.append([after[name] - before[name] for name in SHOWN])
    low, high = np.quantile(found, [0.025, 0.975], axis=0)
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
    void = Data.load(VOID, options.void, vocabulary)
    evidence = gather(data, void)
    variants = {
        "all": evidence,
        "no mentions": without(evidence, *MENTIONS),
        "mentions in the lead only": without(evidence, MENTIONS[0]),
        "mentions only": without(evidence, MARGIN),
        "no movement": without(evidence, MOVEMENT),
        "no prior": {0.0: evidence[0.0]},
        "half the prior": {0.5: evidence[0.5]},
        "the whole prior": {1.0: evidence[1.0]},
    }
    found = {name: cross_validated(data, kinds) for name, kinds in variants.items()}
    for branch in range(len(data.scores.prior.names)):
        alone = only(data, branch)
        found[f"branch {branch + 1} only"] = cross_validated(
            alone, gather(alone, only(void, branch))
        )
    print(f"| {data.scores.model} | {' | '.join(SHOWN)} |\n|---|{'---|' * len(SHOWN)}")
    for name, judged in found.items():
        values, limits = measure(judged), differences(found["all"], judged)
        cells = [
            f"{values[shown]:.3f}"
            + (f" ({limits[shown][0]:+.2f} to {limits[shown][1]:+.2f})" if name != "all" else "")
            for shown in SHOWN
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
