"""How READMEs a second go with the number of tags and with the length of READMEs, as plots.

    python benchmarks/scaling.py ../shared/eval/github-dev.jsonl --model qwen2.5-coder-0.5b

Texts are put behind one another until they fill every budget. Settings are measured in turn, text
by text, so that a slow moment of the machine falls on all of them. It prints two tables and writes
`docs/scaling-tags.svg` and `docs/scaling-tokens.svg`; it needs the extra `plots`.
"""

import argparse
import functools
import json
import statistics
from collections.abc import Sequence
from pathlib import Path

import matplotlib

from scoring import thousand, timed
from tagger import Readme, Vocabulary
from tagger.defaults import DEFAULT_MODEL, README_TOKENS
from tagger.methods.calibration import Calibration
from tagger.methods.rank import Rank
from tagger.models.load import load
from tagger.prompt import PromptTemplate

matplotlib.use("svg")
from matplotlib import pyplot

ROOT = Path(__file__).parents[1]
TAGS = (90, 300, 1000)
TOKENS = (256, 512, 1024, 2048, 4096)


def plot(name: str, axis: str, steps: Sequence[int], rates: Sequence[float]) -> None:
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
    figure.savefig(ROOT / "docs" / f"scaling-{name}.svg", metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("labels", type=Path)
    parser.add_argument("--readmes", type=int, default=3)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    options = parser.parse_args()
    matplotlib.rcParams["svg.hashsalt"] = "tagger"

    model = load(options.model)
    names = [tag.label for tag in thousand()]
    vocabularies = {count: Vocabulary.from_names(names[:count]) for count in TAGS}
    template = PromptTemplate.load()

    def rank_of(tags: int, tokens: int) -> Rank:
        calibration = Calibration.of(options.model, vocabularies[tags])
        rank = Rank(model, vocabularies[tags], template, calibration, tokens)
        rank.prepare()
        return rank

    texts = [json.loads(line)["readme"] for line in options.labels.read_text().splitlines()]
    size = len(texts) // options.readmes
    words = [
        "\n\n".join(Readme("", text).words for text in texts[start * size : (start + 1) * size])
        for start in range(options.readmes)
    ]

    def measured(ranks: dict[int, Rank]) -> dict[int, float]:
        """Return READMEs a second of each setting."""
        seconds: dict[int, list[float]] = {step: [] for step in ranks}
        for text in words:
            for step, rank in ranks.items():
                readme = rank.encode(text)
                seconds[step].append(timed(functools.partial(rank.rank, [readme])))
        return {step: 1 / statistics.median(times) for step, times in seconds.items()}

    by_tags = measured({count: rank_of(count, README_TOKENS) for count in TAGS})
    by_tokens = measured({count: rank_of(TAGS[0], count) for count in TOKENS})
    for axis, rates in (("tags", by_tags), ("tokens of a README", by_tokens)):
        print(f"\n| {axis} | READMEs a second |\n|---|---|")
        for step, rate in rates.items():
            print(f"| {step:,} | {rate:.3f} |")
        plot(axis.split()[0], axis, list(rates), list(rates.values()))


if __name__ == "__main__":
    main()
