"""Fit a model's calibration on the raw scores of labelled READMEs and write it into the package.

    tagger eval labels.jsonl --tags tags.json --model NAME --dump scores.parquet
    tagger eval src/tagger/learning/void.jsonl --tags tags.json --model NAME --dump void.parquet
    python scripts/fit_calibration.py labels.jsonl scores.parquet void.parquet

1. For each prior weight on a grid, the weights of the evidence are fitted: a logistic regression of
   "a curator accepts this tag" over all READMEs and tags, and over the texts of void.jsonl, which
   say nothing and for which no tag is right. The prior weight whose ranking is best is taken,
   averaged over its neighbours.
2. The threshold is the highest one that loses next to nothing of the best F1 of given tags (one to
   three tags a README), averaged over thresholds nearby.
3. The same is done five times without a fifth of the READMEs, to print what it gives on those that
   it has not seen, and once for the READMEs of --also, which are only measured.
4. The default, for models that nobody has fitted, is the mean of the fitted ones.
"""

import argparse
import json
from pathlib import Path
from statistics import fmean
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from tagger import Vocabulary
from tagger.evaluation.labels import Label, load_labels
from tagger.evaluation.measures import (
    MEASURES,
    Judged,
    Rows,
    error_by_chance,
    intervals,
    judge,
    measure,
    reliability,
)
from tagger.evaluation.scores import Scores
from tagger.learning.calibrate import best, judged
from tagger.learning.void import PATH
from tagger.methods.rank import calibration as package
from tagger.methods.rank.calibration import Calibration, prior_shift

ROOT = Path(__file__).parents[1]
PRIOR_WEIGHTS = [round(0.05 * step, 2) for step in range(21)]
ENOUGH = 0.005
"""F1 that may be lost for a higher threshold, which gives fewer tags and surer ones."""

FOLDS = 5

Floats = NDArray[np.float64]


class Data:
    """Scores and labels of the same READMEs."""

    def __init__(self, labels: list[Label], scores: Scores, vocabulary: Vocabulary) -> None:
        self.labels = labels
        self.scores = scores
        self.vocabulary = vocabulary
        nothing = np.zeros((len(labels), len(vocabulary)))
        self.accepted = judge(labels, vocabulary, nothing, nothing.astype(bool)).accepted

    @classmethod
    def load(cls, labels: Path, scores: Path, vocabulary: Vocabulary) -> Self:
        """Read both."""
        rows = load_labels(labels, vocabulary)
        return cls(rows, Scores.load(scores, vocabulary, rows), vocabulary)

    def features(self, prior_weight: float) -> Floats:
        """Return [READMEs, tags, kinds]: margin, mentions anywhere and in the lead, prior shift."""
        evidence = self.scores.evidence
        unweighted = Calibration(prior_weight, 1, 0, 0, 0, 0, 0)
        margins = unweighted.margins(evidence).unsqueeze(-1)
        shift = prior_shift(evidence.log_probs.first, evidence.prior.first).log()
        shift = shift[:, None, None].expand_as(margins)
        kinds: Floats = torch.cat([margins, evidence.mentions, shift], dim=-1).double().numpy()
        return kinds

    def judged(self, calibration: Calibration, rows: Rows) -> Judged:
        """Judge some of the READMEs with a calibration."""
        return judged(self.scores.take(rows), self.vocabulary, calibration)


Features = dict[float, tuple[Floats, Floats]]
"""For each prior weight the features of READMEs and of texts that say nothing."""


def features_of(data: Data, void: Data) -> Features:
    """Return the features at all prior weights."""
    return {weight: (data.features(weight), void.features(weight)) for weight in PRIOR_WEIGHTS}


def fit(data: Data, features: Features, rows: Rows) -> Calibration:
    """Fit all numbers on some of the READMEs."""
    candidates = [
        fit_weights(data, kinds, nothing, prior_weight, rows)
        for prior_weight, (kinds, nothing) in features.items()
    ]
    return best(data.scores.take(rows), data.vocabulary, candidates, ENOUGH)


def fit_weights(
    data: Data, kinds: Floats, nothing: Floats, prior_weight: float, rows: Rows
) -> Calibration:
    """Fit the weights of the evidence at one prior weight."""
    x = np.concatenate([kinds[rows], nothing]).reshape(-1, kinds.shape[-1])
    y = np.concatenate([data.accepted[rows], np.zeros(nothing.shape[:2], bool)]).ravel()
    model = LogisticRegression(max_iter=1000).fit(x, y)
    margin, mentions, lead, shift = (round(float(weight), 4) for weight in model.coef_[0])
    intercept = round(float(model.intercept_[0]), 4)
    return Calibration(prior_weight, margin, mentions, lead, shift, intercept, threshold=0.5)


def cross_validated(data: Data, features: Features) -> Judged:
    """Judge READMEs in five folds, each with a calibration fitted on the others."""
    folds = KFold(FOLDS, shuffle=True, random_state=0).split(data.labels)
    return Judged.cat([data.judged(fit(data, features, train), test) for train, test in folds])


def report(title: str, judged: Judged) -> None:
    """Print measures with intervals, and how far the confidences are to be trusted."""
    limits = intervals(judged)
    print(f"\n| {title} | | 95 % interval |\n|---|---|---|")
    for name, value in measure(judged).items():
        interval = " to ".join(f"{limit:.3f}" for limit in limits.get(name, ()))
        print(f"| {MEASURES[name][0]} | {value:.3f} | {interval} |")
    print("\n| mean confidence | share right | tags |\n|---|---|---|")
    for stated, right, count in reliability(judged):
        print(f"| {stated:.3f} | {right:.3f} | {count} |")
    print(f"\nECE by chance {error_by_chance(judged):.3f}")


def main() -> None:
    """Fit, cross-validate, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("labels", type=Path)
    parser.add_argument("scores", type=Path)
    parser.add_argument("void", type=Path)
    parser.add_argument("--also", type=Path, nargs=2, metavar=("LABELS", "SCORES"))
    parser.add_argument("--tags", type=Path, default=ROOT / "tags.json")
    options = parser.parse_args()
    vocabulary = Vocabulary.load(options.tags)
    data = Data.load(options.labels, options.scores, vocabulary)
    void = Data.load(PATH, options.void, vocabulary)
    features = features_of(data, void)
    report(f"{data.scores.model}, cross-validated", cross_validated(data, features))
    calibration = fit(data, features, np.arange(len(data.labels)))
    if options.also:
        labels, scores = options.also
        more = Data.load(labels, scores, vocabulary)
        report(f"on {labels.name}", more.judged(calibration, np.arange(len(more.labels))))
    highest = void.scores.confidences(calibration).max(axis=1)
    print(f"\nhighest confidence for texts that say nothing: {highest.round(2).tolist()}")
    print(f"\n{calibration}")
    ship(data.scores.model, vocabulary, calibration)


def ship(model: str, vocabulary: Vocabulary, calibration: Calibration) -> None:
    """Write the calibration into the package, and the mean of all as the default."""
    path = Path(package.__file__).with_name("calibrations.json")
    models: dict[str, dict[str, float]] = json.loads(path.read_text())["models"]
    fitted = [numbers for name, numbers in models.items() if name not in ("default", model)]
    fitted.append(calibration.numbers)
    mean = {key: round(fmean(numbers[key] for numbers in fitted), 4) for key in fitted[0]}
    models |= {model: calibration.numbers, "default": mean}
    shipped = {"vocabulary": vocabulary.fingerprint, "models": models}
    path.write_text(json.dumps(shipped, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
