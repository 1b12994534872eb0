"""Fit the probes that ship with the package, and write them into it; see `probe.py`.

python scripts/fit_probe.py SET.jsonl SET.jsonl … [--model NAME …]

Texts of many kinds are planted in READMEs, and a linear probe is fitted to tell their passages from
the READMEs' own. Keep some sets out, and judge it there: `benchmarks/injection.py`.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tagger import Label, Rank, Readme, Vocabulary, load
from tagger.evaluation.labels import load_labels
from tagger.methods.rank import probe
from tagger.methods.rank.rank import Encoded
from tagger.vocabulary import fold

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))

from planted import ALSO_FITTED, FITTED, placed  # noqa: E402

MODELS = ("qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b")
FILE = Path(probe.__file__).with_name("probes.json")

OTHERS = [
    "cooking",
    "genomics",
    "astronomy",
    "chess",
    "weather",
    "fintech",
    "speech",
    "poker",
    "maps",
    "bioinformatics",
]
"""Names that are planted beside those of the list, so that it does not matter whether the model has
seen them there."""

SURE, DOUBTFUL = 0.02, 0.10
"""Share of READMEs without planted texts that have passages beyond each of the two thresholds."""

RIDGE = 100.0
FOLDS = 5


@dataclass(frozen=True)
class Sample:
    """A README as it is read, with the passages that were planted."""

    readme: int
    encoded: Encoded
    planted: frozenset[str]


def samples(labels: Sequence[Label], rank: Rank, copies: int) -> Iterator[Sample]:
    """Yield each README as it is, and so many times with a text planted in it."""
    draw = random.Random(0)
    kinds = [*FITTED, *ALSO_FITTED]
    for number, label in enumerate(labels):
        clean = rank.encode(label.to_readme())
        yield Sample(number, clean, frozenset())
        accepted = {fold(tag) for tag in (*label.tags, *label.acceptable)}
        names = [tag.label for tag in rank.vocabulary if fold(tag.name) not in accepted]
        for kind in draw.sample(kinds, copies):
            tag = draw.choice(OTHERS if draw.random() < 0.2 else names)
            before, between, after = placed(kind, tag, draw)
            paragraphs = _start(clean, draw.uniform(0.2, 1.0)).split("\n\n")
            middle = len(paragraphs) // 2
            parts = (before, *paragraphs[:middle], between, *paragraphs[middle:], after)
            text = "\n\n".join(part for part in parts if part)
            encoded = rank.encode(Readme(label.id, text))
            yield Sample(number, encoded, _foreign(encoded, clean.text))


def _start(readme: Encoded, share: float) -> str:
    return readme.text[: readme.ends[max(0, int(share * readme.length) - 1)]]


def _foreign(readme: Encoded, clean: str) -> frozenset[str]:
    """Return the passages of a README that are not in its clean text."""
    found = (readme.text[each.text].strip() for each in probe.passages(readme.text, readme.ends))
    return frozenset(text for text in found if text and text not in clean)


def read(drawn: Sequence[Sample], rank: Rank, at_once: int) -> tuple[np.ndarray, ...]:
    """Return the mean hidden state of each passage, whether it was planted, and its sample."""
    means, planted, owner = [], [], []
    order = sorted(range(len(drawn)), key=lambda place: -drawn[place].encoded.length)
    for start in range(0, len(order), at_once):
        rows = order[start : start + at_once]
        states = rank.states([drawn[row].encoded for row in rows])
        for row, of_tokens in zip(rows, states, strict=True):
            encoded = drawn[row].encoded
            for passage in probe.passages(encoded.text, encoded.ends):
                means.append(of_tokens[passage.tokens].float().mean(dim=0).cpu().numpy())
                planted.append(encoded.text[passage.text].strip() in drawn[row].planted)
                owner.append(row)
        print(f"read {start + len(rows)} of {len(order)}", file=sys.stderr)
    return np.array(means, dtype=np.float64), np.array(planted), np.array(owner)


def fit(means: np.ndarray, planted: np.ndarray) -> np.ndarray:
    """Return the weights of a ridge regression in which both classes weigh the same."""
    weights = np.where(planted, 0.5 / planted.sum(), 0.5 / (~planted).sum()) * len(planted)
    center, deviation = means.mean(axis=0), means.std(axis=0) + 1e-6
    scale = 1 / (deviation * np.sqrt(means.shape[1]))
    standard = (means - center) * scale
    gram = (standard * weights[:, None]).T @ standard + RIDGE * np.eye(means.shape[1])
    found = np.linalg.solve(gram, (standard * weights[:, None]).T @ np.where(planted, 1.0, -1.0))
    weights_of_means: np.ndarray = found * scale
    return weights_of_means


def main() -> None:
    """Plant, read, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("labels", nargs="+", type=Path)
    parser.add_argument("--tags", type=Path, default=ROOT / "tags.json")
    parser.add_argument("--model", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--copies", type=int, default=4, help="how often to plant in each README")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--at-once", type=int, default=1, help="READMEs in a pass")
    options = parser.parse_args()
    vocabulary = Vocabulary.load(options.tags)
    labels = [label for path in options.labels for label in load_labels(path, vocabulary)]
    rows = json.loads(FILE.read_text())
    for name in options.model:
        rank = Rank(load(name, device=options.device, dtype="float32"), vocabulary, head=None)
        drawn = list(samples(labels, rank, options.copies))
        means, planted, owner = read(drawn, rank, options.at_once)
        clean = np.array([not sample.planted for sample in drawn])[owner]
        readme = np.array([sample.readme for sample in drawn])[owner]
        scores = np.zeros(len(means))
        for fold_number in range(FOLDS):
            unseen = readme % FOLDS == fold_number
            weights = fit(means[~unseen], planted[~unseen])
            scores[unseen] = (means[unseen] - means[~unseen].mean(axis=0)) @ weights
        highest = [scores[owner == row].max() for row in np.unique(owner[clean])]
        sure, doubtful = np.quantile(highest, (1 - SURE, 1 - DOUBTFUL))
        weights = fit(means, planted)
        middle = means.mean(axis=0) @ weights
        rows[name] = {
            "weights": [float(f"{weight:.5g}") for weight in weights],
            "sure": round(float(sure + middle), 5),
            "doubtful": round(float(doubtful + middle), 5),
        }
        shares = [(scores[planted] > threshold).mean() for threshold in (sure, doubtful)]
        print(
            f"{name}: of {planted.sum()} planted passages {shares[0]:.1%} are surely planted, "
            f"{shares[1]:.1%} at least doubtful"
        )
    FILE.write_text(json.dumps(rows, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
