"""`Batch`: a run over many READMEs that loses nothing, and goes on where it was stopped."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from tagger._util.closing import Closing
from tagger._util.text import printable
from tagger.batch import tables
from tagger.batch.decisions import Decisions, review_of
from tagger.batch.ledger import REVIEWED_BEFORE, Ledger
from tagger.batch.output import LinesFile, Place
from tagger.batch.pipeline import OnDuplicate, Pipeline, Row, distinct
from tagger.batch.streak import MAX_FAILURES
from tagger.errors import UsageError
from tagger.readme.sources import Item, Sources
from tagger.tagger import Tagger
from tagger.tagging import TagsAs
from tagger.vocabulary import Vocabulary

log = logging.getLogger(__name__)


class Batch(Closing):
    """Tags many READMEs, a row each; a context manager.

    Entering it checks everything that can be checked without a model. A README that cannot be
    tagged gets a row of its own, and the others go on. Tags that a person has decided, in a review
    of the output, are kept.

    Args:
        sources: where the READMEs are.
        vocabulary: the tags to choose from.
        output: JSON Lines, or a `.parquet` file that is written at the end. What is done is kept
            beside it, in a file that ends in `.state`, and another run of the same batch goes on
            from there. With None, rows are only yielded.
        restart: do all of it again and overwrite the output.
        on_duplicate: what to do with an id that comes twice.
        tags_as: how the output writes tags.
        scores: whether the output has confidences.

    """

    def __init__(
        self,
        sources: Sources,
        vocabulary: Vocabulary,
        *,
        output: Path | None = None,
        restart: bool = False,
        on_duplicate: OnDuplicate = "error",
        tags_as: TagsAs = "objects",
        scores: bool = False,
    ) -> None:
        self._sources = sources
        self._vocabulary = vocabulary
        self._output = output
        self._restart = restart
        self._on_duplicate = on_duplicate
        self._tags_as: TagsAs = tags_as
        self._scores = scores
        self._stack = ExitStack()
        self._pipeline: Pipeline[Any] | None = None
        self.total: int | None = None
        """How many READMEs there are, where that is known in advance."""
        self.stopped = False
        """Whether `stop` was called."""

    def __enter__(self) -> Self:
        """Check sources and output, and open what an earlier run has left.

        Raises:
            InputError: there are no READMEs, or an id comes twice, and that is to stop the batch.
            UsageError: the output cannot be this batch's.
            OutputError: the output cannot be written.

        """
        place = Place.of(self._output) if self._output else None
        if place:
            if place.is_table:
                tables.check_table(self._vocabulary, self._tags_as, scores=self._scores)
            self._sources = replace(self._sources, own=place.files)
            place.check_ours()
        if self._sources.rereadable and next(iter(self._sources), None) is None:
            raise self._sources.nothing_found()
        with ExitStack() as stack:
            state = place.state if place else None
            found = Decisions.beside(place.lines, self._vocabulary) if place else None
            self._decisions = stack.enter_context(found) if found else None
            self._ledger = stack.enter_context(Ledger(state, restart=self._restart))
            tags = [[tag.id, tag.name] for tag in self._vocabulary]
            self._ledger.claim("vocabulary", tags, f"{len(self._vocabulary)} tags")
            if place:
                self._check_review(place)
            if place and self._sources.rereadable:
                self._ledger.note("sources", self._sources.to_json(place.lines.parent))
            self._survey()
            self._lines = (
                stack.enter_context(LinesFile(place.lines, restart=self._restart))
                if place
                else None
            )
            if self._decisions:
                with self._decisions.writing() as database:
                    self._decisions.note(database)
            self._stack = stack.pop_all()
        self._place = place
        return self

    def close(self) -> None:
        """Close the output and what the batch remembers."""
        self._stack.close()

    def run(
        self,
        tagger: Tagger[Any],
        *,
        batch_tokens: int | None = None,
        max_failures: int | None = MAX_FAILURES,
    ) -> Iterator[Row]:
        """Yield a row for every README after it is on disk.

        The model is loaded, or the server asked, when the first README has to be read.

        Args:
            tagger: tags READMEs with the vocabulary of this batch.
            batch_tokens: tokens of a pass on a GPU; by default what fits into its free memory.
            max_failures: how many replies in a row that fail alike end the batch; None sets no
                limit.

        Raises:
            InputError: an id comes twice, or a source breaks off, or there are no READMEs.
            UsageError: the tagger has another vocabulary, the output was begun with another model,
                or its state is damaged.
            ModelError: the model cannot be used, or the server answers no README.
            OutputError: the output cannot be written.

        """
        if tagger.vocabulary != self._vocabulary:
            raise UsageError("the tagger has another vocabulary than the batch")
        method = tagger.method
        self._ledger.claim("model", method.identity.features.weights, method.name)
        self._ledger.note("selection", tagger.selection.to_json())
        if change := self._ledger.use(method.identity, method.reading_identity):
            log.warning("%s", change)
        if batch_tokens and method.capacity.tokens is None:
            log.warning("batch tokens are for GPUs, and none is used here")
        method.prepare(reading=False)
        if self._decisions:
            for change in self._decisions.changes:
                log.warning("%s", change)
        self._pipeline = Pipeline(
            tagger,
            self._ledger,
            on_duplicate=self._on_duplicate,
            batch_tokens=batch_tokens,
            max_failures=max_failures,
            decided=self._decisions.of if self._decisions else lambda _: None,
        )
        if self.stopped:
            self._pipeline.stop()
        return self._rows(self._pipeline)

    def _rows(self, pipeline: Pipeline[Any]) -> Iterator[Row]:
        rows = 0
        for row in pipeline.rows(self._sources):
            if self._lines:
                self._lines.write(row.to_json(self._tags_as, scores=self._scores))
            rows += 1
            yield row
        if not self.stopped:
            self._finish(rows)

    @property
    def preparing(self) -> bool:
        """Whether a model is being loaded, or a server asked whether it is there."""
        return self._pipeline is not None and self._pipeline.preparing

    def stop(self) -> None:
        """Let `run` end after the READMEs that the model is reading now; another run goes on."""
        self.stopped = True
        if self._pipeline:
            self._pipeline.stop()

    def _finish(self, rows: int) -> None:
        if self._lines and (left := self._lines.finish()):
            log.warning("rows left out because their READMEs are gone: %d", left)
        if not rows:
            raise self._sources.nothing_found()
        if self._place and self._place.is_table:
            tables.write(
                self._place.lines,
                self._place.output,
                self._vocabulary,
                self._tags_as,
                scores=self._scores,
            )

    def _check_review(self, place: Place) -> None:
        """Refuse to tag anew what people have decided, where the file of that is gone."""
        if self._decisions:
            self._ledger.note(REVIEWED_BEFORE, "yes")
        elif self._ledger.noted(REVIEWED_BEFORE):
            raise UsageError(
                f"{printable(str(review_of(place.lines)))} is missing, where decisions about the "
                "output were kept: put it back, or review the output again to begin anew"
            )

    def _survey(self) -> None:
        """Count the READMEs and compare their ids before any model is loaded, where possible."""
        if not self._sources.rereadable:
            return
        total, sound = 0, False
        fault: Item | None = None
        for item in distinct(self._sources, self._ledger, self._on_duplicate):
            total += 1
            sound = sound or item.sound
            fault = fault or (None if item.sound else item)
        self._ledger.forget_ids()
        if fault and not sound:
            fault.read()  # raises the reason, which is most likely that of all others
        self.total = total
