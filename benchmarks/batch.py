"""What a batch costs beside the model: memory over many rows, and the share of time spent in it.

    python benchmarks/batch.py memory --rows 100000
    python benchmarks/batch.py share ../shared/eval/github-dev.jsonl --model qwen2.5-coder-0.5b
    python benchmarks/batch.py again ../shared/eval/github-dev.jsonl --model qwen2.5-coder-0.5b

`memory` streams generated rows through standard input and a tiny random model (of
tests/support/tiny.py), and prints the process's resident memory along the way. `share` runs
`tagger batch` in a process and prints which part of its wall time, from its first instruction to
its last, lay within calls of the model. `again` runs it over the first READMEs of a file, and then
ranks without a head what was read: the READMEs themselves, and the same many times over by other
ids. What the longer run takes more is the time of its rows. POSIX only.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from common import ROOT, count, parser, reported

TAGGER = str(Path(sys.executable).with_name("tagger"))

TIMED = """
import sys, time
start = time.perf_counter()
import atexit
inside = 0.0
import tagger.cli
from tagger.models.language import LanguageModel

def timed(name):
    plain = getattr(LanguageModel, name)
    def call(self, *args, **options):
        global inside
        begin = time.perf_counter()
        try:
            return plain(self, *args, **options)
        finally:
            inside += time.perf_counter() - begin
    setattr(LanguageModel, name, call)

for name in ("prefill", "decode", "forward_tree", "logits"):
    timed(name)
atexit.register(lambda: print(time.perf_counter() - start, inside, file=sys.stderr))
sys.argv[0] = "tagger"
tagger.cli.main()
"""


def generated(rows: int) -> Iterator[bytes]:
    """Yield rows of JSON, no two READMEs alike."""
    for number in range(rows):
        readme = f"Project {number}, a game engine that counts to {number * 7919}."
        yield json.dumps({"id": number, "readme": readme}).encode() + b"\n"


def resident(process: int) -> float:
    """Return a process's resident memory in MB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def memory(rows: int) -> None:
    """Print the memory of a batch after a tenth of its rows, and after more."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support import tiny

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.jsonl"
        model = str(tiny.save(Path(folder) / "model"))
        (Path(folder) / "tags.json").write_text('["game", "cli", "http", "http-client"]')
        command = [TAGGER, "batch", "-", "--tags", f"{folder}/tags.json", "--model", model]
        command += ["--threads", "1", "--quiet", "-o", str(out)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE)
        stdin = process.stdin

        def feed() -> None:
            assert stdin is not None
            for line in generated(rows):
                stdin.write(line)
            stdin.close()

        threading.Thread(target=feed).start()
        print("| rows | resident MB |\n|---|---|", flush=True)
        step, done, used = rows // 10, 0, 0.0
        out.touch()
        with out.open("rb") as file:
            while process.poll() is None:
                used = resident(process.pid) or used  # nothing is left of it at its very end
                done += file.read().count(b"\n")
                if done >= step:
                    print(f"| {done:,} | {used:.0f} |", flush=True)
                    step += rows // 10
                time.sleep(0.02)
            done += file.read().count(b"\n")
        print(f"| {done:,} at its end | {used:.0f} |")
        if process.returncode or done != rows:
            sys.exit("the batch failed")


def share(source: str, model: str) -> None:
    """Print the share of a batch's wall time that the model took."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["batch", source, "--tags", str(ROOT / "tags.json"), "--model", model]
        command = [sys.executable, "-c", TIMED, *arguments, "-o", f"{folder}/out.jsonl"]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
        print(done.stderr)
        wall, inside = map(float, done.stderr.splitlines()[-1].split())
    print(f"{inside:.1f} s of {wall:.1f} s in the model: {inside / wall:.1%}")


def again(source: str, model: str, readmes: int, rows: int) -> None:
    """Print how fast READMEs that were read before are ranked anew."""
    with Path(source).open() as file:
        texts = [json.loads(line)["readme"] for line in islice(file, readmes)]
    with tempfile.TemporaryDirectory() as folder:
        dump, out = Path(folder) / "dump.jsonl", Path(folder) / "out.jsonl"
        command = [TAGGER, "batch", str(dump), "--tags", str(ROOT / "tags.json"), "--model", model]
        command += ["--quiet", "-o", str(out)]

        def run(count: int, *more: str) -> float:
            lines = ({"id": n, "readme": texts[n % len(texts)]} for n in range(count))
            dump.write_text("\n".join(map(json.dumps, lines)))
            start = time.perf_counter()
            subprocess.run([*command, *more], check=True)
            return time.perf_counter() - start

        reading = run(len(texts))
        few = run(len(texts), "--head", "none")
        many = run(rows, "--head", "none")
    print(f"{len(texts)} READMEs read: {reading:.1f} s; ranked again: {few:.1f} s")
    print(
        f"{rows:,} ranked again: {many:.1f} s, {(rows - len(texts)) / (many - few):,.0f} a second"
    )


def main() -> None:
    """Read the command line."""
    made = parser(__doc__)
    what = made.add_subparsers(dest="what", required=True)
    rows = what.add_parser("memory")
    rows.add_argument("--rows", type=count, default=100_000)
    part = what.add_parser("share")
    known = what.add_parser("again")
    for each in (part, known):
        each.add_argument("source")
        each.add_argument("--model", default="qwen2.5-coder-0.5b")
    known.add_argument("--readmes", type=count, default=20)
    known.add_argument("--rows", type=count, default=10_000)
    options = made.parse_args()
    if options.what == "memory":
        memory(options.rows)
    elif options.what == "share":
        share(options.source, options.model)
    else:
        again(options.source, options.model, options.readmes, options.rows)


if __name__ == "__main__":
    reported(main)
