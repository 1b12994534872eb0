"""Learn the heads that ship with the package, and write them into it.

python scripts/fit_heads.py SET.jsonl SET.jsonl … [--model NAME …]

Each model gets one for the README budget of each effort. Each set weighs the same, however many
READMEs it has. What is printed is by READMEs of each set with what was learned from the others.
READMEs are read once and kept in the cache folder.
"""

import argparse
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

from tagger import Rank, Vocabulary, load
from tagger.evaluation.labels import load_labels
from tagger.evaluation.measures import MEASURES, measure
from tagger.learning.learn import learn_sets
from tagger.methods.rank.shipped import head_path
from tagger.types import EFFORTS

ROOT = Path(__file__).parents[1]
MODELS = ("qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b")


def main() -> None:
    """Read, learn, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("labels", nargs="+", type=Path)
    parser.add_argument("--tags", type=Path, default=ROOT / "tags.json")
    parser.add_argument("--model", nargs="+", choices=MODELS, default=MODELS)
    options = parser.parse_args()
    vocabulary = Vocabulary.load(options.tags)
    sets = [load_labels(path, vocabulary) for path in options.labels]

    def progress(_: str, done: int, total: int) -> None:
        if done == total:
            print(f"read {total} READMEs", file=sys.stderr)

    models = [load(name, device="cpu", lazy=True) for name in options.model]
    budgets = sorted({effort.readme_tokens for effort in EFFORTS.values()})
    for model, readme_tokens in product(models, budgets):
        rank = Rank(model, vocabulary, head=None, readme_tokens=readme_tokens)
        lesson = learn_sets(rank, sets, progress)
        # Models of the catalogue are known by their names (see `shipped_head`), and tags as well.
        identity = replace(lesson.head.identity, weights="")
        path = head_path(model.name, readme_tokens)
        replace(lesson.head, identity=identity, ids=()).save(path)
        before, after = measure(lesson.before), measure(lesson.after)
        print(f"\n{path.name}: {path.stat().st_size:,} bytes")
        for key in (
            "f1_given",
            "precision_at_1_strict",
            "precision_at_1_lenient",
            "hit_at_3",
            "recall_at_5",
            "ece",
        ):
            print(f"{MEASURES[key][0]}: {before[key]:.3f} without, {after[key]:.3f} with the head")


if __name__ == "__main__":
    main()
