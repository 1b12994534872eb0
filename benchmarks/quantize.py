"""What int8 weights save and cost: memory, and seconds a README beside weights as they are.

    python benchmarks/quantize.py ../shared/eval/github-dev.jsonl --model qwen2.5-coder-0.5b

Memory is that of a process that loads the model and ranks one README, each in one of its own: the
weights, what is resident once they are loaded, and the peak. Time is paired: both models rank every
README, one right after the other, in turns which first. It prints two Markdown tables. What int8
does to accuracy is measured by `scripts/quantized_across.py`.
"""

import json
import resource
import statistics
import subprocess
import sys
from typing import Any, Literal

import psutil

from common import SAMPLE, labelled, readmes_of, reported, timed
from tagger import Rank, Readme, load

WAYS: dict[str, Literal["int8"] | None] = {"as they are": None, "int8": "int8"}


def open_rank(model: str, dtype: str, way: str) -> Rank:
    """Return what ranks with a model's weights as they are or quantised."""
    return Rank(load(model, device="cpu", dtype=dtype, quantize=WAYS[way]), SAMPLE)


def bytes_of(weight: Any) -> int:
    """Return the bytes of a weight."""
    parts = [weight.qdata, weight.scale] if hasattr(weight, "qdata") else [weight]
    return sum(part.nbytes for part in parts)


def rank_once(rank: Rank, readme: Readme) -> None:
    """Rank a README, which was not cleaned before."""
    rank.rank(rank.read([rank.encode(Readme(readme.id, readme.text))]))


def memory(rank: Rank, readme: Readme) -> dict[str, int]:
    """Return the bytes that this process takes, by what for."""
    loaded = psutil.Process().memory_info().rss
    rank_once(rank, readme)
    scale = 1 if sys.platform == "darwin" else 1024
    return {
        "weights": sum(map(bytes_of, rank.model.network.parameters())),
        "resident": loaded,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale,
    }


def main() -> None:
    """Measure and print."""
    made = labelled(__doc__, 20)
    made.add_argument("--dtype", default="auto", help="the number format beside int8")
    made.add_argument("--memory-of", choices=WAYS, help="print the bytes of one way alone, as JSON")
    options = made.parse_args()
    readmes = readmes_of(options.labels)[: options.readmes]
    if options.memory_of:
        rank = open_rank(options.model, options.dtype, options.memory_of)
        print(json.dumps(memory(rank, readmes[0])))
        return
    print("| weights | GB of weights | resident when loaded | peak |\n|---|---|---|---|")
    for way in WAYS:
        command = [sys.executable, __file__, *sys.argv[1:], "--memory-of", way]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        row = " | ".join(f"{value / 1e9:.2f}" for value in json.loads(done.stdout).values())
        print(f"| {way} | {row} |", flush=True)
    ranks = {way: open_rank(options.model, options.dtype, way) for way in WAYS}
    for rank in ranks.values():
        rank.prepare()
        rank_once(rank, readmes[0])  # the first pass takes memory and chooses kernels
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for number, readme in enumerate(readmes):
        for way in list(WAYS)[:: 1 if number % 2 else -1]:
            seconds[way].append(timed(lambda: rank_once(ranks[way], readme)))  # noqa: B023
    plain, quantized = seconds.values()
    ratio = statistics.median(b / a for a, b in zip(plain, quantized, strict=True))
    dtype = str(ranks["int8"].model.dtype).removeprefix("torch.")
    print(f"\n{len(readmes)} READMEs, {dtype}\n\n| weights | s a README |\n|---|---|")
    for way, each in seconds.items():
        print(f"| {way} | {statistics.median(each):.2f} |")
    print(f"\nratio of paired times, median: {ratio:.2f}")


if __name__ == "__main__":
    reported(main)
