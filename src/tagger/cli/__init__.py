"""The command line: a thin caller of the library, and the one place that prints.

Nothing of weight is imported here, so that `main` stands before an interrupt can come.
"""

import os
import sys

INTERNAL_ERROR = 70
INTERRUPTED = 130
READER_GONE = 141
"""Exit codes as the shell's conventions have them: EX_SOFTWARE, 128 + SIGINT, 128 + SIGPIPE."""


def main() -> None:
    """Run `tagger` and turn whatever happens into an exit code and at most one line."""
    try:
        code = _run()
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("tagger: interrupted", file=sys.stderr)
        code = INTERRUPTED
    except BrokenPipeError:
        # The reader has what it wanted (`| head -1`). Python would complain once more when it
        # flushes at exit, so what is left goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = READER_GONE
    sys.exit(code)


def _run() -> int:
    import logging

    from typer import Abort, TyperException

    from tagger.cli.app import ReaderGone, app
    from tagger.errors import TaggerError
    from tagger.text import printable

    failure: Exception
    try:
        code: int = app(standalone_mode=False) or 0
    except Abort:
        raise KeyboardInterrupt from None
    except ReaderGone:
        raise BrokenPipeError from None
    except TyperException as error:
        failure, message, code = error, f"{error.format_message()} See --help.", error.exit_code
    except TaggerError as error:
        failure, message, code = error, str(error), error.exit_code
    except Exception as error:
        message = f"internal error: {type(error).__name__}: {error} (--debug shows where)"
        failure, code = error, INTERNAL_ERROR
    else:
        if code == INTERRUPTED:  # Typer's own answer to Ctrl-C, without a word
            raise KeyboardInterrupt
        return code
    logging.getLogger("tagger").debug("the error in full:", exc_info=failure)
    print(f"tagger: {printable(message)}", file=sys.stderr)
    return code
