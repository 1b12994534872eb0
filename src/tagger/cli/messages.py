"""Standard error that never fails."""

import contextlib
import io


class Messages(io.TextIOWrapper):
    """Standard error that drops what cannot be written, on a full disk or without a reader.

    Results do not depend on it, so neither does the exit code.
    """

    def __init__(self, stderr: io.TextIOWrapper) -> None:
        super().__init__(
            stderr.buffer, encoding=stderr.encoding, errors=stderr.errors, line_buffering=True
        )

    def write(self, text: str) -> int:
        """Write a text, or drop it."""
        with contextlib.suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what was written, or drop it."""
        with contextlib.suppress(OSError):
            super().flush()
