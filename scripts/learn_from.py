"""Judge what is learned from labels as people have them: incomplete, a teacher's, or few.

    python scripts/learn_from.py incomplete npm-dev.jsonl npm-curated.jsonl --model NAME
    python scripts/learn_from.py teacher github-train.jsonl SET.jsonl … --model NAME --wrong 0.1
    python scripts/learn_from.py teacher github-train.jsonl SET.jsonl … --model NAME --teacher NAME

`incomplete`: heads from the first file's labels, in ten folds of READMEs, judged by the labels that
the second file has for the same READMEs. `teacher`: heads from the first set, as a teacher labels
it, judged on the other sets. The teacher gives the set's own labels, except for a share that is
replaced with those of other READMEs, or else is a model without a head. READMEs are read once and
kept in the cache folder.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from learn_across import judge_with
from tagger import Rank, Selection, Vocabulary, load
from tagger.evaluation.label import Label, merged
from tagger.evaluation.labels import load_labels
from tagger.evaluation.measures import Judged, Rows, measure
from tagger.learning.fit import Examples, Learned, fit, is_brief
from tagger.learning.learn import read
from tagger.learning.void import void_texts
from tagger.tagger import Tagger
from tagger.types import README_TOKENS

FOLDS = 10
SEEDS = 20

SHOWN = (
    "f1_given",
    "precision_given",
    "recall_given",
    "precision_at_1_lenient",
    "recall_at_5",
    "ece",
)


def show(name: str, judged: Judged) -> None:
    """Print a row of measures."""
    found = measure(judged)
    print(f"| {name} | {' | '.join(f'{found[key]:.3f}' for key in SHOWN)} |", flush=True)


def zero_shot(rank: Rank, examples: Examples) -> Judged:
    """Judge READMEs without a head."""
    learned = Learned.nothing(rank.calibration, examples.gold.shape[1])
    return learned.judged(examples, np.zeros(examples.gold.shape))


def load_examples(rank: Rank, labels: list[Label]) -> Examples:
    """Read the READMEs of labels, unless they have been read before."""
    void, _ = read(rank, void_texts())
    evidence, _ = read(rank, labels, progress)
    return Examples.of(evidence, labels, rank.vocabulary, void)


def progress(_: str, done: int, total: int) -> None:
    """Say when all READMEs are read."""
    if done == total:
        print(f"read {total} READMEs", file=sys.stderr)


def incomplete(rank: Rank, keywords: list[Label], complete: list[Label]) -> None:
    """Print what heads from incomplete labels are worth by complete ones."""
    lacking = {label.text_digest: label for label in merged(keywords)}
    labels = [label for label in merged(complete) if label.text_digest in lacking]
    true = load_examples(rank, labels).shuffled()
    known = load_examples(rank, [lacking[label.text_digest] for label in labels]).shuffled()
    print(f"\n{len(labels)} READMEs")
    show("without a head", zero_shot(rank, true))
    ways: dict[str, tuple[Examples, Callable[[Examples], Examples]]] = {
        "keywords": (known, lambda part: part),
        "keywords, --incomplete": (known, lambda part: replace(part, incomplete=True)),
        "complete labels": (true, lambda part: part),
    }
    fold = np.arange(len(true)) % FOLDS
    for name, (examples, prepare) in ways.items():
        parts, order = list[Judged](), list[Rows]()
        for number in range(FOLDS):
            outcome = fit(prepare(examples.take(np.flatnonzero(fold != number))), rank.calibration)
            order.append(np.flatnonzero(fold == number))
            parts.append(judge_with(outcome, true.take(order[-1])))
        show(name, Judged.cat(parts).take(np.argsort(np.concatenate(order))))


def given(model: str, vocabulary: Vocabulary, labels: list[Label]) -> list[Label]:
    """Return READMEs with the tags that a model gives them without a head."""
    tagger = Tagger(Rank(load(model), vocabulary, head=None), Selection())
    readmes = [label.to_readme() for label in labels]
    return [
        label.model_copy(update={"tags": tuple(tag.name.strip() for tag in tagging.tags)})
        for label, tagging in zip(labels, tagger.tag(readmes), strict=True)
    ]


def swapped(examples: Examples, share: float, seed: int) -> Examples:
    """Return READMEs some of which have the labels of others."""
    random = np.random.default_rng(seed)
    rows = np.arange(len(examples))
    wrong = random.choice(len(rows), round(share * len(rows)), replace=False)
    rows[wrong] = np.roll(rows[wrong], 1)
    return replace(examples, gold=examples.gold[rows], accepted=examples.accepted[rows])


def teacher(
    rank: Rank, labels: list[Label], others: dict[str, list[Label]], model: str, wrong: float
) -> None:
    """Print what heads from a teacher's labels are worth on other sets."""
    labels = merged(labels)
    tests = {name: load_examples(rank, merged(rows)) for name, rows in others.items()}
    right = load_examples(rank, labels).shuffled()
    taught = right
    if model:
        taught = load_examples(rank, given(model, rank.vocabulary, labels)).shuffled()
    best = fit(right, rank.calibration)
    outcomes = [
        fit(replace(part, brief=is_brief(part.gold)), rank.calibration)
        for part in ([taught] if model else [swapped(right, wrong, seed) for seed in range(SEEDS)])
    ]
    for name, test in tests.items():
        show(f"{name}, without a head", zero_shot(rank, test))
        show(f"{name}, the set's own labels", judge_with(best, test))
        reached = [measure(judge_with(outcome, test))["f1_given"] for outcome in outcomes]
        if model:
            show(f"{name}, {model} as the teacher", judge_with(outcomes[0], test))
        else:
            print(
                f"| {name}, {wrong:.0%} of labels wrong, {SEEDS} times | mean F1 "
                f"{np.mean(reached):.3f}, {min(reached):.3f} to {max(reached):.3f} |"
            )


def main() -> None:
    """Read the sets, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("incomplete", "teacher"))
    parser.add_argument("labels", nargs="+", type=Path)
    parser.add_argument("--tags", type=Path, default=Path("tags.json"))
    parser.add_argument("--model", default="qwen2.5-coder-0.5b")
    parser.add_argument("--readme-tokens", type=int, default=README_TOKENS)
    parser.add_argument("--teacher", default="", help="a model that labels the first set")
    parser.add_argument("--wrong", type=float, default=0.0, help="share of wrong labels")
    options = parser.parse_args()
    vocabulary = Vocabulary.load(options.tags)
    model = load(options.model, device="cpu", lazy=True)
    rank = Rank(model, vocabulary, readme_tokens=options.readme_tokens, head=None)
    sets = {path.stem: load_labels(path, vocabulary) for path in options.labels}
    print(f"| | {' | '.join(SHOWN)} |")
    first, *others = sets
    if options.what == "incomplete":
        incomplete(rank, sets[first], sets[others[0]])
    else:
        rest = {name: sets[name] for name in others}
        teacher(rank, sets[first], rest, options.teacher, options.wrong)


if __name__ == "__main__":
    main()
