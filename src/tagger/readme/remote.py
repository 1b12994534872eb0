"""Dumps in object storage, by their addresses."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from tagger._util.extras import arrow
from tagger._util.text import printable
from tagger.errors import InputError

_RETRY_SECONDS = 20
"""How long Google's client goes on trying; by default it does for a quarter of an hour."""

ENDINGS = (".jsonl", ".ndjson", ".parquet")
"""Of the names of dumps."""

_ADDRESS = re.compile(r"(s3|gs|file)://.")


def is_address(path: str) -> bool:
    """Say whether a source is named by an address: `s3://`, `gs://`, or `file://`."""
    return _ADDRESS.match(path) is not None


def dumps(address: str) -> list[str]:
    """Return the addresses of the dumps in a folder, sorted, or of a single one.

    Raises:
        InputError: there is none, or it cannot be reached, or credentials are missing.

    """
    from pyarrow.fs import FileSelector, FileType

    with _reaching(address):
        system, path = _system(address)
        found = system.get_file_info(path)
        if found.type == FileType.File:
            paths = [path]
        else:
            inside = system.get_file_info(FileSelector(path, recursive=True))
            paths = sorted(each.path for each in inside if each.type == FileType.File)
        prefix = address[: address.rindex(path.rstrip("/"))]
    dumps = [f"{prefix}{each}" for each in paths if each.lower().endswith(ENDINGS)]
    if not dumps:
        raise InputError(f"{printable(address)}: no {', '.join(ENDINGS)} file is there")
    return dumps


def opened(address: str) -> Any:
    """Return an open Arrow file. Raises `InputError`."""
    with _reaching(address):
        system, path = _system(address)
        return system.open_input_file(path)


def stream(address: str) -> BinaryIO:
    """Return a file that can be read by lines. Raises `InputError`."""
    return io.BufferedReader(opened(address), 1024 * 1024)


def _system(address: str) -> tuple[Any, str]:
    from pyarrow.fs import FileSystem

    if address.startswith("gs://"):
        joint = "&" if "?" in address else "?"
        address += f"{joint}retry_limit_seconds={_RETRY_SECONDS}"
    system, path = FileSystem.from_uri(address)
    return system, path


@contextmanager
def _reaching(address: str) -> Iterator[None]:
    """Turn what pyarrow raises into one line."""
    pyarrow = arrow()
    try:
        yield
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        reason = printable(" ".join(str(error).split()))[:300]
        raise InputError(
            f"{printable(address)}: {reason}: check the address, and the credentials in the "
            "environment"
        ) from error
