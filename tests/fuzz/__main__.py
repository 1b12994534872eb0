"""Throw hostile input at tagger: READMEs, lists of tags, dumps, models, answers, command lines.

    PYTHONPATH=tests python -m fuzz                       the long run, as `make fuzz` has it
    PYTHONPATH=tests python -m fuzz --seed 7 --only readme:1234     one case, as a report names it

Each check runs in a child process with a time limit and a memory limit. The exit code is 1 if
anything failed. POSIX only.
"""

import argparse
import os
import sys
import time
from collections import defaultdict

from fuzz.checks import KINDS
from fuzz.runner import LIMIT, Failure, Runner, Summary, random_of

_EVERY = 10.0
"""Seconds between signs of progress."""


def main() -> int:
    options = _parser().parse_args()
    if options.only:
        return _one(options.seed, *options.only)
    counts = dict.fromkeys(KINDS, options.other)
    counts |= {"readme": options.readmes, "ranked": options.ranked}
    failed = False
    rows = []
    for kind, count in counts.items():
        if not count:
            continue
        # Processes of its own, so that its memory can be told from that of others.
        with Runner(options.seed, KINDS, jobs=options.jobs) as runner:
            summary = runner.run(kind, range(count), progress=_Progress(kind, count))
        _print_failures(options.seed, kind, summary)
        failed = failed or bool(summary.failures)
        rows.append(_row(kind, summary))
    print(f"\nseed {options.seed}, limit {LIMIT:.0f} s\n")
    print("| kind | cases | failures | p99 s | slowest s | its number | peak MB | minutes |")
    print("|---|---|---|---|---|---|---|---|")
    print("\n".join(rows))
    return int(failed)


def _one(seed: str, kind: str, number: int) -> int:
    """Check one case, and show it."""
    shown = repr(KINDS[kind].make(random_of(seed, kind, number)))
    print(shown if len(shown) < 4_000 else f"{shown[:2_000]} … {shown[-2_000:]}")
    with Runner(seed, KINDS, quiet=False) as runner:
        summary = runner.run(kind, [number])
    for failure in summary.failures:
        print(f"\n{failure.details}{_shown(failure)}")
    print(f"\n{summary.slowest[0]:.2f} s, {summary.resident:,.0f} MB")
    return int(bool(summary.failures))


class _Progress:
    """Says on stderr every few seconds how far a kind has come."""

    def __init__(self, kind: str, count: int) -> None:
        self._kind, self._count = kind, count
        self._next = time.monotonic() + _EVERY

    def __call__(self, summary: Summary) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _EVERY
        print(
            f"{self._kind}: {len(summary.seconds):,} of {self._count:,}, "
            f"{len(summary.failures)} failures",
            file=sys.stderr,
        )


def _print_failures(seed: str, kind: str, summary: Summary) -> None:
    """Print each sort of failure once, with the first of its numbers."""
    sorts: dict[tuple[str, str], list[Failure]] = defaultdict(list)
    for failure in summary.failures:
        sorts[failure.what, failure.where].append(failure)
    for failures in sorted(sorts.values(), key=len, reverse=True):
        print(f"{kind}: {len(failures)} times {_shown(failures[0])}")
        numbers = " ".join(str(failure.number) for failure in failures[:10])
        print(f"    --seed {seed} --only {kind}:{failures[0].number}   (numbers: {numbers})")


def _shown(failure: Failure) -> str:
    return f"{failure.what} {failure.where} {failure.message}".rstrip()


def _row(kind: str, summary: Summary) -> str:
    slowest, number = summary.slowest
    return (
        f"| {kind} | {len(summary.seconds):,} | {len(summary.failures)} "
        f"| {summary.percentile(0.99):.3f} | {slowest:.2f} | {number} "
        f"| {summary.resident:,.0f} | {summary.wall / 60:.1f} |"
    )


def _case(text: str) -> tuple[str, int]:
    kind, _, number = text.partition(":")
    if kind not in KINDS or not number.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not KIND:NUMBER, KIND of {', '.join(KINDS)}")
    return kind, int(number)


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--readmes", type=int, default=100_000, help="cleaned and tokenised")
    made.add_argument("--ranked", type=int, default=5_000, help="READMEs through a tiny model")
    made.add_argument("--other", type=int, default=2_000, help="cases of every other kind")
    made.add_argument("--seed", default="0")
    made.add_argument("--only", type=_case, metavar="KIND:NUMBER", help="check and show one case")
    made.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once")
    return made


if __name__ == "__main__":
    sys.exit(main())
