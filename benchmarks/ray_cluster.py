"""`tagger batch --ray` against `tagger batch`: what is lost, what it costs, and its memory.

    python benchmarks/ray_cluster.py kills --rows 1000 --tries 5
    python benchmarks/ray_cluster.py overhead ../shared/eval/github-dev.jsonl --model tiny
    python benchmarks/ray_cluster.py memory --rows 1000 10000
    python benchmarks/ray_cluster.py driver --rows 20000

`kills` tags generated READMEs on three Ray nodes of this machine. In some tries a node and two
actors are killed in mid-run, in the others the driver is, and then started again. Rows must be
those of a batch without Ray. `overhead` tags the first READMEs of a file with one actor and
without Ray, in turns, and compares the time from the first row to the last. `memory`
prints the most memory that the driver takes. `driver` prints how many READMEs a second the driver
looks at, plans and hands on, and how many rows it writes: with enough machines, that is the limit.
The model is a tiny random one (of tests/support/tiny.py) where none is named. POSIX only.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet

from common import ROOT, count, parser, reported, timed

# Before Ray is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

STORE = 200 * 1024 * 1024
NODES = 3
TINY = "tiny"

DRIVER = """
import sys, time
import tagger.ray.run as run

run.PART_SECONDS = float(sys.argv.pop(1))
sys.argv[0] = "tagger"
import tagger.cli
tagger.cli.main()
"""
"""The command, but that parts are written more often: else there would be one in all."""

TIMED = """
import sys, time
from tagger.cli.progress import Display

plain, times = Display.add, []

def add(self, row):
    times.append(time.perf_counter())
    plain(self, row)

Display.add = add
import atexit
atexit.register(lambda: print("TIMES", *times, file=sys.stderr))
sys.argv[0] = "tagger"
import tagger.cli
tagger.cli.main()
"""


def generated(rows: int) -> Iterator[bytes]:
    """Yield rows of JSON: every tenth README is the same as another, every hundredth is empty."""
    for number in range(rows):
        like = number // 10 if number % 10 == 9 else number
        text = f"Project {like}, a game engine that counts to {like * 7919}. " * 40
        readme = "" if number % 100 == 50 else text
        yield json.dumps({"id": number, "readme": readme}).encode() + b"\n"


def prepared(folder: Path, rows: int) -> None:
    """Write a model, a list of tags and READMEs."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support import tiny

    tiny.save(folder / TINY)
    (folder / "tags.json").write_text('["game", "cli", "http", "http-client"]')
    with (folder / "dump.jsonl").open("wb") as file:
        file.writelines(generated(rows))


def arguments(folder: Path, output: str, *more: str) -> list[str]:
    """Return the arguments of a batch over the generated READMEs."""
    options = ["--tags", str(folder / "tags.json"), "--model", str(folder / TINY), "--scores"]
    limits = ["--threads", "1", "--device", "cpu", "--quiet"]
    return [
        "batch",
        str(folder / "dump.jsonl"),
        "-o",
        str(folder / output),
        *options,
        *limits,
        *more,
    ]


def lines(path: Path) -> set[str]:
    """Return the rows of JSON lines."""
    return {json.dumps(json.loads(line), sort_keys=True) for line in path.read_text().splitlines()}


def parts(folder: Path) -> list[str]:
    """Return the rows of all parts, as JSON lines have them."""
    rows = []
    for path in folder.glob("part-*.parquet"):
        for row in pyarrow.parquet.ParquetFile(path).read().to_pylist():
            if row["error"]:
                row = {"id": row["id"], "error": row["error"]}
            else:
                more = {name: row[name] for name in ("suspicious", "source") if row[name]}
                row = {"id": row["id"], "tags": row["tags"], **more}
            rows.append(json.dumps(row, sort_keys=True))
    return rows


class Nodes:
    """A cluster of Ray nodes on this machine."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        settings: dict[str, Any] = {"num_cpus": 1, "object_store_memory": STORE}
        self._cluster = Cluster(
            initialize_head=True, head_node_args={**settings, "include_dashboard": False}
        )
        self._others = [self._cluster.add_node(**settings) for _ in range(NODES - 1)]
        self.address: str = self._cluster.address

    def lose(self) -> None:
        """Kill a node."""
        self._cluster.remove_node(self._others.pop(), allow_graceful=False)

    def lose_actor(self, driver: "subprocess.Popen[bytes]") -> None:
        """Kill an actor, after waiting until there is one."""
        while driver.poll() is None:
            for process in psutil.Process().children(recursive=True):
                try:
                    if "ray::MapWorker" in " ".join(process.cmdline()):
                        process.kill()
                        return
                except psutil.Error:  # it has just ended
                    continue
            time.sleep(0.05)
        raise RuntimeError("the batch has ended before an actor could be killed")

    def close(self) -> None:
        """End it."""
        self._cluster.shutdown()


def driven(
    folder: Path, output: str, *more: str, seconds: float = 0.2
) -> "subprocess.Popen[bytes]":
    """Start a batch."""
    command = [sys.executable, "-c", DRIVER, str(seconds), *arguments(folder, output, *more)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)


def rows_in(output: Path, least: int, process: "subprocess.Popen[bytes]") -> int:
    """Wait until an output has so many rows, or the process has ended; return how many it has."""
    while process.poll() is None and (found := len(parts(output))) < least:
        time.sleep(0.1)
    return len(parts(output)) if process.poll() is not None else found


def kills(rows: int, tries: int) -> None:
    """Print whether all rows are there after nodes, actors and drivers were killed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared(folder, rows)
        subprocess.run([sys.executable, "-m", "tagger", *arguments(folder, "one.jsonl")])
        expected = lines(folder / "one.jsonl")
        assert len(expected) == rows
        print(
            "| killed | try | rows when killed | exit code | rows | equal | seconds |", flush=True
        )
        print("|---|---|---|---|---|---|---|", flush=True)
        for what in ("a node, two actors", "the driver"):
            for number in range(tries):
                killed(folder, expected, what, number)


def killed(folder: Path, expected: set[str], what: str, number: int) -> None:
    """Run a batch in which something is killed, and print what came of it."""
    output = f"{what.split()[1].strip(',')}-{number}.parquet"
    nodes = Nodes()
    start = time.perf_counter()
    try:
        process = driven(folder, output, "--ray", nodes.address)
        at = [rows_in(folder / output, len(expected) // 5, process)]
        if what == "the driver":
            process.send_signal(signal.SIGKILL)
            process.wait()
            at = [len(parts(folder / output))]
            assert not (folder / output / "_manifest.json").exists()
            process = driven(folder, output, "--ray", nodes.address)
        else:
            nodes.lose_actor(process)
            at.append(rows_in(folder / output, len(expected) * 2 // 5, process))
            nodes.lose()
            at.append(rows_in(folder / output, len(expected) * 3 // 5, process))
            nodes.lose_actor(process)
        code = process.wait(600)
    finally:
        nodes.close()
    seconds = time.perf_counter() - start
    rows = parts(folder / output)
    equal = len(rows) == len(expected) and set(rows) == expected
    whole = equal and (folder / output / "_manifest.json").exists()
    when = ", ".join(map(str, at))
    print(
        f"| {what} | {number + 1} | {when} | {code} | {len(rows)} | {'yes' if whole else 'NO'} "
        f"| {seconds:.0f} |",
        flush=True,
    )


def overhead(source: str, model: str, readmes: int, pairs: int) -> None:
    """Print rows a second, without start-up and loading, with Ray and without."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared(folder, 1)
        with Path(source).open() as file:
            texts = [json.loads(line)["readme"] for line in islice(file, readmes)]
        dump = "".join(json.dumps({"id": n, "readme": text}) + "\n" for n, text in enumerate(texts))
        (folder / "dump.jsonl").write_text(dump)
        threads = str(os.cpu_count())

        def speed(output: str, *more: str) -> float:
            said = ["--model", str(folder / TINY) if model == TINY else model, "--quiet"]
            options = ["--tags", str(ROOT / "tags.json"), "--threads", threads, "--device", "cpu"]
            command = ["batch", str(folder / "dump.jsonl"), "-o", str(folder / output)]
            done = subprocess.run(
                [sys.executable, "-c", TIMED, *command, *options, *said, "--restart", *more],
                stderr=subprocess.PIPE,
                text=True,
            )
            line = next(line for line in done.stderr.splitlines() if line.startswith("TIMES"))
            times = [float(word) for word in line.split()[1:]]
            assert len(times) == readmes, done.stderr
            # Rows come in blocks: those of the first are not counted, nor the time until then.
            later = [each for each in times if each > times[0] + 0.02]
            return len(later) / (times[-1] - times[0])

        ratios = []
        print("| tagger batch, rows/s | --ray local, rows/s | ratio |\n|---|---|---|", flush=True)
        for _ in range(pairs):
            one = speed("one.jsonl")
            many = speed("many.parquet", "--ray", "local", "--concurrency", "1")
            ratios.append(many / one)
            print(f"| {one:.2f} | {many:.2f} | {many / one:.2f} |", flush=True)
        print(f"median ratio {statistics.median(ratios):.2f}")


def memory(sizes: list[int]) -> None:
    """Print the most memory that drivers of batches of several sizes take."""
    print("| rows | driver's peak resident MB |\n|---|---|", flush=True)
    for rows in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            prepared(folder, rows)
            process = driven(folder, "out.parquet", "--ray", "local", seconds=15)
            peak = 0
            while process.poll() is None:
                try:
                    peak = max(peak, psutil.Process(process.pid).memory_info().rss)
                except psutil.Error:
                    break
                time.sleep(0.05)
            process.wait()
            found = len(parts(folder / "out.parquet"))
            assert found == rows, found
        print(f"| {rows:,} | {peak / 1e6:.0f} |", flush=True)


def driver(rows: int) -> None:
    """Print how fast the driver does its part, without a cluster."""
    import tagger.ray.run as running
    from tagger import Sources, Tagging, Vocabulary
    from tagger.batch.pipeline import Row
    from tagger.ray.blocks import KeyedRow, groups_of, packed, unpacked
    from tagger.tagging import GivenTag

    vocabulary = Vocabulary.from_names(["game", "cli", "http"])
    tags = tuple(GivenTag(id=each.id, name=each.name, confidence=0.5) for each in vocabulary)

    blocks: list[Any] = []
    groups: list[Any] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "dump.jsonl").open("wb") as file:
            file.writelines(generated(rows))
        size = (folder / "dump.jsonl").stat().st_size / rows
        found = Sources((str(folder / "dump.jsonl"),))
        work = running.ClusterBatch(found, vocabulary, output=folder / "out.parquet", scores=True)
        looked = timed(lambda: work.__enter__())
        with closing(work):
            planned = timed(lambda: blocks.append(work._block(0)))
            read = timed(
                lambda: groups.extend(
                    each
                    for block in running._texts([found], blocks[0])
                    for each in groups_of(block)
                )
            )
            tagged = [
                KeyedRow(Row(Tagging(id=id_, tags=tags), 1), group.key)
                for group in groups
                for id_, _ in group.named
            ]
            tables = [packed(tagged[start : start + 32]) for start in range(0, len(tagged), 32)]

            def write() -> None:
                for table in tables:
                    for each in unpacked(table):
                        work._take(each)
                work._write()

            work._written = time.monotonic()
            work._parts.begin({})
            written = timed(write)
    print(f"{rows:,} READMEs of {size:,.0f} bytes, of which {len(groups):,} differ and can be read")
    print("| step | a second |\n|---|---|")
    print(f"| looking at READMEs, before anything is read | {rows / looked:,.0f} |")
    print(f"| planning | {len(groups) / planned:,.0f} |")
    print(f"| reading them again, one source | {len(groups) / read:,.0f} |")
    print(f"| taking and writing rows | {len(tagged) / written:,.0f} |")


def main() -> None:
    """Read the command line."""
    made = parser(__doc__)
    what = made.add_subparsers(dest="what", required=True)
    each: argparse.ArgumentParser = what.add_parser("kills")
    each.add_argument("--rows", type=count, default=1000)
    each.add_argument("--tries", type=count, default=5)
    each = what.add_parser("overhead")
    each.add_argument("source")
    each.add_argument("--model", default=TINY)
    each.add_argument("--readmes", type=count, default=30)
    each.add_argument("--pairs", type=count, default=3)
    each = what.add_parser("memory")
    each.add_argument("--rows", type=count, nargs="+", default=[1000, 10_000])
    each = what.add_parser("driver")
    each.add_argument("--rows", type=count, default=20_000)
    options = made.parse_args()
    if options.what == "kills":
        kills(options.rows, options.tries)
    elif options.what == "overhead":
        overhead(options.source, options.model, options.readmes, options.pairs)
    elif options.what == "memory":
        memory(options.rows)
    else:
        driver(options.rows)


if __name__ == "__main__":
    reported(main)
