"""Judge heads with quantised weights on sets of labels that they were not learned from.

python scripts/quantized_across.py SET.jsonl SET.jsonl … --model NAME [--readme-tokens N]

For each set, a calibration and a head are fitted to all the others, as `learn_across.py` does it:
with the weights as they are and judged with them, with weights in int8 and judged with those, and
with the weights as they are but judged with those in int8, as heads are that were learned before.
READMEs are read once with each and kept in the cache folder.
"""

import argparse
import sys
from pathlib import Path
from typing import Literal

import numpy as np

from learn_across import SHOWN, Set, cat, data_of, judge_with, load_set, row, zero_shot
from tagger import Rank, Vocabulary, load
from tagger.evaluation.label import merged
from tagger.evaluation.labels import load_labels
from tagger.evaluation.measures import MEASURES
from tagger.learning.fit import fit
from tagger.learning.learn import read
from tagger.learning.void import void_texts
from tagger.types import README_TOKENS

WAYS: dict[str, Literal["int8"] | None] = {"as they are": None, "int8": "int8"}
COMPARED = (("as they are", "as they are"), ("int8", "int8"), ("as they are", "int8"))
"""Weights that heads are learned with, and weights that they are judged with."""


def progress(_: str, done: int, total: int) -> None:
    """Say when a set has been read."""
    if done == total:
        print(f"read {total} READMEs", file=sys.stderr)


def main() -> None:
    """Read the sets both ways, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labels", nargs="+", type=Path)
    parser.add_argument("--tags", type=Path, default=Path("tags.json"))
    parser.add_argument("--model", default="qwen2.5-coder-0.5b")
    parser.add_argument("--readme-tokens", type=int, default=README_TOKENS)
    parser.add_argument("--dtype", default="auto")
    options = parser.parse_args()
    vocabulary = Vocabulary.load(options.tags)
    sets: dict[str, dict[str, Set]] = {}
    voids = {}
    for way, quantize in WAYS.items():
        model = load(options.model, device="cpu", dtype=options.dtype, quantize=quantize, lazy=True)
        rank = Rank(model, vocabulary, readme_tokens=options.readme_tokens, head=None)
        nothing, _ = read(rank, void_texts(), progress)
        sets[way] = {
            path.stem: load_set(merged(load_labels(path, vocabulary)), rank, nothing, progress)
            for path in options.labels
        }
        voids[way] = data_of(void_texts(), nothing, rank)
        del model, rank
    titles = " | ".join(MEASURES[each][0] for each in SHOWN)
    print(f"| learned with, judged with, on | {titles} | ECE (by chance) | confidence bias |")
    print("|---|---|---|---|---|---|---|---|")
    for learned, judged in COMPARED:
        found = []
        for name, test in sets[judged].items():
            others = [each for key, each in sets[learned].items() if key != name]
            # Folds are whole sets where there are several, and else groups of like READMEs.
            train = [each.examples for each in others]
            joined = cat(train) if len(train) > 1 else train[0].shuffled()
            outcome = fit(joined, zero_shot(others, voids[learned]))
            result = judge_with(outcome, test.examples)
            found.append(row(f"{learned}, {judged}, {name}", result))
        print(f"mean F1: {np.mean([each['f1_given'] for each in found]):.3f}")


if __name__ == "__main__":
    main()
