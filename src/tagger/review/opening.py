"""What a review is opened with: checked first, and written only if nothing is wrong with it."""

import logging
from contextlib import ExitStack
from pathlib import Path

from tagger._util.closing import Closing
from tagger._util.files import is_filled
from tagger._util.paths import real
from tagger._util.text import printable
from tagger.batch.decisions import Decisions, review_of
from tagger.batch.ledger import REVIEWED_BEFORE, Ledger
from tagger.errors import InputError
from tagger.readme.readme import STDIN
from tagger.readme.sources import Sources
from tagger.review.index import index, place_of
from tagger.review.order import Work
from tagger.review.texts import noted, take_texts
from tagger.selection import Selection
from tagger.types import Progress
from tagger.vocabulary import Vocabulary

log = logging.getLogger(__name__)


class Opened(Closing):
    """An output with its review; a context manager. See `Review`, which raises the same.

    A store that is made here is removed again if the review cannot be opened.

    Args:
        output: what a batch has written.
        vocabulary: its tags.
        sources: where its READMEs are; None takes those of the batch.
        seed: of the random slice.
        progress: hears how many READMEs are read.
        new: whether a review may be begun.

    Attributes:
        place: the files of the output.
        store: what was decided.
        work: the orders of work.
        ledger: what the batch remembers; None if that is not there.
        selection: how many tags the batch has given.
        used: files that are read here, or belong to the output.

    """

    def __init__(
        self,
        output: Path,
        vocabulary: Vocabulary,
        sources: Sources | None,
        seed: int,
        progress: Progress,
        *,
        new: bool,
    ) -> None:
        self.place = place_of(output)
        path = review_of(self.place.lines)
        begun = is_filled(path)
        if not (new or begun):
            raise InputError(
                f"{printable(str(path))}: holds no decisions: review the output first"
                if path.exists()
                else f"{printable(str(path))}: no such file: review the output first"
            )
        self.store = Decisions(path, vocabulary)
        try:
            with ExitStack() as stack:
                self.ledger = (
                    stack.enter_context(Ledger(self.place.state))
                    if self.place.state.is_file()
                    else None
                )
                if not begun and self.ledger and self.ledger.noted(REVIEWED_BEFORE):
                    log.warning(
                        "%s is missing, where decisions about the output were kept, and a new "
                        "review begins: put it back before the batch is run again",
                        printable(str(path)),
                    )
                self.selection = _selection(self.ledger)
                found = sources or noted(self.ledger, self.place.lines)
                with self.store.writing() as database:
                    index(database, self.store, self.place.lines, vocabulary, seed)
                    if found:
                        take_texts(database, found, self.place, self.ledger, progress)
                    elif not database.execute("SELECT 1 FROM text LIMIT 1").fetchone():
                        log.warning(
                            "no texts of the READMEs are known: they can be reviewed only by their "
                            "tags, and what is decided cannot be exported or learned from until "
                            "you say where they are"
                        )
                    self.store.note(database)
                self.work = Work(self.store)
                self._stack = stack.pop_all()
        except BaseException:
            self.store.discard()
            raise
        read = [found.located(each) for each in found.paths if each != STDIN] if found else []
        self.used = self.place.files | {real(each) for each in (path, *read)}

    def close(self) -> None:
        """Close what is open."""
        with self.store:
            self._stack.close()


def _selection(ledger: Ledger | None) -> Selection:
    """Return how many tags a batch has given; the default where it does not say.

    Raises:
        UsageError: the ledger is damaged.

    """
    if ledger is None or (said := ledger.noted("selection")) is None:
        return Selection()
    try:
        return Selection.from_json(said)
    except ValueError as error:
        raise ledger.damaged() from error
