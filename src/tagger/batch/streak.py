"""Failures in a row that look alike: what no further README is likely to get past."""

import re

from tagger.errors import EndpointError, ReplyError, ServerError

MAX_FAILURES = 20
"""Failures in a row that look alike beyond which work stops by default."""

_VARIES = re.compile(r"'[^']*'|\"[^\"]*\"|\d+|; it begins: .*", re.S)
"""What tells one README's failure from another's of the same kind: ids, numbers, replies."""


class Streak:
    """Counts failures of a server, or of the model behind it, as they come in a row.

    Args:
        most: how many that look alike are too many; None sets no limit.
        remedy: what to do then.

    """

    def __init__(self, most: int | None, remedy: str) -> None:
        self._most, self._remedy = most, remedy
        self._kind: tuple[type[Exception], str] | None = None
        self._count = 0

    def succeed(self) -> None:
        """End the streak."""
        self._kind, self._count = None, 0

    def fail(self, error: Exception) -> None:
        """Count a failure; one that is not the server's says nothing about it.

        Raises:
            EndpointError: it is one too many.

        """
        if not isinstance(error, ServerError | ReplyError):
            return
        kind = type(error), _VARIES.sub("", str(error))
        self._count = self._count + 1 if kind == self._kind else 1
        self._kind = kind
        if self._count == self._most:
            raise EndpointError(
                f"the last {self._count} READMEs failed the same way ({error}), so this stops "
                f"here; {self._remedy}"
            )
