"""Judge heads on sets of labels that they were not learned from: leave one set out.

python scripts/learn_across.py SET.jsonl SET.jsonl … --model NAME [--readme-tokens N] [--draws N]

For each set, the zero-shot calibration and then a head are fitted to all the others, each of which
weighs the same. READMEs are read once and kept in the cache folder. With --draws, heads are also
learned from few labels and from labels that were shuffled among the READMEs, and their F1 is
compared with that of no head.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import fit_calibration
from tagger import Rank, Vocabulary, load
from tagger.evaluation.label import Label, merged
from tagger.evaluation.labels import load_labels
from tagger.evaluation.measures import MEASURES, Judged, error_by_chance, measure
from tagger.evaluation.scores import Scores
from tagger.learning.fit import Examples, Learned, Outcome, fit, is_brief
from tagger.learning.learn import NEEDED_LABELS, read
from tagger.learning.void import void_texts
from tagger.methods.rank.calibration import Calibration
from tagger.methods.rank.evidence import Evidence
from tagger.types import README_TOKENS, Progress

SIZES = (30, 60, 120)
SHUFFLED = 60

SHOWN = ("f1_given", "precision_at_1_strict", "precision_at_1_lenient", "hit_at_3", "recall_at_5")


@dataclass(frozen=True)
class Set:
    """A set of labels, as heads and as calibrations are fitted to it."""

    examples: Examples
    data: fit_calibration.Data


def load_set(labels: list[Label], rank: Rank, void: Evidence, progress: Progress) -> Set:
    """Read a set's READMEs, unless they have been read before."""
    evidence, _ = read(rank, labels, progress)
    return Set(
        Examples.of(evidence, labels, rank.vocabulary, void), data_of(labels, evidence, rank)
    )


def data_of(labels: list[Label], evidence: Evidence, rank: Rank) -> fit_calibration.Data:
    """Return labels and evidence as calibrations are fitted to them."""
    scores = Scores(rank.name, rank.identity, tuple(labels), evidence, tuple("" for _ in labels))
    return fit_calibration.Data(labels, scores, rank.vocabulary)


def cat(parts: Sequence[Examples]) -> Examples:
    """Put sets together, each of the same weight and a group of its own, in a random order."""
    sizes = [len(part) for part in parts]
    gold = np.concatenate([part.gold for part in parts])
    joined = Examples(
        Evidence.cat([part.evidence for part in parts]),
        gold,
        np.concatenate([part.accepted for part in parts]),
        np.arange(len(sizes)).repeat(sizes),
        np.repeat([1 / size for size in sizes], sizes),
        parts[0].void,
        is_brief(gold),
    )
    return joined.shuffled()


def zero_shot(sets: Sequence[Set], void: fit_calibration.Data) -> Calibration:
    """Fit a zero-shot calibration to sets."""
    labels = [label for each in sets for label in each.data.labels]
    scores = replace(
        sets[0].data.scores,
        labels=tuple(labels),
        evidence=Evidence.cat([each.examples.evidence for each in sets]),
        read=tuple("" for _ in labels),
    )
    data = fit_calibration.Data(labels, scores, void.vocabulary)
    features = fit_calibration.features_of(data, void)
    return fit_calibration.fit(data, features, np.arange(len(data.labels)))


def row(name: str, judged: Judged) -> dict[str, float]:
    """Print a row of the table, and return its measures."""
    found = measure(judged)
    shown = " | ".join(f"{found[each]:.3f}" for each in SHOWN)
    chance, bias = error_by_chance(judged), found["confidence_bias"]
    print(f"| {name} | {shown} | {found['ece']:.3f} ({chance:.3f}) | {bias:+.3f} |", flush=True)
    return found


def judge_with(outcome: Outcome, test: Examples) -> Judged:
    """Judge a set with what was learned."""
    return outcome.learned.judged(test, outcome.ridge.scores(test.features))


def leave_one_out(sets: dict[str, Set], void: fit_calibration.Data) -> None:
    """Print each set without a head and with one that was learned from the others."""
    titles = " | ".join(MEASURES[each][0] for each in SHOWN)
    print(f"| set | {titles} | ECE (by chance) | confidence bias |")
    print("|---|---|---|---|---|---|---|---|")
    rows, parts = [], []
    for name, each in sets.items():
        test, others = each.examples, [other for key, other in sets.items() if key != name]
        start = zero_shot(others, void)
        nothing = np.zeros(test.gold.shape)
        zero = Learned.nothing(start, test.gold.shape[1])
        row(f"{name}, zero-shot", zero.judged(test, nothing))
        train = cat([other.examples for other in others])
        begun = time.perf_counter()
        outcome = fit(train, start)
        seconds = time.perf_counter() - begun
        parts.append(judge_with(outcome, test))
        rows.append(row(f"{name}, head from {len(train)} others in {seconds:.1f} s", parts[-1]))
    row("all left out", Judged.cat(parts))
    for key in SHOWN:
        print(f"mean {MEASURES[key][0]}: {np.mean([found[key] for found in rows]):.3f}")


def draw(sets: dict[str, Examples], start: Calibration, draws: int) -> None:
    """Print how much few and shuffled labels change F1 on a set that they are not from."""
    print("\n| judged on | labels | heads that count | mean change of F1 | worst |")
    print("|---|---|---|---|---|")
    for name, test in sets.items():
        others = cat([other for key, other in sets.items() if key != name])
        zero = Learned.nothing(start, test.gold.shape[1]).judged(test, np.zeros(test.gold.shape))
        for size, shuffled in (*((size, False) for size in SIZES), (SHUFFLED, True)):
            changes, count = [], 0
            for seed in range(draws):
                random = np.random.default_rng(seed)
                drawn = others.take(random.choice(len(others), size, replace=False))
                train = replace(
                    drawn,
                    groups=np.arange(size),
                    weights=np.ones(size),
                    brief=is_brief(drawn.gold),
                )
                if shuffled:
                    order = random.permutation(size)
                    train = replace(train, gold=train.gold[order], accepted=train.accepted[order])
                outcome = fit(train, start)
                count += outcome.learned.weight > 0
                found = measure(judge_with(outcome, test))["f1_given"]
                changes.append(found - measure(zero)["f1_given"])
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
    parser.add_argument("--readme-tokens", type=int, default=README_TOKENS)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--draws", type=int, default=0)
    options = parser.parse_args()
    vocabulary = Vocabulary.load(options.tags)
    model = load(options.model, device="cpu", threads=options.threads)
    rank = Rank(model, vocabulary, readme_tokens=options.readme_tokens, head=None)

    def progress(_: str, done: int, total: int) -> None:
        if done == total:
            print(f"read {total} READMEs", file=sys.stderr)

    nothing, _ = read(rank, void_texts(), progress)
    sets = {
        path.stem: load_set(merged(load_labels(path, vocabulary)), rank, nothing, progress)
        for path in options.labels
    }
    void = data_of(void_texts(), nothing, rank)
    leave_one_out(sets, void)
    if options.draws:
        examples = {name: each.examples for name, each in sets.items()}
        draw(examples, rank.calibration, options.draws)
        print(f"\nFewer than {NEEDED_LABELS} labels are refused, so that they change nothing.")


if __name__ == "__main__":
    main()
