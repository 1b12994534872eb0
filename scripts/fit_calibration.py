"""Fit a model's calibration on the raw scores of labelled READMEs and write it into the package.

    tagger eval labels.jsonl --tags tags.json --model NAME --dump scores.parquet
    python scripts/fit_calibration.py labels.jsonl scores.parquet [--also more.jsonl more.parquet]

1. For each strength of the prior on a grid, the weights of the evidence are fitted: a logistic
   regression of "a curator accepts this tag" over all READMEs and tags. The strength is the one
   with the least log-loss.
2. The threshold is the one with the best F1 of given tags, one to three tags a README.
3. The same is done five times without a fifth of the READMEs, to print what it gives on those that
   it has not seen, and on the READMEs of --also.
4. The default, for models that nobody has fitted, is the mean of the fitted ones.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold

from tagger import Choice, Vocabulary
from tagger.evaluate import (
    Judged,
    Label,
    chosen,
    errors_by_chance,
    intervals,
    judge,
    load_labels,
    measure,
    reliability,
)
from tagger.methods import calibration as package
from tagger.methods.calibration import Calibration, confidences
from tagger.scores import Scores

ROOT = Path(__file__).parents[1]
STRENGTHS = [round(0.05 * step, 2) for step in range(21)]
THRESHOLDS = [round(0.01 * step, 2) for step in range(5, 91)]
FOLDS = 5

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


class Data:
    """Scores and labels of the same READMEs."""

    def __init__(self, labels: list[Label], scores: Scores, vocabulary: Vocabulary) -> None:
        self.labels = labels
        self.scores = scores
        self.vocabulary = vocabulary
        shape = (len(labels), len(vocabulary))
        nothing = np.zeros(shape)
        self.accepted = judge(labels, vocabulary, nothing, nothing.astype(bool)).accepted

    def evidence(self, strength: float) -> Floats:
        """Return [READMEs, tags, kinds of evidence]: each answer's margin and both mentions."""
        kinds = len(self.scores.prior)
        margins = []
        for question in range(kinds):
            alone = Calibration(
                strength, tuple(float(k == question) for k in range(kinds)), 0, 0, 0, 0.5
            )
            rows = zip(self.scores.log_probs, self.scores.mentions, strict=True)
            prior = torch.from_numpy(self.scores.prior)
            margins.append(
                [
                    alone.logits(torch.from_numpy(lp), prior, torch.from_numpy(named)).numpy()
                    for lp, named in rows
                ]
            )
        return np.concatenate([np.stack(margins, -1), self.scores.mentions], axis=-1)

    def judged(self, calibration: Calibration, rows: Rows) -> Judged:
        """Return what a calibration makes of some of the READMEs."""
        stated = confidences(
            calibration,
            torch.from_numpy(self.scores.log_probs[rows]),
            torch.from_numpy(self.scores.prior),
            torch.from_numpy(self.scores.mentions[rows]),
        )
        numbers = stated.double().numpy()
        given = chosen(numbers, Choice(), calibration.threshold)
        return judge([self.labels[row] for row in rows], self.vocabulary, numbers, given)


def fit(data: Data, evidence: dict[float, Floats], rows: Rows) -> Calibration:
    """Fit all numbers on some of the READMEs."""
    best: tuple[float, Calibration] | None = None
    for strength, kinds in evidence.items():
        x, y = kinds[rows].reshape(-1, kinds.shape[-1]), data.accepted[rows].ravel()
        model = LogisticRegression(max_iter=1000).fit(x, y)
        loss = float(log_loss(y, model.predict_proba(x)[:, 1]))
        if best is None or loss < best[0]:
            *answers, mentions, lead = (round(float(weight), 4) for weight in model.coef_[0])
            intercept = round(float(model.intercept_[0]), 4)
            best = (loss, Calibration(strength, tuple(answers), mentions, lead, intercept, 0.5))
    assert best is not None
    judged = data.judged(best[1], rows)

    def quality(threshold: float) -> float:
        given = chosen(judged.confidences, Choice(), threshold)
        return measure(Judged(judged.confidences, given, judged.gold, judged.accepted))[
            "F1 (given)"
        ]

    return Calibration(**(asdict(best[1]) | {"threshold": max(THRESHOLDS, key=quality)}))


def join(parts: list[Judged]) -> Judged:
    """Put READMEs behind one another."""
    fields = ("confidences", "given", "gold", "accepted")
    return Judged(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))


def cross_validated(data: Data, evidence: dict[float, Floats]) -> Judged:
    """Return what calibrations make of READMEs that they were not fitted on."""
    folds = KFold(FOLDS, shuffle=True, random_state=0).split(data.labels)
    return join([data.judged(fit(data, evidence, train), test) for train, test in folds])


def report(title: str, judged: Judged) -> None:
    """Print measures with intervals, and how far the confidences are to be trusted."""
    limits = intervals(judged)
    print(f"\n| {title} | | 95 % interval |\n|---|---|---|")
    for name, value in measure(judged).items():
        low, high = limits[name]
        print(f"| {name} | {value:.3f} | {low:.3f} to {high:.3f} |")
    print("\n| mean confidence | share right | tags |\n|---|---|---|")
    for stated, right, count in reliability(judged):
        print(f"| {stated:.3f} | {right:.3f} | {count} |")
    errors = errors_by_chance(judged)
    print(f"\ncalibration error {errors['found']:.3f}; by chance {errors['by chance']:.3f}")


def main() -> None:
    """Fit, cross-validate, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("labels", type=Path)
    parser.add_argument("scores", type=Path)
    parser.add_argument("--also", type=Path, nargs=2, metavar=("LABELS", "SCORES"))
    parser.add_argument("--tags", type=Path, default=ROOT / "tags.json")
    options = parser.parse_args()
    vocabulary = Vocabulary.load(options.tags)

    def load(labels: Path, scores: Path) -> Data:
        rows = load_labels(labels, vocabulary)
        return Data(rows, Scores.load(scores, vocabulary, [row.id for row in rows]), vocabulary)

    data = load(options.labels, options.scores)
    evidence = {strength: data.evidence(strength) for strength in STRENGTHS}
    report(f"{data.scores.model}, cross-validated", cross_validated(data, evidence))
    calibration = fit(data, evidence, np.arange(len(data.labels)))
    if options.also:
        more = load(*options.also)
        report(f"on {options.also[0].name}", more.judged(calibration, np.arange(len(more.labels))))
    print(f"\n{calibration}")
    ship(data.scores.model, calibration)


def ship(model: str, calibration: Calibration) -> None:
    """Write the calibration into the package, and the mean of all as the default."""
    path = Path(package.__file__).with_name("calibrations.json")
    shipped: dict[str, Any] = json.loads(path.read_text()) | {model: asdict(calibration)}
    fitted = [numbers for name, numbers in shipped.items() if name != "default"]
    shipped["default"] = {
        key: np.mean([numbers[key] for numbers in fitted], axis=0).round(4).tolist()
        for key in asdict(calibration)
    }
    lines = ",\n".join(
        f"  {json.dumps(key)}: {json.dumps(shipped[key])}" for key in sorted(shipped)
    )
    path.write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
