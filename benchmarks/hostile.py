"""How long the slowest READMEs take to clean, and how that grows with their size.

    python benchmarks/hostile.py

For each way to be slow in tests/support/hostile_inputs.py it makes READMEs of 1, 2, 4 … 128 KiB
and cleans them in this process, without the limits of the worker. It prints the CPU seconds, and by
how much each of the last three doublings has multiplied them on average: 2 is linear and 4
quadratic; less than 2 shows where no more lines, brackets or characters are read. It fails where a
README takes more than --most seconds, or where the time grows faster than n·log n.
"""

import contextlib
import math
import sys
import time
from collections.abc import Callable
from functools import partial

from common import ROOT, parser, reported
from tagger.errors import ReadmeError
from tagger.readme.cleaning import clean
from tagger.readme.decode import decode
from tagger.readme.readme import MAX_BYTES

sys.path.insert(0, str(ROOT / "tests"))
from support.hostile_inputs import BYTES, KINDS

SIZES = [1024 << power for power in range(8)]

STEADY = 0.1
"""Seconds from which a growth can be told from chance."""

LONG = 0.5
"""Seconds from which a measurement is made twice, since a process's neighbours slow it."""

N_LOG_N = 2 * math.log2(MAX_BYTES) / math.log2(MAX_BYTES / 2)


def clean_kind(name: str, size: int) -> None:
    """Clean a README of a kind."""
    clean(KINDS[name].text(size), KINDS[name].suffix)


def decode_kind(name: str, size: int) -> None:
    """Find out the encoding of bytes of a kind, if they have one."""
    with contextlib.suppress(ReadmeError):
        decode((BYTES[name] * size)[:size], name, whole=False)


def cpu(work: Callable[[], object]) -> float:
    """Return the CPU seconds that something takes."""

    def once() -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    first = once()
    return min(first, once()) if first > LONG else first


def growth(seconds: list[float]) -> float | None:
    """Return by how much a doubling has multiplied the time, or None if that cannot be told."""
    steady = [second for second in seconds[-4:] if second >= STEADY]
    if len(steady) < 2:
        return None
    return math.exp(math.log(steady[-1] / steady[0]) / (len(steady) - 1))


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--most", type=float, default=2.0, help="CPU seconds that one may take")
    options.add_argument("--tolerance", type=float, default=1.3, help="how far above n·log n")
    chosen = options.parse_args()

    clean("what is imported late", ".rst")
    decode_kind(next(iter(BYTES)), 1024)
    worst, failed = 0.0, []
    print("| input | " + " | ".join(f"{size >> 10} KiB" for size in SIZES) + " | a doubling |")
    print("|---|" + "---|" * (len(SIZES) + 1))
    for name in (*KINDS, *BYTES):
        work = clean_kind if name in KINDS else decode_kind
        seconds: list[float] = []
        for size in SIZES:
            seconds.append(cpu(partial(work, name, size)))
            if seconds[-1] > 10 * chosen.most:
                break
        cells = [f"{second:.2f}" for second in seconds] + ["—"] * (len(SIZES) - len(seconds))
        times = growth(seconds)
        print(f"| {name} | {' | '.join(cells)} | {'' if times is None else f'×{times:.1f}'} |")
        worst = max(worst, *seconds)
        if max(seconds) > chosen.most or (times or 0) > N_LOG_N * chosen.tolerance:
            failed.append(name)
    print(f"\nthe slowest takes {worst:.2f} s; n·log n is ×{N_LOG_N:.1f} a doubling")
    if failed:
        sys.exit(f"too slow: {', '.join(failed)}")


if __name__ == "__main__":
    reported(main)
