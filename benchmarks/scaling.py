"""How READMEs a second go with the number of tags and with the length of READMEs, as plots.

    python benchmarks/scaling.py ../shared/eval/github-dev.jsonl --model qwen2.5-coder-0.5b

Texts are concatenated until they fill every budget. Settings are measured in turn, text by text, so
that a slow moment of the machine affects all of them. It prints two tables and writes
`scaling-tags.svg` and `scaling-tokens.svg`; with `--plots docs` those of the documentation.
"""

import functools
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib

from common import folder, labelled, readmes_of, reported, timed
from scoring import thousand
from tagger import Readme, Vocabulary
from tagger.methods.rank.rank import Rank
from tagger.models.load import load
from tagger.types import README_TOKENS

matplotlib.use("svg")
from matplotlib import pyplot

TAGS = (90, 300, 1000)
TOKENS = (256, 512, 1024, 2048, 4096)


def plot(path: Path, axis: str, steps: Sequence[int], rates: Sequence[float]) -> None:
    """Draw READMEs a second over something."""
    figure, axes = pyplot.subplots(figsize=(5, 3), layout="constrained")
    axes.plot(steps, rates, marker="o", color="#2f7ed8")
    axes.set_xscale("log")
    axes.set_xticks(steps, [f"{step:,}" for step in steps])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel(axis)
    axes.set_ylabel("READMEs a second")
    axes.grid(alpha=0.3)
    # Without a date and with names that stay, the same figures are the same file.
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    """Measure, print and draw."""
    parser = labelled(__doc__, 3)
    parser.add_argument("--plots", type=folder, default=Path(), help="where the plots go")
    options = parser.parse_args()
    texts = [readme.plain_text for readme in readmes_of(options.labels)]
    if len(texts) < options.readmes:
        sys.exit(f"{options.labels}: holds fewer than {options.readmes} READMEs")
    matplotlib.rcParams["svg.hashsalt"] = "tagger"

    model = load(options.model)
    names = [tag.label for tag in thousand()]
    vocabularies = {count: Vocabulary.from_names(names[:count]) for count in TAGS}

    def rank_of(tags: int, tokens: int) -> Rank:
        rank = Rank(model, vocabularies[tags], readme_tokens=tokens)
        rank.prepare()
        return rank

    size = len(texts) // options.readmes
    readmes = [
        Readme(str(start), "\n\n".join(texts[start * size : (start + 1) * size]))
        for start in range(options.readmes)
    ]

    def measured(ranks: dict[int, Rank]) -> dict[int, float]:
        """Return READMEs a second of each setting."""
        seconds: dict[int, list[float]] = {step: [] for step in ranks}
        for readme in readmes:
            for step, rank in ranks.items():
                encoded = rank.encode(readme)
                if len(encoded.tokens) < 0.8 * rank.readme_tokens:
                    sys.exit(f"the READMEs are too short to fill {rank.readme_tokens:,} tokens")
                seconds[step].append(timed(functools.partial(rank.score, [encoded])))
        return {step: 1 / statistics.median(times) for step, times in seconds.items()}

    by_tags = measured({count: rank_of(count, README_TOKENS) for count in TAGS})
    by_tokens = measured({count: rank_of(TAGS[0], count) for count in TOKENS})
    for axis, rates in (("tags", by_tags), ("tokens of a README", by_tokens)):
        print(f"\n| {axis} | READMEs a second |\n|---|---|")
        for step, rate in rates.items():
            print(f"| {step:,} | {rate:.3f} |")
        plot(
            options.plots / f"scaling-{axis.split()[0]}.svg",
            axis,
            list(rates),
            list(rates.values()),
        )


if __name__ == "__main__":
    reported(main)
