"""Judge what is learned from labels as people have them: incomplete, a teacher's, or few.

    python scripts/learn_from.py incomplete npm-dev.jsonl npm-curated.jsonl --model NAME
    python scripts/learn_from.py teacher github-train.jsonl SET.jsonl … --model NAME --wrong 0.1
    python scripts/learn_from.py teacher github-train.jsonl SET.jsonl … --model NAME --teacher NAME
    python scripts/learn_from.py suggest SET.jsonl … --model NAME
    python scripts/learn_from.py changed github-train.jsonl SET.jsonl … --model NAME

`incomplete`: heads from the first file's labels, in ten folds of READMEs, judged by the labels that
the second file has for the same READMEs. `teacher`: heads from the first set, as a teacher labels
it, judged on the other sets. The teacher gives the set's own labels, except for a share that is
replaced with those of other READMEs, or else is a model without a head. `suggest`: heads from 100
suggested READMEs beside those from 100 and 130 random ones, judged on each set after drawing from
each larger one of the others, and from all others together. `changed`: a head from the first set
and the list of tags, used with a list in which 20 tags are replaced and all are shuffled, beside a
head from the same labels and that list; F1 on the tags that both lists have. READMEs are read once
and kept in the cache folder.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from learn_across import cat, judge_with
from tagger import Rank, Selection, Tag, Vocabulary, load
from tagger.evaluation.evaluate import judge_ranking
from tagger.evaluation.label import Label, merged
from tagger.evaluation.labels import load_labels
from tagger.evaluation.measures import Judged, Rows, measure
from tagger.learning.fit import Examples, Learned, fit, is_brief
from tagger.learning.learn import learn, read
from tagger.learning.suggest import farthest_first
from tagger.learning.void import void_texts
from tagger.methods.rank.head import Confidence
from tagger.tagger import Tagger
from tagger.types import README_TOKENS
from tagger.vocabulary import fold

FOLDS = 10
SEEDS = 20

SUGGESTED = 100
RANDOM = (100, 130)
POOL = 400
"""READMEs of several sets that suggestions are chosen from, at most."""

POOL_SHARE = 0.85
"""The share of one set that they are chosen from, so that draws differ."""

NEW_TAGS = (
    "accounting", "astronomy", "calendar", "chess", "drone", "e-commerce", "ebook", "genealogy",
    "home-automation", "keyboard", "map", "music-player", "password-manager", "podcast", "recipe",
    "spreadsheet", "survey", "translation", "weather", "wiki",
)  # fmt: skip
"""Tags that replace as many of the list's."""

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


def suggested(rank: Rank, sets: dict[str, list[Label]]) -> None:
    """Print what suggested READMEs are worth beside random ones."""
    read_sets = {name: load_examples(rank, merged(labels)) for name, labels in sets.items()}
    print(f"| judged on | chosen from | {RANDOM[0]} random | {RANDOM[1]} random | suggested |")
    for name, test in read_sets.items():
        others = {other: part for other, part in read_sets.items() if other != name}
        pools = {
            other: (part, round(POOL_SHARE * len(part)))
            for other, part in others.items()
            if POOL_SHARE * len(part) > RANDOM[1]
        }
        together = cat(list(others.values()))
        pools["all others"] = together, min(POOL, len(together))
        for source, (examples, size) in pools.items():
            with threadpool_limits(limits=1, user_api="blas"):  # As `learn` does, for speed.
                reached = [compared(rank, examples, size, test, seed) for seed in range(SEEDS)]
            shown = " | ".join(f"{value:.3f}" for value in np.mean(reached, axis=0))
            print(f"| {name} | {source} | {shown} |", flush=True)


def compared(rank: Rank, examples: Examples, size: int, test: Examples, seed: int) -> list[float]:
    """Return F1 with random READMEs of a pool, fewer and more of them, and with suggested ones."""
    pool = np.random.default_rng(seed).permutation(len(examples))[:size]
    suggestions = pool[farthest_first(examples.features[pool], SUGGESTED)]
    reached = []
    for rows in (*(pool[:number] for number in RANDOM), suggestions):
        part = replace(
            examples.take(rows).shuffled(),
            groups=np.arange(len(rows)),
            weights=np.ones(len(rows)),
        )
        outcome = fit(replace(part, brief=is_brief(part.gold)), rank.calibration)
        reached.append(measure(judge_with(outcome, test))["f1_given"])
    return reached


def changed_list(vocabulary: Vocabulary) -> Vocabulary:
    """Return a list with other tags in place of some, in another order."""
    random = np.random.default_rng(0)
    kept = random.permutation(len(vocabulary))[len(NEW_TAGS) :]
    tags = [vocabulary.tags[place] for place in kept]
    tags += [Tag(id=f"new-{name}", name=name) for name in NEW_TAGS]
    return Vocabulary(tuple(tags[place] for place in random.permutation(len(tags))))


def changed(rank: Rank, labels: list[Label], others: dict[str, list[Label]]) -> None:
    """Print what a head is worth when the list has changed since."""
    vocabulary = changed_list(rank.vocabulary)
    now = Rank(rank.model, vocabulary, readme_tokens=rank.readme_tokens, head=None)
    places = {fold(tag.name): place for place, tag in enumerate(vocabulary)}
    kept = [places[fold(tag.name)] for tag in rank.vocabulary if fold(tag.name) in places]
    heads = {
        "without a head": None,
        "the old list's head": learn(rank, labels, progress).head,
        "a head of the new list": learn(now, known_to(vocabulary, labels), progress).head,
    }
    for name, rows in others.items():
        rows = known_to(vocabulary, merged(rows))
        evidence, _ = read(now, rows, progress)
        for head_name, head in heads.items():
            confidence = Confidence.of(now.calibration, head, vocabulary)
            judged = judge_ranking(confidence, evidence, rows, vocabulary, Selection())
            show(f"{name}, {head_name}", of_tags(judged, kept))


def known_to(vocabulary: Vocabulary, labels: list[Label]) -> list[Label]:
    """Return labels without the tags that a list does not have."""
    known = {fold(tag.name) for tag in vocabulary}

    def of(tags: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(tag for tag in tags if fold(tag) in known)

    return [
        label.model_copy(update={"tags": of(label.tags), "acceptable": of(label.acceptable)})
        for label in labels
    ]


def of_tags(judged: Judged, tags: list[int]) -> Judged:
    """Return the judgement of some of the tags."""
    return Judged(
        judged.confidences[:, tags],
        judged.given[:, tags],
        judged.gold[:, tags],
        judged.accepted[:, tags],
    )


def main() -> None:
    """Read the sets, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("incomplete", "teacher", "suggest", "changed"))
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
    if options.what == "suggest":
        suggested(rank, sets)
        return
    print(f"| | {' | '.join(SHOWN)} |")
    first, *others = sets
    if options.what == "incomplete":
        incomplete(rank, sets[first], sets[others[0]])
        return
    rest = {name: sets[name] for name in others}
    if options.what == "changed":
        changed(rank, sets[first], rest)
    else:
        teacher(rank, sets[first], rest, options.teacher, options.wrong)


if __name__ == "__main__":
    main()
