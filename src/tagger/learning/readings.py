"""What the model has made of labelled READMEs, kept so that learning again takes seconds.

It lies in the cache folder, in a file for each model, prompt and list of tags. One `learn` at a
time uses such a file, and others wait for it. Where nothing can be kept, learning goes on without.
"""

import hashlib
import logging
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from tagger._util.closing import Closing
from tagger._util.paths import cache_home
from tagger._util.text import printable, storable
from tagger.batch.ledger import Ledger
from tagger.batch.state_file import InUseError
from tagger.errors import OutputError, UsageError
from tagger.methods.base import Identity
from tagger.readme.readme import Readme

_REMEDY = "remove it, and the READMEs are read again"

log = logging.getLogger(__name__)


class Readings(Closing):
    """The memory of all that was read with one identity; a context manager.

    Args:
        identity: what readings depend on.

    Raises:
        UsageError: the file is damaged, of another version, or somebody else's.

    """

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._lock: FileLock | None = None
        self._keeps = True
        try:
            self._ledger = self._open()
        except BaseException:
            self._unlock()
            raise

    def get(self, readme: Readme) -> bytes | None:
        """Return what is known of a README. Raises `UsageError` if the file is damaged."""
        try:
            return self._ledger.reading(_key(readme))
        except OutputError as error:
            self._give_up(error)
            return None

    def keep(self, readme: Readme, content: bytes) -> None:
        """Keep what the model has made of a README, if that can be done."""
        if self._keeps:
            try:
                self._ledger.keep(_key(readme), content)
            except OutputError as error:
                self._give_up(error)

    def damaged(self) -> UsageError:
        """Return the error for content that cannot be right."""
        return self._ledger.damaged()

    def close(self) -> None:
        """Let others have the file."""
        try:
            self._ledger.close()
        except OutputError as error:
            self._give_up(error)
        finally:
            self._unlock()

    def _open(self) -> Ledger:
        """Open the file, or one for this time alone if it cannot be written or had."""
        path = cache_home() / "readings" / f"{self._identity.digest[:40]}.state"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._wait(path)
            return self._ledger_of(path)
        except (OSError, NotImplementedError, OutputError, InUseError) as error:
            self._give_up(error)
            return self._ledger_of(None)

    def _ledger_of(self, path: Path | None) -> Ledger:
        ledger = Ledger(path, remedy=_REMEDY, foreign=_REMEDY)
        try:
            ledger.use(self._identity, self._identity)
        except BaseException:
            ledger.close()
            raise
        return ledger

    def _wait(self, path: Path) -> None:
        """Take the file's lock, after waiting for whoever has it."""
        # SQLite's own lock cannot be waited for that long, nor can it tell who has it.
        lock = FileLock(path.with_suffix(".lock"))
        try:
            lock.acquire(blocking=False)
        except Timeout:
            log.info(
                "another tagger learn is reading for this model and list of tags: waiting for it"
            )
            lock.acquire()
        self._lock = lock

    def _unlock(self) -> None:
        if self._lock:
            self._lock.release()

    def _give_up(self, error: Exception) -> None:
        """Say, once, that nothing is kept."""
        if self._keeps:
            log.warning("what is read cannot be kept for the next time: %s", _reason(error))
        self._keeps = False


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{printable(str(error.filename))}: {error.strerror}"
    return str(error)


def identity_of(identity: Identity) -> Identity:
    """Return what readings with all tags depend on, by what a method's rankings do."""
    return replace(identity, method=f"{identity.method}, all tags", calibration="", head="")


def _key(readme: Readme) -> bytes:
    """Return what tells a README from others: its text, and the markup by which it is read."""
    markup = "" if readme.markup == "markdown" else f"{readme.markup}\n"
    return hashlib.sha256(f"{markup}{storable(readme.text)}".encode()).digest()
