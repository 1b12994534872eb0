"""The optional package pyarrow."""

from typing import Any

from tagger.errors import UsageError


def arrow() -> Any:
    """Return the module pyarrow.

    Raises:
        UsageError: it is not installed.

    """
    try:
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise UsageError("Parquet needs pyarrow: pip install pyarrow") from error
    return pyarrow
