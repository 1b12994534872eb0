r"""Seconds a README against F1: each model and README budget, with a learned head and without.

    python benchmarks/frontier.py tail-dev.jsonl github-dev.jsonl npm-curated.jsonl \
        github-train.jsonl --readmes 40 --plot docs/frontier.svg

A head is learned from the sets and judged on each by what the others have taught, so that nothing
is judged on what it was learned from. What the model has made of a README is kept in the cache
folder: an interrupted run goes on where it was, and only the timing is done again.
"""

import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median

import matplotlib

from common import SAMPLE, count, file, parser, reported, timed
from tagger import Label, Rank, load
from tagger.evaluation.labels import load_labels
from tagger.evaluation.measures import measure
from tagger.learning.learn import learn_sets
from tagger.models.fetch.catalogue import catalogue
from tagger.models.language import LanguageModel
from tagger.types import EFFORTS

matplotlib.use("svg")
from matplotlib import pyplot

BUDGETS = (64, 96, 128, 192, 256, 384, 768)

ZERO_SHOT, HEAD = WAYS = ("zero-shot", "head")
"""Without a head, and with one that knows all tags."""

STYLES = {HEAD: "o-", ZERO_SHOT: "^--"}


@dataclass(frozen=True)
class Point:
    """A way of tagging, and what it costs and gives.

    Attributes:
        model: the name of the model.
        readme_tokens: how much it reads of a README.
        way: one of `WAYS`.
        seconds: of a README, the median.
        measures: of the replies, by their names.

    """

    model: str
    readme_tokens: int
    way: str
    seconds: float
    measures: dict[str, float]

    @property
    def effort(self) -> str:
        """The effort that this is; empty if none is."""
        for name, effort in EFFORTS.items():
            wanted = (effort.model, effort.readme_tokens, HEAD)
            if (self.model, self.readme_tokens, self.way) == wanted:
                return name
        return ""


def points(
    model: LanguageModel, budgets: Sequence[int], sets: Sequence[Sequence[Label]], timings: int
) -> Iterator[Point]:
    """Yield all ways of tagging with a model and each budget."""
    labels = [label for part in sets for label in part]
    for readme_tokens in budgets:
        lesson = learn_sets(Rank(model, SAMPLE, head=None, readme_tokens=readme_tokens), sets)
        for way in WAYS:
            head = None if way == ZERO_SHOT else lesson.head
            rank = Rank(model, SAMPLE, head=head, readme_tokens=readme_tokens)
            if head and rank.confidence.known < len(SAMPLE):
                sys.exit("some tags have no label: use more READMEs")
            judged = lesson.after if head else lesson.before
            seconds = seconds_of(rank, labels, timings)
            yield Point(model.name, readme_tokens, way, seconds, measure(judged))


def seconds_of(rank: Rank, labels: Sequence[Label], timings: int) -> float:
    """Return the median of the seconds that READMEs take, one by one."""
    rank.prepare()
    drawn = random.Random(0).sample(list(labels), min(timings + 1, len(labels)))
    encoded = [rank.encode(label.to_readme()) for label in drawn]
    times = [timed(partial(rank.read, [each])) for each in encoded]
    return median(times[1:])  # The first one warms up.


def row(point: Point) -> None:
    """Print a point as a row of the table."""
    of = point.measures
    print(
        f"| {point.model} | {point.readme_tokens} | {point.way} | {point.seconds:.2f} | "
        f"{of['f1_given']:.3f} | {of['precision_at_1_lenient']:.3f} | {of['recall_at_5']:.3f} | "
        f"{point.effort} |",
        flush=True,
    )


def plot(found: Sequence[Point], path: Path) -> None:
    """Draw F1 against seconds."""
    matplotlib.rcParams["svg.hashsalt"] = "tagger"
    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    models = sorted({point.model for point in found})
    for (place, model), (way, style) in product(enumerate(models), STYLES.items()):
        line = [point for point in found if (point.model, point.way) == (model, way)]
        axes.plot(
            [point.seconds for point in line],
            [point.measures["f1_given"] for point in line],
            style,
            color=f"C{place}",
            markersize=3,
            label=f"{model}, {way}",
        )
    for point in found:
        if point.effort:
            at = (point.seconds, point.measures["f1_given"])
            axes.annotate(point.effort, at, (5, -12), textcoords="offset points", weight="bold")
    axes.set_xlabel("seconds a README")
    axes.set_ylabel("F1 of given tags")
    axes.set_xscale("log")
    axes.legend(loc="lower right", fontsize="small")
    # Without a date and with names that stay, the same figures are the same file.
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    """Learn, time, print, draw."""
    made = parser(__doc__)
    made.add_argument("labels", type=file, nargs="+", help="sets of labels, three at least")
    made.add_argument("--readmes", type=count, default=10_000, help="how many of each set")
    made.add_argument("--model", nargs="+", default=list(catalogue()), help="models' names")
    made.add_argument("--budgets", type=count, nargs="+", default=BUDGETS, help="README tokens")
    made.add_argument("--timings", type=count, default=8, help="READMEs that are timed")
    made.add_argument("--plot", type=Path, help="an SVG file to draw it in")
    options = made.parse_args()
    sets = []
    for path in options.labels:
        labels = load_labels(path, SAMPLE)
        sets.append(random.Random(0).sample(labels, min(options.readmes, len(labels))))
    print("| model | README tokens | | seconds | F1 | precision@1 | recall@5 | effort |")
    print("|---|---|---|---|---|---|---|---|")
    found = []
    for name in options.model:
        for point in points(load(name), options.budgets, sets, options.timings):
            row(point)
            found.append(point)
    if options.plot:
        plot(found, options.plot)


if __name__ == "__main__":
    reported(main)
