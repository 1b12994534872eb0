"""The command line: a thin caller of the library, and the one place that prints.

Nothing of weight is imported here, so that `main` stands before an interrupt can come.
"""

import io
import os
import sys

from tagger.cli import signals
from tagger.cli.messages import Messages
from tagger.cli.signals import INTERRUPTED, TERMINATED

__all__ = ["INTERNAL_ERROR", "INTERRUPTED", "OUTPUT_ERROR", "READER_GONE", "TERMINATED", "main"]

INTERNAL_ERROR = 70
OUTPUT_ERROR = 74
READER_GONE = 141
"""Exit codes as the conventions have them: EX_SOFTWARE, EX_IOERR, and 128 + SIGPIPE. `signals.py`
has those of signals, `errors.py` the rest."""


def main() -> None:
    """Run `tagger` and turn whatever happens into an exit code and at most one line."""
    if sys.stderr is None:  # closed by whoever started this: nobody listens
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115
    elif type(sys.stderr) is io.TextIOWrapper:
        sys.stderr = Messages(sys.stderr)
    if sys.stdout is None:
        print("tagger: standard output is closed, so nothing can be answered", file=sys.stderr)
        sys.exit(OUTPUT_ERROR)
    # PyTorch reads this when it first allocates. Huge pages spare a page fault for every 4 KiB of
    # each layer's output, a fifth of the time of a forward pass on a CPU.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    signals.on_first(signals.leave)
    try:
        code = _run()
    except KeyboardInterrupt:
        print("tagger: interrupted", file=sys.stderr)
        code = INTERRUPTED
    except BrokenPipeError:
        # The reader has what it wanted (`| head -1`).
        _discard_output()
        code = READER_GONE
    sys.exit(code)


def _discard_output() -> None:
    """Send what cannot be written nowhere: Python would complain once more at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run() -> int:
    import logging

    from typer import Abort, TyperException

    from tagger._util.text import printable
    from tagger.cli.app import ReaderGone, app
    from tagger.cli.config import origin, wording
    from tagger.errors import OutputError, TaggerError

    failure: Exception
    try:
        code: int = app(standalone_mode=False) or 0
        sys.stdout.flush()
    except Abort:
        raise KeyboardInterrupt from None
    except ReaderGone:
        raise BrokenPipeError from None
    except BrokenPipeError:
        raise
    except TyperException as error:
        message = f"{wording(error)}{origin(error)}"
        message += " See --help." if message.endswith("?") else ". See --help."
        failure, code = error, error.exit_code
    except TaggerError as error:
        failure, message, code = error, str(error), error.exit_code
    except Exception as error:
        if isinstance(error, OSError) and error.filename is None:  # Typer's own printing
            failure = OutputError(f"cannot write the output: {error.strerror}")
            message, code = str(failure), failure.exit_code
        else:
            message = f"internal error: {type(error).__name__}: {error} (--debug shows where)"
            failure, code = error, INTERNAL_ERROR
    else:
        if code == INTERRUPTED:  # Typer's own answer to Ctrl-C, without a word
            raise KeyboardInterrupt
        return code
    signals.leave_if_signalled()
    if code == OutputError.exit_code:
        _discard_output()
    logging.getLogger("tagger").debug("the error in full:", exc_info=failure)
    print(f"tagger: {printable(message)}", file=sys.stderr)
    return code
