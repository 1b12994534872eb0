"""Standard output is for results: what libraries print while they load goes to standard error."""

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def kept_for_results() -> Iterator[None]:
    """Send to standard error what Python, C or Rust code of this process prints meanwhile."""
    with contextlib.ExitStack() as undo:
        # Where a descriptor is closed, nothing can be printed to it.
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            kept = os.dup(1)
            undo.callback(os.close, kept)
            os.dup2(2, 1)
            undo.callback(os.dup2, kept, 1)
        undo.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield
