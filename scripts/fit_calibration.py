"""Fit a model's calibration on labelled READMEs and write it into the package.

    python scripts/fit_calibration.py labels.jsonl --model qwen2.5-coder-1.5b --scores scores.json

Labels are JSON Lines with `id`, `readme`, `tags` (gold) and `acceptable`. The slow part, scoring
every README, is kept in --scores and reused. Then:

1. for each strength of the prior on a grid, the confidence is fitted: a logistic regression of
   "a curator accepts this tag" on the tag's margin over the README's median score, over the ten
   best tags of every README;
2. the threshold is the one with the best F1 of given tags (precision on acceptable tags, recall on
   gold tags, one to three tags a README), and the strength the one with the best F1 at it;
3. the same is done five times without a fifth of the READMEs, to print what it gives on those;
4. the default, for models that nobody has fitted, is the mean of the fitted ones.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from tagger import Readme, Vocabulary
from tagger.defaults import README_TOKENS
from tagger.methods import calibration as package
from tagger.methods.calibration import Calibration
from tagger.methods.rank import Rank
from tagger.models.load import load
from tagger.prompt import PromptTemplate

ROOT = Path(__file__).parents[1]
STRENGTHS = [round(0.05 * step, 2) for step in range(21)]
CANDIDATES = 10
GIVEN = 3

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Labelled(NamedTuple):
    """Scores and labels, all [READMEs, tags] but the prior, which is [tags]."""

    log_probs: Floats
    prior: Floats
    gold: Bools
    accepted: Bools

    def take(self, rows: NDArray[np.int64]) -> "Labelled":
        """Return some of the READMEs."""
        return Labelled(self.log_probs[rows], self.prior, self.gold[rows], self.accepted[rows])


def score(labels: Path, model: str, vocabulary: Vocabulary) -> dict[str, Any]:
    """Score every README."""
    rank = Rank(
        load(model),
        vocabulary,
        PromptTemplate.load(),
        Calibration(strength=0.0, slope=1.0, intercept=0.0, threshold=0.5),
        readme_tokens=README_TOKENS,
    )
    rows = [json.loads(line) for line in labels.read_text(encoding="utf-8").splitlines()]
    found = {}
    for row in track(rows, description=model):
        words = Readme(row["id"], row["readme"]).words
        found[row["id"]] = rank.log_probs([rank.encode(words)])[0].tolist()
    return {
        "model": model,
        "prior": [scored.prior for scored in sorted_by_vocabulary(rank, vocabulary)],
        "log_probs": found,
    }


def sorted_by_vocabulary(rank: Rank, vocabulary: Vocabulary) -> list[Any]:
    """Return any ranking in the vocabulary's order, for the priors in it."""
    (ranking,) = rank.rank([rank.encode("")])
    scored = {one.tag.name: one for one in ranking}
    return [scored[tag.name] for tag in vocabulary]


def join(scores: dict[str, Any], labels: Path, vocabulary: Vocabulary) -> Labelled:
    """Put scores and labels side by side."""
    rows = [json.loads(line) for line in labels.read_text(encoding="utf-8").splitlines()]
    names = [tag.label for tag in vocabulary]
    gold = np.array([[name in row["tags"] for name in names] for row in rows])
    more = np.array([[name in row.get("acceptable", ()) for name in names] for row in rows])
    log_probs = np.array([scores["log_probs"][row["id"]] for row in rows])
    return Labelled(log_probs, np.array(scores["prior"]), gold, gold | more)


def margins(data: Labelled, strength: float) -> tuple[Floats, NDArray[np.int64]]:
    """Return each README's best tags: their margins and indices, [READMEs, CANDIDATES]."""
    scores = data.log_probs - strength * data.prior
    best = np.argsort(-scores, axis=1, kind="stable")[:, :CANDIDATES]
    # torch's median of an even number is the lower one; so must this be.
    middle = np.quantile(scores, 0.5, axis=1, method="lower", keepdims=True)
    return np.take_along_axis(scores - middle, best, axis=1), best


def f1(data: Labelled, best: NDArray[np.int64], given: Bools) -> float:
    """Return F1 of the given tags; `given` is [READMEs, GIVEN]."""
    top = best[:, :GIVEN]
    accepted = np.take_along_axis(data.accepted, top, axis=1) & given
    hit = np.take_along_axis(data.gold, top, axis=1) & given
    precision = accepted.sum() / max(given.sum(), 1)
    recall = (hit.sum(axis=1) / np.minimum(GIVEN, data.gold.sum(axis=1))).mean()
    return float(2 * precision * recall / max(precision + recall, 1e-9))


def decide(confidences: Floats, threshold: float) -> Bools:
    """Return which of the first `GIVEN` tags are given; the first always is."""
    given = confidences[:, :GIVEN] >= threshold
    given[:, 0] = True
    return given


def fit(data: Labelled) -> Calibration:
    """Fit all four numbers."""
    chosen: tuple[float, Calibration] | None = None
    for strength in STRENGTHS:
        values, best = margins(data, strength)
        accepted = np.take_along_axis(data.accepted, best, axis=1)
        model = LogisticRegression(C=1e6).fit(values.reshape(-1, 1), accepted.ravel())
        slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
        confidences = 1 / (1 + np.exp(-(slope * values + intercept)))
        for threshold in np.arange(0.05, 0.95, 0.01):
            quality = f1(data, best, decide(confidences, threshold))
            if chosen is None or quality > chosen[0]:
                numbers = (strength, slope, intercept, float(threshold))
                chosen = (quality, Calibration(*(round(number, 4) for number in numbers)))
    assert chosen is not None
    return chosen[1]


def measure(data: Labelled, calibration: Calibration) -> dict[str, float]:
    """Return the measures of a calibration on READMEs."""
    values, best = margins(data, calibration.strength)
    confidences = 1 / (1 + np.exp(-(calibration.slope * values + calibration.intercept)))
    gold = np.take_along_axis(data.gold, best, axis=1)
    accepted = np.take_along_axis(data.accepted, best, axis=1)
    given = decide(confidences, calibration.threshold)
    return {
        "first strict": float(gold[:, 0].mean()),
        "first acceptable": float(accepted[:, 0].mean()),
        "hit@3": float(gold[:, :3].any(axis=1).mean()),
        "precision (given)": float((accepted[:, :GIVEN] & given).sum() / given.sum()),
        "F1 (given)": f1(data, best, given),
        "tags a README": float(given.sum(axis=1).mean()),
        "mean confidence (given)": float(confidences[:, :GIVEN][given].mean()),
    }


def main() -> None:
    """Score if need be, fit, cross-validate, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("labels", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--scores", type=Path, required=True)
    parser.add_argument("--tags", type=Path, default=ROOT / "tags.json")
    options = parser.parse_args()

    vocabulary = Vocabulary.load(options.tags)
    if not options.scores.is_file():
        options.scores.write_text(json.dumps(score(options.labels, options.model, vocabulary)))
    scores = json.loads(options.scores.read_text())
    if scores["model"] != options.model:
        sys.exit(f"{options.scores} holds scores of {scores['model']}, not of {options.model}")

    data = join(scores, options.labels, vocabulary)
    folds = KFold(5, shuffle=True, random_state=0).split(data.log_probs)
    held_out = [measure(data.take(test), fit(data.take(train))) for train, test in folds]
    calibration = fit(data)
    print("| | cross-validated | fitted on all |\n|---|---|---|")
    for name, value in measure(data, calibration).items():
        print(f"| {name} | {np.mean([fold[name] for fold in held_out]):.3f} | {value:.3f} |")
    print(f"\n{calibration}")

    ship(options.model, calibration)


def ship(model: str, calibration: Calibration) -> None:
    """Write the calibration into the package, and the mean of all as the default."""
    path = Path(package.__file__).with_name("calibrations.json")
    shipped = json.loads(path.read_text()) | {model: vars(calibration)}
    fitted = [numbers for name, numbers in shipped.items() if name != "default"]
    shipped["default"] = {
        key: round(float(np.mean([numbers[key] for numbers in fitted])), 4)
        for key in vars(calibration)
    }
    lines = ",\n".join(
        f"  {json.dumps(key)}: {json.dumps(shipped[key])}" for key in sorted(shipped)
    )
    path.write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
