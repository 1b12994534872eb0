"""Seconds a README with the defaults, and with those before there were heads: paired, one model.

    python benchmarks/defaults.py labels.jsonl labels.jsonl … --readmes 160

Before: 768 tokens of a README and no head. Every README is ranked both ways, one right after the
other, in turns which first. The time is that of a README in a batch: encoding, reading, ranking.
"""

import json
import time
from pathlib import Path

from common import SAMPLE, count, file, parser, readmes_of, reported
from tagger import Rank, Readme, load
from tagger.types import DEFAULT_MODEL

BEFORE = 768


def seconds(rank: Rank, readme: Readme) -> float:
    """Return how long a README takes."""
    start = time.perf_counter()
    (reading,) = rank.read([rank.encode(Readme(readme.id, readme.text))])
    rank.rank([reading])
    return time.perf_counter() - start


def spread(files: list[Path], wanted: int) -> list[Readme]:
    """Return so many READMEs from all over the files, or all."""
    readmes = [readme for path in files for readme in readmes_of(path)]
    step = max(1.0, len(readmes) / wanted)
    return [readmes[int(place * step)] for place in range(min(wanted, len(readmes)))]


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("labels", type=file, nargs="+", help="JSON Lines of id, readme and tags")
    made.add_argument("--readmes", type=count, default=160, help="how many of them")
    made.add_argument("--model", default=DEFAULT_MODEL, help="a model's name or folder")
    options = made.parse_args()
    readmes = spread(options.labels, options.readmes)
    model = load(options.model)
    ranks = {
        "before": Rank(model, SAMPLE, readme_tokens=BEFORE, head=None),
        "now": Rank(model, SAMPLE),
    }
    for rank in ranks.values():
        rank.prepare()
        seconds(rank, readmes[0])  # the first pass takes memory and chooses kernels
    total = dict.fromkeys(ranks, 0.0)
    for number, readme in enumerate(readmes):
        for name in list(ranks)[:: 1 if number % 2 else -1]:
            total[name] += seconds(ranks[name], readme)
    found = {f"seconds_{name}": value / len(readmes) for name, value in total.items()}
    print(json.dumps({"readmes": len(readmes), **found, "ratio": total["now"] / total["before"]}))


if __name__ == "__main__":
    reported(main)
