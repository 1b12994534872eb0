"""What a review takes, what it loses when it is killed, and what a curator gains by it.

    python benchmarks/review.py rows --readmes 100000
    python benchmarks/review.py kills --times 50
    python benchmarks/review.py curator npm-curated.jsonl tail-dev.jsonl --plot docs/review.svg

`rows` times the library, without the page, on an output and READMEs made of random words. `kills`
ends a reviewing process by SIGKILL at random moments and looks for each decision that it had said.

`curator` reviews the READMEs of labels, as one output, and answers by these labels. After every 25
it learns, as the page's button does. F1 is that of the tags which the review suggests for READMEs
that are not reviewed. What the model has made of a README is kept in the cache folder.
"""

import json
import random
import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from common import ROOT, SAMPLE, count, file, parser, reported
from tagger import Label, Rank, Sources, Tagger, load
from tagger.batch.ledger import Ledger, text_key
from tagger.errors import HeadError
from tagger.evaluation.label import once, own_id
from tagger.evaluation.labels import load_labels
from tagger.evaluation.measures import Judged, judge, of_given
from tagger.learning.learn import read
from tagger.review.items import Filter, Item, Order
from tagger.review.review import Review
from tagger.types import DEFAULT_MODEL

WORDS = 500
"""Of a random README."""

STEPS = 300
"""READMEs that are decided to time a step."""

ORDERS: tuple[Order, ...] = ("uncertain", "random")

WORK = """
import os, sys
from pathlib import Path
from tagger.review.review import Review
from tagger.vocabulary import Vocabulary
vocabulary = Vocabulary.load(sys.argv[2])
with Review(Path(sys.argv[1]), vocabulary) as review:
    while item := review.next():
        tag = str(vocabulary.tags[len(item.id) % len(vocabulary)].id)
        review.decide(item.id, [tag], item.revision)
        os.write(1, f"{item.id} {tag}\\n".encode())
"""
"""What is killed: it reviews, and says each decision once it is made."""

SOUND = b"\0"
"""What the reading of a README without planted passages ends with."""


def write_rows(folder: Path, size: int) -> tuple[Path, Sources]:
    """Write an output of random tags, and READMEs of random words that go with it."""
    draw, tags = random.Random(0), list(SAMPLE)
    words = [tag.label for tag in tags] + ["a", "the", "library", "for", "fast", "small", "with"]
    output, readmes = folder / "out.jsonl", folder / "readmes.jsonl"
    with output.open("w") as rows, readmes.open("w") as texts:
        for number in range(size):
            chosen = draw.sample(tags, draw.randint(1, 3))
            sure = sorted((round(draw.random(), 4) for _ in chosen), reverse=True)
            given = [
                {"id": tag.id, "name": tag.name, "confidence": confidence}
                for tag, confidence in zip(chosen, sure, strict=True)
            ]
            rows.write(json.dumps({"id": str(number), "tags": given}) + "\n")
            text = f"# Project {number}\n\n{' '.join(draw.choices(words, k=WORDS))}"
            texts.write(json.dumps({"id": str(number), "readme": text}) + "\n")
    return output, Sources((str(readmes),))


def first_tags(item: Item) -> list[str]:
    """Return the ids of the tags that the reply has."""
    return [str(each.tag.id) for each in item.suggestions if each.given]


def time_rows(options: Namespace) -> None:
    """Time how long a review takes to open, and from one README to the next."""
    with TemporaryDirectory() as folder:
        output, sources = write_rows(Path(folder), options.readmes)
        start = perf_counter()
        with Review(output, SAMPLE, sources=sources):
            print(f"opened first, READMEs read: {perf_counter() - start:.1f} s")
        start = perf_counter()
        with Review(output, SAMPLE, sources=sources) as review:
            item = review.next()
            assert item
            review.readme(item.id)
            print(f"opened again, first README there: {perf_counter() - start:.2f} s")
            steps = []
            for _ in range(STEPS):
                start = perf_counter()
                item = review.decide(item.id, first_tags(item), item.revision)
                item = review.next(after=item.id)
                assert item
                review.readme(item.id)
                review.states()
                steps.append(perf_counter() - start)
            say_times("a decision, and the next README", steps)
            for what, act in actions(review):
                start = perf_counter()
                act()
                print(f"{what}: {1000 * (perf_counter() - start):.0f} ms")


def actions(review: Review) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what else a curator may ask for."""
    yield "another order", lambda: review.next("tag")
    yield "a filter by tag", lambda: review.next("uncertain", Filter(tag=str(SAMPLE.tags[0].id)))
    yield "a filter by text", lambda: review.next("uncertain", Filter(text="project 99"))
    yield "statistics", review.statistics
    yield "accept all above 0.95", lambda: review.bulk_accept(0.95)
    yield "undo that", review.undo


def say_times(what: str, seconds: Sequence[float]) -> None:
    """Print the median, the 95th percentile and the longest of some times."""
    high = quantiles(seconds, n=20)[-1]
    shown = [f"{1000 * value:.0f}" for value in (median(seconds), high, max(seconds))]
    print(f"{what}: {shown[0]} ms (95 %: {shown[1]}, longest: {shown[2]})")


def kill(options: Namespace) -> None:
    """Kill a reviewing process again and again, and count what is lost."""
    draw, said = random.Random(0), list[str]()
    with TemporaryDirectory() as folder:
        output, sources = write_rows(Path(folder), options.readmes)
        with Review(output, SAMPLE, sources=sources):
            pass
        for _ in range(options.times):
            command = [sys.executable, "-c", WORK, str(output), str(ROOT / "tags.json")]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
                assert worker.stdout
                said.append(worker.stdout.readline())
                try:
                    worker.wait(draw.uniform(0, 0.5))
                except subprocess.TimeoutExpired:
                    worker.send_signal(signal.SIGKILL)
                said += worker.stdout.read().splitlines(keepends=True)
        whole = [line.split() for line in said if line.endswith("\n")]
        with Review(output, SAMPLE) as review:
            lost = [
                id_
                for id_, tag in whole
                if [str(tag.id) for tag in review.item(id_).decided] != [tag]
            ]
            reviewed = review.states()["reviewed"]
    print(
        f"{options.times} times killed: {len(whole)} decisions were said, {len(lost)} of them are "
        f"lost, {reviewed} are there"
    )


@dataclass(frozen=True)
class Point:
    """How good the suggestions for READMEs that are not reviewed are.

    Attributes:
        reviewed: how many are.
        before: F1 of the tags that the output has for the others.
        after: F1 of those that the review suggests.
        said: what the review said of the first tags in its random slice.

    """

    reviewed: int
    before: float
    after: float
    said: str


def write_output(folder: Path, rank: Rank, labels: Sequence[Label]) -> tuple[Path, Sources]:
    """Write what a batch without a head would, from what the model has made of READMEs."""
    evidence, fresh = read(rank, labels)
    print(f"{len(labels)} READMEs, {sum(fresh)} of them read now")
    tagger = Tagger(rank)
    output, readmes = folder / "out.jsonl", folder / "readmes.jsonl"
    with (
        Ledger(output.with_name("out.jsonl.state")) as ledger,
        output.open("w") as rows,
        readmes.open("w") as texts,
    ):
        ledger.use(rank.identity, rank.reading_identity)
        for label, content in zip(labels, evidence.to_bytes(), strict=True):
            ledger.keep(text_key(label.to_readme()), content + SOUND)
            (ranking,) = rank.rank([content + SOUND])
            rows.write(tagger.reply(label.id, ranking).to_json(scores=True) + "\n")
            texts.write(json.dumps({"id": label.id, "readme": label.readme}) + "\n")
    return output, Sources((str(readmes),))


def given_to(review: Review, labels: Sequence[Label]) -> list[list[str]]:
    """Return the ids of the tags that are suggested to be given to READMEs."""
    return [first_tags(review.item(label.id)) for label in labels]


def f1(labels: Sequence[Label], given: Sequence[Sequence[str]]) -> float:
    """Return F1 (given) of the ids of tags."""
    places = {str(tag.id): place for place, tag in enumerate(SAMPLE)}
    replies = np.zeros((len(labels), len(SAMPLE)), dtype=bool)
    for row, ids in enumerate(given):
        replies[row, [places[id_] for id_ in ids]] = True
    judged: Judged = judge(labels, SAMPLE, replies.astype(float), replies)
    return of_given(judged)[2]


def review_by(
    order: Order, output: Path, sources: Sources, rank: Rank, labels: Sequence[Label], most: int
) -> Iterator[Point]:
    """Review in an order, learn after every so many, and yield how good the rest is."""
    by_id = {label.id: label for label in labels}
    ids = {tag.name.strip().casefold(): str(tag.id) for tag in SAMPLE}
    with Review(output, SAMPLE, sources=sources, rank=lambda: rank) as review:
        written = dict(zip(by_id, given_to(review, labels), strict=True))
        item = review.next(order)
        for done in range(1, most + 1):
            assert item
            right = [ids[tag.strip().casefold()] for tag in by_id[item.id].tags]
            item = review.decide(item.id, right, item.revision)
            item = review.next(order, after=item.id)
            if done % 25:
                continue
            try:
                learned = review.learn()
                said = "better" if learned.head else "not better, not used"
            except HeadError:
                said = "too few to learn from"
            rest = [label for label in labels if review.item(label.id).state == "open"]
            first = review.statistics().first
            assert first
            yield Point(
                done,
                f1(rest, [written[label.id] for label in rest]),
                f1(rest, given_to(review, rest)),
                f"{first.share:.2f} ({first.low:.2f} to {first.high:.2f}) of {first.of}; {said}",
            )


def curate(options: Namespace) -> None:
    """Review the READMEs of labels, in several orders."""
    taken: set[str] = set()
    found = once(label for path in options.labels for label in load_labels(path, SAMPLE))
    labels = [own_id(label, taken) for label in found]
    rank = Rank(load(options.model), SAMPLE, head=None)
    lines: dict[Order, list[Point]] = {}
    for order in ORDERS:
        with TemporaryDirectory() as folder:
            output, sources = write_output(Path(folder), rank, labels)
            print(f"{options.model}, order: {order}")
            lines[order] = []
            for point in review_by(order, output, sources, rank, labels, options.readmes):
                lines[order].append(point)
                print(
                    f"{point.reviewed:4} reviewed: F1 of the others {point.before:.3f} as written, "
                    f"{point.after:.3f} as suggested; first tag right {point.said}"
                )
    if options.plot:
        draw(lines, options.plot, options.model)


def draw(lines: dict[Order, list[Point]], path: Path, model: str) -> None:
    """Draw F1 of the rest against READMEs reviewed."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "tagger"
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for place, (order, points) in enumerate(lines.items()):
        reviewed = [point.reviewed for point in points]
        axes.plot(
            reviewed,
            [point.after for point in points],
            "o-",
            color=f"C{place}",
            label=f"as suggested after learning, order: {order}",
        )
        axes.plot(
            reviewed,
            [point.before for point in points],
            "^--",
            color=f"C{place}",
            label=f"the same READMEs as the batch has tagged them, order: {order}",
        )
    axes.set(xlabel="READMEs reviewed", ylabel="F1 of all others", title=model)
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    """Do what is asked for."""
    made = parser(__doc__)
    tasks = made.add_subparsers(required=True)
    rows = tasks.add_parser("rows", help="time the library")
    rows.add_argument("--readmes", type=count, default=100_000, help="rows of the output")
    rows.set_defaults(act=time_rows)
    kills = tasks.add_parser("kills", help="kill a reviewing process")
    kills.add_argument("--readmes", type=count, default=10_000, help="rows of the output")
    kills.add_argument("--times", type=count, default=50, help="how often")
    kills.set_defaults(act=kill)
    curator = tasks.add_parser("curator", help="review by labels")
    curator.add_argument("labels", type=file, nargs="+", help="JSON Lines of labels")
    curator.add_argument("--model", default=DEFAULT_MODEL, help="a model's name or folder")
    curator.add_argument("--readmes", type=count, default=100, help="how many are reviewed")
    curator.add_argument("--plot", type=Path, help="an SVG file to draw it in")
    curator.set_defaults(act=curate)
    options = made.parse_args()
    options.act(options)


if __name__ == "__main__":
    reported(main)
