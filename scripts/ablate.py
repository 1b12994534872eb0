"""What each part of the evidence is worth, from the raw scores of labelled READMEs.

    python scripts/ablate.py labels.jsonl scores.parquet void.parquet

Every row is fitted anew without the part and cross-validated as in scripts/fit_calibration.py. The
last columns are differences to the whole, with 95 % bootstrap intervals over the same READMEs.
"""

import argparse
import copy
from pathlib import Path

import numpy as np

from fit_calibration import VOID, Data, Evidence, cross_validated, gather
from tagger import Vocabulary
from tagger.evaluate import Judged, measure

ROOT = Path(__file__).parents[1]
SHOWN = ("first strict", "first acceptable", "hit@3", "F1 (given)")
RESAMPLES = 500


def without(evidence: Evidence, *columns: int) -> Evidence:
    """Return the evidence with some of its kinds blotted out."""
    kept = copy.deepcopy(evidence)
    for parts in kept.values():
        for kinds in parts:
            kinds[..., list(columns)] = 0
    return kept


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
    evidence = gather(data, Data.load(VOID, options.void, vocabulary))
    questions = len(data.scores.prior)
    variants = {"all": evidence}
    if questions > 1:
        for question in range(questions):
            others = [other for other in range(questions) if other != question]
            variants[f"question {question + 1} only"] = without(evidence, *others)
    variants |= {
        "no mentions": without(evidence, questions, questions + 1),
        "mentions in the lead only": without(evidence, questions),
        "mentions only": without(evidence, *range(questions)),
        "no movement": without(evidence, questions + 2),
        "no prior": {0.0: evidence[0.0]},
        "half the prior": {0.5: evidence[0.5]},
        "the whole prior": {1.0: evidence[1.0]},
    }
    print(f"| {data.scores.model} | {' | '.join(SHOWN)} |\n|---|{'---|' * len(SHOWN)}")
    whole = cross_validated(data, evidence)
    for name, kinds in variants.items():
        judged = cross_validated(data, kinds)
        values, limits = measure(judged), differences(whole, judged)
        cells = [
            f"{values[shown]:.3f}"
            + (f" ({limits[shown][0]:+.2f} to {limits[shown][1]:+.2f})" if name != "all" else "")
            for shown in SHOWN
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
