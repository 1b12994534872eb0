"""Time and memory of the main job as a user meets it, each figure from processes of their own.

    python benchmarks/main_job.py README.md --model qwen2.5-coder-1.5b --runs 3

Prints a Markdown table: wall time of `tagger --help` and `tagger run` (the model present; with and
without the prior in the cache), of `tagger explain` right after each, of loading the model alone,
and peak resident memory. POSIX only.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from common import ROOT, count, file, parser, reported
from tagger.types import DEFAULT_MODEL

TAGGER = str(Path(sys.executable).with_name("tagger"))
LOAD = """
import sys, time
start = time.perf_counter()
from tagger.models.load import load
load(sys.argv[1], offline=True)
print(time.perf_counter() - start)
"""


class Run(NamedTuple):
    """One process: seconds of wall time, peak bytes, standard output."""

    seconds: float
    peak: int
    out: str


def run(*command: str, home: str | None = None) -> Run:
    """Run a command to its end."""
    environment = os.environ | ({"TAGGER_HOME": home} if home else {})
    with tempfile.TemporaryFile("w+") as out:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{command} ended with {process.returncode}")
        out.seek(0)
        return Run(seconds, usage.ru_maxrss * 1024, out.read())


def home_without_priors(folder: str) -> str:
    """Return a cache folder that shares the models of the user's own and has no priors."""
    from tagger.models.fetch.store import models_home

    (Path(folder) / "models").symlink_to(models_home(), target_is_directory=True)
    return folder


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("readme", type=file, help="the README to tag")
    made.add_argument("--model", default=DEFAULT_MODEL, help="a model's name or folder")
    made.add_argument("--tags", type=file, default=ROOT / "tags.json", help="the vocabulary")
    made.add_argument("--runs", type=count, default=3, help="processes of each kind")
    options = made.parse_args()

    command = [TAGGER, "run", str(options.readme), "--tags", str(options.tags), "--id", "1375"]
    command += ["--model", options.model, "--quiet", "--scores"]
    helps = [run(TAGGER, "--help") for _ in range(2 * options.runs + 1)][1:]
    with tempfile.TemporaryDirectory() as folder:
        first = run(*command, home=home_without_priors(folder))
    explain = [TAGGER, "explain", *command[2:-1]]
    pairs = [(run(*command), run(*explain)) for _ in range(options.runs + 1)][1:]
    later, explained = zip(*pairs, strict=True)
    loads = [run(sys.executable, "-c", LOAD, options.model) for _ in range(options.runs)]

    rows = {
        "`tagger --help`": [one.seconds for one in helps],
        "`tagger run`, first of a vocabulary (computes the prior)": [first.seconds],
        "`tagger run`, later": [one.seconds for one in later],
        "`tagger explain`": [one.seconds for one in explained],
        "loading the model, imports included": [float(one.out) for one in loads],
    }
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {options.model}\n"
    )
    print("| | median s | min | max |\n|---|---|---|---|")
    for name, seconds in rows.items():
        print(
            f"| {name} | {statistics.median(seconds):.2f} | {min(seconds):.2f} "
            f"| {max(seconds):.2f} |"
        )
    ratios = [after.seconds / before.seconds for before, after in pairs]
    print(f"\n`tagger explain` over `tagger run`, pair by pair: {statistics.median(ratios):.2f}")
    print(f"Peak memory of `tagger run`: {max(one.peak for one in [first, *later]) / 1e9:.2f} GB")
    names = [tag["name"] for tag in json.loads(later[0].out)["tags"]]
    print(f"Tags: {', '.join(names)}")


if __name__ == "__main__":
    reported(main)
