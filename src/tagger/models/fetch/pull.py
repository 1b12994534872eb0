"""Bring a model here: the published file, its conversion, and into place.

::

    published file ──► converter (a process of its own) ──► NAME/

Everything happens in one staging folder beside the model's place. A pull that ends early, however,
leaves there what it has got, and the next one goes on with it.
"""

import contextlib
import errno
import logging
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from tagger._util.files import reporting
from tagger._util.paths import cache_home
from tagger.errors import FetchError, LoadError, ModelError
from tagger.models.fetch import program, store
from tagger.models.fetch.catalogue import CatalogueEntry, catalogue
from tagger.models.fetch.download import AT_WORK, download
from tagger.models.fetch.program import no_space
from tagger.types import Progress, no_progress

log = logging.getLogger(__name__)


def pull(
    entry: CatalogueEntry, progress: Progress = no_progress, *, thorough: bool = False
) -> Path:
    """Fetch and convert a model unless it is here, complete; return its folder.

    A second pull of the same model waits for the first, and goes on with what that got.

    Args:
        entry: what to fetch.
        progress: hears how many bytes are here, or converted.
        thorough: compare what is here with its digests, and make it again where one differs.

    Raises:
        FetchError: no source has the file, or there is no room for it.
        DigestError: the same, and a source has another file under the name.
        LoadError: the file cannot be converted.

    """
    home = store.models_home()
    is_here = _is_sound if thorough else store.is_complete
    # Asked before anything is written, so that a complete cache may be read-only.
    if not is_here(entry):
        with _explained(entry, home):
            home.mkdir(parents=True, exist_ok=True)
            with _lock(entry):
                if not is_here(entry):
                    if store.folder(entry).exists():
                        log.info("%s is incomplete, and is made again", entry.name)
                    with _staging(entry) as staging:
                        _make(entry, staging, progress)
    return store.folder(entry)


def remove(entry: CatalogueEntry) -> int:
    """Remove a model and what is left of a pull of it; return the bytes that are free again.

    Raises:
        ModelMissingError: nothing of it is here.
        OutputError: it cannot be removed.

    """
    places = [store.folder(entry), _partial(entry)]
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


def _partial(entry: CatalogueEntry) -> Path:
    """Return the folder in which a model is made."""
    return store.folder(entry).with_name(f"{entry.name}.partial")


def _size(folder: Path) -> int:
    """Return the bytes of a folder's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _erased(folder: Path) -> int:
    """Remove a folder; return how large it was."""
    size = _size(folder)
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
    return size


def _is_sound(entry: CatalogueEntry) -> bool:
    try:
        store.verify(entry)
    except ModelError:
        return False
    return True


def _make(entry: CatalogueEntry, staging: Path, progress: Progress) -> None:
    """Download what is not here of a model, convert it, and put it in its place."""
    here = _size(staging)
    if shutil.disk_usage(staging).free < _need(entry) - here:
        raise no_space()
    known = f", {here / 1e9:.2f} GB of which are here already" if here else ""
    place = store.folder(entry)
    size = f"{entry.bytes / 1e9:.2f} GB, once{known}"
    log.info("fetching %s, the model that reads READMEs here: %s, into %s", entry.name, size, place)
    source = download(entry, staging, progress)
    with tempfile.TemporaryDirectory(dir=staging, prefix=AT_WORK) as scratch:
        converted = Path(scratch) / "converted"
        converted.mkdir()
        command = ("tagger.models.fetch.gguf", source, converted)
        show = partial(progress, f"{entry.name}: convert")
        # All there is to read is on disk: no library shall look for it elsewhere.
        status, complaint = program.run(command, {"HF_HUB_OFFLINE": "1"}, staging, show)
        if status:
            reason = program.ending(status, complaint)
            raise LoadError(f"{entry.name} cannot be converted: {reason}")
        store.seal(entry, converted)


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
    """Give the folder beside the model's place in which it is made.

    It is gone once the model is there. Until then it holds what earlier pulls got, but not what
    they were at work on. Whoever calls holds the model's lock: what is found here is nobody's.
    """
    staging = _partial(entry)
    staging.mkdir(exist_ok=True)
    for stale in staging.glob(f"{AT_WORK}*"):
        shutil.rmtree(stale, ignore_errors=True)
    try:
        yield staging
    except BaseException:
        if kept := _size(staging):
            log.info("%s: %.2f GB are kept; the next pull resumes there", entry.name, kept / 1e9)
        else:
            shutil.rmtree(staging, ignore_errors=True)
        raise
    shutil.rmtree(staging, ignore_errors=True)


def _need(entry: CatalogueEntry) -> int:
    """Return the bytes a pull takes at its peak: the file beside its parts or its conversion."""
    return entry.bytes + max(entry.bytes, entry.weights_bytes)


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
        raise FetchError(f"{problem}; set TAGGER_HOME to use another folder") from error
