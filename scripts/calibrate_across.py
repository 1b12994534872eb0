"""What a calibration on one corpus does for another, and for its own.

    tagger eval one.jsonl --tags tags.json --dump one.parquet
    tagger eval other.jsonl --tags tags.json --dump other.parquet
    python scripts/calibrate_across.py one.jsonl one.parquet other.jsonl other.parquet

For each of the two corpora: no calibration, one on the other's READMEs, one on the other's READMEs
and labels, and the same on its own, where labels are cross-validated.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from tagger import Vocabulary
from tagger.evaluation.labels import load_labels
from tagger.evaluation.measures import MEASURES, Judged, measure
from tagger.evaluation.scores import Scores
from tagger.learning.calibrate import cross_validated, fit, judged
from tagger.methods.rank.calibration import Calibration

ROOT = Path(__file__).parents[1]
SHOWN = ("precision_at_1_lenient", "hit_at_3", "recall_at_3", "precision_given", "f1_given", "ece")


def row(title: str, result: Judged) -> str:
    """Return a line of the table."""
    measures = measure(result)
    return f"| {title} | " + " | ".join(f"{measures[name]:.3f}" for name in SHOWN) + " |"


def main() -> None:
    """Fit, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for which in ("one", "other"):
        parser.add_argument(f"{which}_labels", type=Path)
        parser.add_argument(f"{which}_scores", type=Path)
    parser.add_argument("--tags", type=Path, default=ROOT / "tags.json")
    options = parser.parse_args()
    vocabulary = Vocabulary.load(options.tags)
    paths = [
        (options.one_labels, options.one_scores),
        (options.other_labels, options.other_scores),
    ]
    corpora = {
        labels.stem: Scores.load(scores, vocabulary, load_labels(labels, vocabulary))
        for labels, scores in paths
    }
    for name, scores in corpora.items():
        start = Calibration.shipped(scores.model)
        print(f"\n| {name}, {scores.model} | {' | '.join(MEASURES[shown][0] for shown in SHOWN)} |")
        print("|---" * (len(SHOWN) + 1) + "|")
        print(row("no calibration", judged(scores, vocabulary, start)))
        others = [other for other in corpora if other != name]
        for other in (*others, name):
            background = corpora[other].evidence.log_probs.mean()
            unlabelled = replace(start, background=background)
            print(row(f"READMEs of {other}", judged(scores, vocabulary, unlabelled)))
            if other == name:
                result = cross_validated(scores, vocabulary, unlabelled)
                print(row(f"READMEs and labels of {other}, cross-validated", result))
            else:
                calibration = fit(corpora[other], vocabulary, unlabelled)
                result = judged(scores, vocabulary, calibration)
                print(row(f"READMEs and labels of {other}", result))


if __name__ == "__main__":
    main()
