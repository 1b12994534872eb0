"""Judge heads on sets of labels that they were not learnt from: leave one set out.

python scripts/learn_across.py SET.jsonl SET.jsonl … --model NAME --readme-tokens N [--draws N]

For each set, a head is learnt from all the others. READMEs are read once and kept in the cache
folder. With --draws, heads are also learnt from few labels and from labels that were shuffled among
the READMEs, and their F1 is compared with that of no head.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tagger import Rank, Vocabulary, load
from tagger.evaluation.labels import load_labels, merged
from tagger.evaluation.measures import Judged, errors_by_chance, measure
from tagger.learning.fit import Examples, Learnt, Outcome, fit
from tagger.learning.learn import NEEDED_LABELS, read
from tagger.methods.rank.calibration import Calibration
from tagger.methods.rank.evidence import Evidence

SIZES = (30, 60, 120)
SHUFFLED = 60


def cat(parts: Sequence[Examples]) -> Examples:
    """Put sets together, in a random order."""
    joined = Examples(
        Evidence.cat([part.evidence for part in parts]),
        np.concatenate([part.gold for part in parts]),
        np.concatenate([part.accepted for part in parts]),
    )
    return joined.take(np.random.default_rng(0).permutation(len(joined)))


def row(name: str, judged: Judged) -> dict[str, float]:
    """Print a row of the table, and return its measures."""
    found, errors = measure(judged), errors_by_chance(judged)
    bias = judged.confidences[judged.given].mean() - judged.accepted[judged.given].mean()
    print(
        f"| {name} | {found['F1 (given)']:.3f} | {found['first strict']:.3f} | "
        f"{found['first acceptable']:.3f} | {found['hit@3']:.3f} | {found['recall@5']:.3f} | "
        f"{found['ECE']:.3f} ({errors['by chance']:.3f}) | {bias:+.3f} |",
        flush=True,
    )
    return found


def judge_with(outcome: Outcome, test: Examples) -> Judged:
    """Judge a set with what was learnt."""
    return outcome.learnt.judged(test, outcome.ridge.scores(test.features))


def leave_one_out(sets: dict[str, Examples], start: Calibration) -> None:
    """Print each set without a head and with one that was learnt from the others."""
    print("| set | F1 (given) | first strict | first acceptable | hit@3 | recall@5 | ", end="")
    print("ECE (by chance) | confidence less right |")
    print("|---|---|---|---|---|---|---|---|")
    rows, parts = [], []
    for name, test in sets.items():
        train = cat([other for key, other in sets.items() if key != name])
        row(f"{name}, zero-shot", Learnt(start, 0.0).judged(test, np.zeros(test.gold.shape)))
        begun = time.perf_counter()
        outcome = fit(train, start)
        seconds = time.perf_counter() - begun
        parts.append(judge_with(outcome, test))
        rows.append(row(f"{name}, head from {len(train)} others in {seconds:.1f} s", parts[-1]))
    row("all left out", Judged.cat(parts))
    for key in ("F1 (given)", "first acceptable", "recall@5"):
        print(f"mean {key}: {np.mean([found[key] for found in rows]):.3f}")


def draw(sets: dict[str, Examples], start: Calibration, draws: int) -> None:
    """Print how much few and shuffled labels change F1 on a set that they are not from."""
    print("\n| judged on | labels | heads that count | mean change of F1 | worst |")
    print("|---|---|---|---|---|")
    for name, test in sets.items():
        others = cat([other for key, other in sets.items() if key != name])
        zero = Learnt(start, 0.0).judged(test, np.zeros(test.gold.shape))
        for size, shuffled in (*((size, False) for size in SIZES), (SHUFFLED, True)):
            changes, count = [], 0
            for seed in range(draws):
                random = np.random.default_rng(seed)
                train = others.take(random.choice(len(others), size, replace=False))
                if shuffled:
                    order = random.permutation(size)
                    train = replace(train, gold=train.gold[order], accepted=train.accepted[order])
                outcome = fit(train, start)
                count += outcome.learnt.weight > 0
                found = measure(judge_with(outcome, test))["F1 (given)"]
                changes.append(found - measure(zero)["F1 (given)"])
            label = f"{size}, shuffled" if shuffled else str(size)
            print(
                f"| {name} | {label} | {count} of {draws} | {np.mean(changes):+.3f} | "
                f"{min(changes):+.3f} |",
                flush=True,
            )


def main() -> None:
    """Read the sets, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labels", nargs="+", type=Path)
    parser.add_argument("--tags", type=Path, default=Path("tags.json"))
    parser.add_argument("--model", default="qwen2.5-coder-0.5b")
    parser.add_argument("--readme-tokens", type=int, default=256)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--draws", type=int, default=0)
    options = parser.parse_args()
    vocabulary = Vocabulary.load(options.tags)
    model = load(options.model, device="cpu", threads=options.threads)
    rank = Rank(model, vocabulary, readme_tokens=options.readme_tokens)

    def progress(_: str, done: int, total: int) -> None:
        print(f"\r{done} of {total}", end="", file=sys.stderr)

    sets = {}
    for path in options.labels:
        labels = merged(load_labels(path, vocabulary))
        evidence, _ = read(rank, labels, progress)
        sets[path.stem] = Examples.of(evidence, labels, vocabulary)
    print(file=sys.stderr)
    leave_one_out(sets, rank.calibration)
    if options.draws:
        draw(sets, rank.calibration, options.draws)
        print(f"\nFewer than {NEEDED_LABELS} labels are refused, so that they change nothing.")


if __name__ == "__main__":
    main()
