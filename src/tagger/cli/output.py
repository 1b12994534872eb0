"""Results on standard output."""

import sys

from tagger._util.files import reporting


def write_line(line: str) -> None:
    """Write a line, so that whoever watches can read it at once.

    Raises:
        OutputError: it cannot be written.
        BrokenPipeError: nobody reads any more.

    """
    with reporting("standard output"):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
