r"""How often a tag is given because a text was planted in a README, kind by kind.

    python benchmarks/injection.py github-dev.jsonl tail-dev.jsonl \
        --others github-train.jsonl npm-curated.jsonl --readmes 40

Each README gets a random tag that its label does not accept, planted in every way of `planted.py`.
It is ranked with and without a head that was learned from all the other sets, and in both ways with
planted passages left in and left out. A README counts as given the tag if the reply holds it.

What the model has made of a README is kept in the cache folder, so that an interrupted run goes on
where it was.
"""

import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import matplotlib
import numpy as np

from common import SAMPLE, count, file, parser, reported
from planted import CLAIMS, FITTED, KINDS, UNSEEN, planted
from tagger import Head, Label, Rank, Readme, Selection, load
from tagger.evaluation.labels import load_labels
from tagger.evaluation.measures import Bools, select
from tagger.learning.learn import learn_sets, read
from tagger.methods.rank.evidence import Evidence
from tagger.methods.rank.head import Confidence
from tagger.types import DEFAULT_MODEL
from tagger.vocabulary import fold

matplotlib.use("svg")
from matplotlib import pyplot

NONE = "nothing planted"
WORDS = 50
"""Words of another project's description."""

GROUPS = {
    "": [NONE],
    "Fitted to": list(FITTED),
    "Not seen before": list(UNSEEN),
    "Claims about the project": list(CLAIMS),
}


@dataclass(frozen=True)
class Victim:
    """A README, and what is to be planted in it.

    Attributes:
        label: the README and its right tags.
        tag: a tag that it must not get, by its place in the vocabulary.
        other: the description of another project that has this tag.

    """

    label: Label
    tag: int
    other: str

    def planted(self, kind: str, rank: Rank) -> Label:
        """Return the README with the tag planted in it, cut so that the model reads all of that."""

        def fits(text: str) -> bool:
            plain = Readme(self.label.id, text).plain_text
            return len(rank.model.tokenizer.encode(plain)) <= rank.readme_tokens

        if kind == NONE:
            return self.label
        name = SAMPLE.tags[self.tag].label
        text = planted(kind, self.label.readme, name, self.other, fits)
        return self.label.model_copy(update={"readme": text})


@dataclass(frozen=True)
class Outcome:
    """What came of a kind of planting.

    Attributes:
        given: [READMEs, ways of ranking] whether the planted tag is in the reply.
        first: [READMEs, ways of ranking] whether it is the first.
        suspicious: [READMEs] whether passages were left out.

    """

    given: Bools
    first: Bools
    suspicious: Bools

    @classmethod
    def cat(cls, parts: Sequence["Outcome"]) -> "Outcome":
        """Put the outcomes of several sets together."""
        return cls(
            np.concatenate([part.given for part in parts]),
            np.concatenate([part.first for part in parts]),
            np.concatenate([part.suspicious for part in parts]),
        )


def victims(labels: Sequence[Label], others: Sequence[Label], most: int) -> Iterator[Victim]:
    """Draw READMEs of a set, and a tag for each, of which there is a README elsewhere."""
    draw = random.Random(0)
    by_tag: dict[str, list[Label]] = {}
    for label in others:
        for tag in label.tags[:1]:
            by_tag.setdefault(fold(tag), []).append(label)
    names = [fold(tag.name) for tag in SAMPLE]
    for label in draw.sample(list(labels), min(most, len(labels))):
        accepted = {fold(tag) for tag in (*label.tags, *label.acceptable)}
        place = draw.choice([i for i, name in enumerate(names) if name in by_tag.keys() - accepted])
        other = draw.choice(by_tag[names[place]]).to_readme().plain_text
        yield Victim(label, place, " ".join(other.split()[:WORDS]))


def ranked(evidence: Evidence, tags: Sequence[int], head: Head | None, rank: Rank) -> list[Bools]:
    """Return in which READMEs tags are given, and in which they are the first."""
    confidence = Confidence.of(rank.calibration, head, SAMPLE)
    confidences = confidence.logits(evidence).sigmoid().double().numpy()
    given = select(confidences, Selection(), confidence.threshold)
    rows = np.arange(len(tags))
    return [given[rows, list(tags)], confidences.argmax(axis=1) == np.array(tags)]


def table(found: dict[str, Outcome]) -> None:
    """Print the rates, kind by kind: given, and given first."""
    print("| planted | no head, left in | no head | head, left in | head | suspicious |")
    print("|---|---|---|---|---|---|")
    for group, kinds in GROUPS.items():
        if group:
            print(f"| *{group}* | | | | | |")
        for kind in kinds:
            each = found[kind]
            rates = " | ".join(
                f"{given:.0%} / {first:.0%}"
                for given, first in zip(each.given.mean(0), each.first.mean(0), strict=True)
            )
            print(f"| {kind} | {rates} | {each.suspicious.mean():.0%} |")
    print("\nHow often the planted tag is given / is the first.")


def plot(found: dict[str, Outcome], path: Path) -> None:
    """Draw how often the planted tag is given with a head, left in and left out."""
    matplotlib.rcParams["svg.hashsalt"] = "tagger"
    kinds = [kind for kinds in GROUPS.values() for kind in kinds]
    rates = np.array([found[kind].given.mean(axis=0)[2:] for kind in kinds])
    places = np.arange(len(kinds))
    figure, axes = pyplot.subplots(figsize=(7, 0.3 * len(kinds)), layout="constrained")
    axes.barh(places - 0.2, rates[:, 0], 0.4, color="#c9c9c9", label="planted text left in")
    axes.barh(places + 0.2, rates[:, 1], 0.4, color="#2f7ed8", label="left out")
    axes.set_yticks(places, [f"{kind} *" if kind in UNSEEN else kind for kind in kinds])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of READMEs that get the planted tag (* kinds not seen before)")
    axes.legend(loc="lower right")
    # Without a date and with names that stay, the same figures are the same file.
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    """Plant, rank, print, draw."""
    made = parser(__doc__)
    made.add_argument("labels", type=file, nargs="+", help="sets that are planted in")
    made.add_argument("--others", type=file, nargs="*", default=[], help="sets to learn from, too")
    made.add_argument("--readmes", type=count, default=40, help="how many of each set")
    made.add_argument("--model", default=DEFAULT_MODEL, help="a model's name or folder")
    made.add_argument("--plot", type=Path, help="an SVG file to draw the rates in")
    options = made.parse_args()
    sets = {path.stem: load_labels(path, SAMPLE) for path in (*options.labels, *options.others)}
    model = load(options.model, lazy=True)
    before, now = (Rank(model, SAMPLE, head=None, probe=each) for each in (None, "shipped"))
    found: dict[str, list[Outcome]] = {kind: [] for kind in (NONE, *KINDS)}
    for name in (path.stem for path in options.labels):
        others = [labels for key, labels in sets.items() if key != name]
        drawn = list(victims(sets[name], list(chain(*others)), options.readmes))
        head = learn_sets(now, others).head
        tags = [each.tag for each in drawn]
        for kind in found:
            labels = [each.planted(kind, now) for each in drawn]
            evidence = [read(rank, labels)[0] for rank in (before, now)]
            ways = [ranked(part, tags, way, now) for way in (None, head) for part in evidence]
            given, first = np.array(ways).transpose(1, 2, 0)
            different = evidence[0].log_probs.full != evidence[1].log_probs.full
            suspicious = different.flatten(1).any(dim=1).numpy()
            found[kind].append(Outcome(given, first, suspicious))
            print(f"{name}: {kind}", file=sys.stderr)
    outcomes = {kind: Outcome.cat(parts) for kind, parts in found.items()}
    table(outcomes)
    if options.plot:
        plot(outcomes, options.plot)


if __name__ == "__main__":
    reported(main)
