"""What the benchmarks share: their options, the labelled READMEs, timing, and errors in a line."""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tagger import Readme, Vocabulary
from tagger.errors import TaggerError
from tagger.evaluation.labels import load_labels
from tagger.types import DEFAULT_MODEL

# As `tagger` itself does, here and in processes that a benchmark starts: PyTorch reads this when it
# first allocates, and huge pages save a fifth of the time of a forward pass on a CPU.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

ROOT = Path(__file__).parents[1]
SAMPLE = Vocabulary.load(ROOT / "tags.json")


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    pass


def count(text: str) -> int:
    """Read an option that counts something, one at least."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def folder(text: str) -> Path:
    """Read an option that names a folder."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text}: no such folder")
    return Path(text)


def file(text: str) -> Path:
    """Read an option that names a file."""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"{text}: no such file")
    return Path(text)


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser whose help is the module's own text, with every default."""
    return argparse.ArgumentParser(description=doc, formatter_class=_Formatter)


def labelled(doc: str | None, readmes: int) -> argparse.ArgumentParser:
    """Return a parser for benchmarks that run over labelled READMEs."""
    made = parser(doc)
    made.add_argument("labels", type=file, help="JSON Lines of id, readme and tags")
    made.add_argument("--readmes", type=count, default=readmes, help="how many of them")
    made.add_argument("--model", default=DEFAULT_MODEL, help="a model's name or folder")
    return made


def readmes_of(labels: Path) -> list[Readme]:
    """Return every labelled README that has a word."""
    readmes = [label.to_readme() for label in load_labels(labels, SAMPLE)]
    return [readme for readme in readmes if readme.plain_text]


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def reported(main: Callable[[], None]) -> None:
    """Run a benchmark, and say its errors in a line."""
    try:
        main()
    except TaggerError as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")
