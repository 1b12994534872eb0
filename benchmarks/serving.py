"""`tagger serve` under load, and what it adds to the library's time.

    python benchmarks/serving.py load --clients 200 --seconds 60
    python benchmarks/serving.py overhead --model qwen2.5-coder-0.5b --rounds 3
    python benchmarks/serving.py options 10 100 300 --model qwen2.5-coder-0.5b

`load` has clients tag READMEs one after the other, as fast as they are answered, and sends SIGTERM
while they all wait. The clients are in this process, the server in another. With `--model tiny`,
the default, it has a random model of the tests and one thread for it, so that HTTP and the queue
are what is measured. `overhead` tags the example READMEs by the library and by the server in
turns. `options` asks a question with so many options, once new and once again.
"""

import argparse
import asyncio
import contextlib
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import numpy as np
import psutil

from common import ROOT, SAMPLE, count, parser, reported
from tagger import Readme, Tagger

TINY = "tiny"
TEXT = "A small, code-first engine for 2D games: platformers, puzzlers and adventures. " * 12
EXAMPLES = sorted((ROOT / "examples" / "readmes").glob("*.md"))
MIB = 2**20


@contextlib.contextmanager
def model_folder(name: str) -> Iterator[str]:
    """Give the model's name, or the folder of a tiny random one."""
    if name != TINY:
        yield name
        return
    sys.path.insert(0, str(ROOT / "tests"))
    from support import tiny

    with tempfile.TemporaryDirectory() as folder:
        yield str(tiny.save(Path(folder)))


@contextlib.contextmanager
def served(model: str, *options: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Run a server until the block ends; its process and address, once the model is loaded."""
    command = [sys.executable, "-m", "tagger", "serve", "--port", "0", "--model", model]
    command += ["--tags", str(ROOT / "tags.json"), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            address = ""
            for line in process.stderr:
                if found := re.search(r"listening on (\S+)", line):
                    address = found[1]
                if "the model is loaded" in line:
                    break
            else:
                sys.exit("the server did not start")
            yield process, address
        finally:
            process.kill()


@dataclass
class Load:
    """What clients have met.

    Attributes:
        seconds: how long each answered request took.
        statuses: how many answers had each.
        unanswered: how many requests had none.
        stopped: whether clients send no more.

    """

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0
    stopped: bool = False


async def client(host: str, port: int, load: Load) -> None:
    """Send one request after the other on one connection, and a new one where that is closed."""
    body = json.dumps({"id": "1375", "readme": TEXT}).encode()
    request = (
        f"POST /v1/tag HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    while not load.stopped:
        try:
            reader, writer = await asyncio.open_connection(host, port)
        except OSError:
            load.unanswered += not load.stopped
            return
        while not load.stopped:
            start = time.perf_counter()
            try:
                writer.write(request)
                await writer.drain()
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head)
                await reader.readexactly(int(length[1]) if length else 0)
            except (OSError, asyncio.IncompleteReadError):
                load.unanswered += 1
                break
            load.seconds.append(time.perf_counter() - start)
            load.statuses[int(head[9:12])] += 1
        writer.close()


async def press(address: str, process: "subprocess.Popen[str]", clients: int, seconds: int) -> None:
    """Put the server under load, and print what the clients have met."""
    parts = urlsplit(address)
    load = Load()
    tasks = [
        asyncio.create_task(client(str(parts.hostname), int(parts.port or 0), load))
        for _ in range(clients)
    ]
    memory, of_server = [], psutil.Process(process.pid)
    for _ in range(seconds):
        await asyncio.sleep(1)
        memory.append(of_server.memory_info().rss)
    times = sorted(load.seconds)
    answered, unanswered = len(times), load.unanswered
    load.stopped = True
    process.send_signal(signal.SIGTERM)
    await asyncio.gather(*tasks)
    code = await asyncio.to_thread(process.wait)
    tenth = max(1, seconds // 10)
    others = {status: number for status, number in load.statuses.items() if status != 200}
    rows = {
        f"requests by {clients} clients in {seconds} s": f"{answered:,}",
        "answers that are not 200": str(others or "none"),
        "requests without an answer": str(unanswered),
        "requests a second": f"{answered / seconds:.0f}",
        "p50 / p99": f"{times[answered // 2]:.2f} / {times[answered * 99 // 100]:.2f} s",
        "resident memory after a tenth of the time / at the end / at most": " / ".join(
            f"{size / MIB:.0f} MiB" for size in (memory[tenth - 1], memory[-1], max(memory))
        ),
        "waiting at SIGTERM: answered / not": f"{len(load.seconds) - answered} / "
        f"{load.unanswered - unanswered}",
        "exit code": str(code),
    }
    print("\n".join(f"| {what} | {value} |" for what, value in rows.items()))


def overhead(model: str, rounds: int) -> None:
    """Print what the server adds to the library's time.

    Both tag each README one after the other, in turns first, so that a machine whose speed varies
    slows both.
    """
    tagger = Tagger.load(model, SAMPLE)
    tagger.method.prepare()
    with served(model) as (_, address), httpx2.Client(base_url=address, timeout=600) as http:

        def here(path: Path) -> tuple[float, str]:
            start = time.perf_counter()
            (tagging,) = tagger.tag([Readme(path.name, path.read_text("utf-8"), path.name)])
            return time.perf_counter() - start, tagging.to_json(scores=True)

        def there(path: Path) -> tuple[float, str]:
            body = {"id": path.name, "readme": path.read_text("utf-8"), "file": path.name}
            start = time.perf_counter()
            reply = http.post("/v1/tag", json=body).text
            return time.perf_counter() - start, reply

        pairs = []
        for number in range(rounds + 1):
            for place, path in enumerate(EXAMPLES):
                ways = (here, there) if (number + place) % 2 else (there, here)
                timed = {way: way(path) for way in ways}
                if timed[here][1] != timed[there][1]:
                    sys.exit(f"{path.name}: the server's reply is another")
                if number:  # the first round warms up
                    pairs.append((timed[here][0], timed[there][0]))
    library, server = np.array(pairs).T
    added = server - library
    mean, error = added.mean(), added.std(ddof=1) / len(added) ** 0.5
    print(f"{len(pairs)} READMEs: library {library.mean():.3f} s, server {server.mean():.3f} s")
    share = f"{mean / library.mean():.1%}, standard error {error / library.mean():.1%}"
    print(f"added: {1000 * mean:.0f} ms, standard error {1000 * error:.0f} ms ({share})")


def ask_options(model: str, numbers: list[int]) -> None:
    """Print how long a question takes whose options are new, and the same question again."""
    print("| options | new | again |\n|---|---|---|")
    with (
        served(model, "--timeout", "3600") as (_, address),
        httpx2.Client(base_url=address, timeout=3600) as http,
    ):
        for number in numbers:
            seconds = []
            options = dict.fromkeys(f"department {each} of {number}" for each in range(number))
            question = {"type": "choice", "instructions": "Who answers this?", "criteria": options}
            body = {"model": "jev-latest", "state": TEXT, "questions": {"team": question}}
            for _ in range(2):
                start = time.perf_counter()
                http.post("/v1/systemone", json=body).raise_for_status()
                seconds.append(time.perf_counter() - start)
            print(f"| {number:,} | {seconds[0]:.1f} s | {seconds[1]:.1f} s |")


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    kinds = made.add_subparsers(dest="kind", required=True)
    defaults = argparse.ArgumentDefaultsHelpFormatter
    load = kinds.add_parser("load", formatter_class=defaults)
    load.add_argument("--clients", type=count, default=200, help="requests at a time")
    load.add_argument("--seconds", type=count, default=60, help="until SIGTERM")
    load.add_argument("--model", default=TINY, help="a model's name or folder")
    added = kinds.add_parser("overhead", formatter_class=defaults)
    added.add_argument("--model", default="qwen2.5-coder-0.5b", help="a model's name or folder")
    added.add_argument("--rounds", type=count, default=3, help="over all example READMEs")
    asked = kinds.add_parser("options", formatter_class=defaults)
    asked.add_argument("numbers", type=count, nargs="+", help="of options of a question")
    asked.add_argument("--model", default="qwen2.5-coder-0.5b", help="a model's name or folder")
    options = made.parse_args()
    with model_folder(options.model) as model:
        if options.kind == "overhead":
            overhead(model, options.rounds)
            return
        if options.kind == "options":
            ask_options(model, options.numbers)
            return
        threads = ("--threads", "1") if options.model == TINY else ()
        with served(model, *threads) as (process, address):
            asyncio.run(press(address, process, options.clients, options.seconds))


if __name__ == "__main__":
    reported(main)
