"""From items to rows, in order: what fails is a row too, and nothing is read twice."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice, takewhile
from typing import Generic, Literal

from tagger._util.text import printable
from tagger.batch.ahead import ahead
from tagger.batch.ledger import Ledger, text_key
from tagger.batch.streak import Streak
from tagger.errors import (
    EndpointError,
    InputError,
    OutOfMemoryError,
    TaggerError,
)
from tagger.methods.base import Capacity, E
from tagger.readme.sources import Item
from tagger.tagger import Tagger
from tagger.tagging import Failure, GivenTag, Ranking, Tagging, TagsAs
from tagger.vocabulary import Tag

OnDuplicate = Literal["error", "keep-first", "suffix"]
"""What to do with an id that was met before: stop, leave the README out, or number the id."""

_WINDOW = 512
"""READMEs among which a GPU's batches of like length are formed."""

_AHEAD = 64
"""READMEs that are read, cleaned and tokenised before the model asks for them."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """What became of one README.

    Attributes:
        reply: its tags, or why there are none.
        tokens: how many of its tokens the model read for it; 0 if its reading was known already.

    """

    reply: Tagging | Failure
    tokens: int = 0

    def to_json(self, tags_as: TagsAs = "objects", *, scores: bool = False) -> str:
        """Return the row as one line of JSON, as `Tagging.to_json` does."""
        if isinstance(self.reply, Tagging):
            return self.reply.to_json(tags_as, scores=scores)
        return self.reply.to_json()


@dataclass
class _Job(Generic[E]):
    """A README on its way: found, then encoded, then with a reading or an error."""

    id: str
    text: bytes = b""
    encoded: E | None = None
    outcome: bytes | Exception | None = None
    read: int = 0
    ranking: Ranking = field(default_factory=Ranking)
    decided: Tagging | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing is to be read for it: it has an outcome, or a person has decided."""
        return self.decided is not None or self.outcome is not None

    @property
    def length(self) -> int:
        """How many tokens the model has to read of it."""
        return self.encoded.length if self.encoded else 0


def distinct(items: Iterable[Item], ledger: Ledger, policy: OnDuplicate) -> Iterator[Item]:
    """Yield the items so that no id comes twice.

    Raises:
        InputError: an id comes twice, and the policy is `error`.

    """
    for item in items:
        met = ledger.meet(item.id, item.place)
        if met is None:
            yield item
        elif policy == "error":
            raise InputError(
                f"duplicate id {item.id!r}: {met[0]} and {item.place}; rename one, or "
                "use --on-duplicate to skip or number duplicates"
            )
        elif policy == "suffix":
            first, number = met[0], met[1]
            while ledger.meet(f"{item.id}-{number}", f"{item.place}, a double of {first}"):
                number += 1
            yield Item(f"{item.id}-{number}", item.place, item.read, item.sound)


class Pipeline(Generic[E]):
    """Tags READMEs one after another, or on a GPU many at a time.

    Args:
        tagger: what tags them.
        ledger: what remembers them.
        on_duplicate: what to do with an id that was met before.
        batch_tokens: how many tokens go through the model at once, where tokens are the limit; by
            default what the method says.
        max_failures: how many failures of a server that look alike, one after another, end the
            batch; None sets no limit.
        decided: returns the tags that a person has decided for an id; None where nobody has.

    """

    def __init__(
        self,
        tagger: Tagger[E],
        ledger: Ledger,
        *,
        on_duplicate: OnDuplicate = "error",
        batch_tokens: int | None = None,
        max_failures: int | None = None,
        decided: Callable[[str], tuple[Tag, ...] | None] = lambda _: None,
    ) -> None:
        self._tagger = tagger
        self._decided = decided
        self._method = tagger.method
        self._ledger = ledger
        self._on_duplicate = on_duplicate
        self._batch_tokens = batch_tokens
        self._capacity = Capacity()
        self._streak = Streak(
            max_failures,
            "run it again to resume, or allow more consecutive failures to skip these",
        )
        self._stopped = threading.Event()
        self.preparing = False
        """Whether a model is being loaded, or a server asked whether it is there."""

    def stop(self) -> None:
        """Let `rows` end after the READMEs that the model is reading now."""
        self._stopped.set()
        self._method.stop()

    def rows(self, items: Iterable[Item]) -> Iterator[Row]:
        """Yield a row for every README, in order; each is remembered before it is yielded.

        Whatever one README makes fail is that README's row, and the others go on.

        What takes a model or a server is prepared when the first README has to be read.

        Raises:
            InputError: an id comes twice, and that is to stop the batch; or a source breaks off; or
                the ledger is damaged.
            EndpointError: the server answers no README at all, or too many READMEs in a row have
                failed alike.
            ModelError: the model cannot be used.
            OutputError: the ledger cannot be written.

        """
        for jobs in self._done(self._jobs(items)):
            self._rank(jobs)
            for job in jobs:
                yield self._row(job)
                if isinstance(job.outcome, Exception):
                    self._streak.fail(job.outcome)
                elif job.read:  # and not known before
                    self._streak.succeed()

    def _done(self, jobs: Iterator[_Job[E]]) -> Iterator[list[_Job[E]]]:
        """Yield jobs with their outcomes, as many at a time as are ready."""
        ready = ahead(jobs, _AHEAD + _WINDOW, self._stopped)
        for group in ready:
            known = list(takewhile(lambda job: job.settled, group))
            yield known
            if len(known) < len(group):
                rest = chain(group[len(known) :], chain.from_iterable(ready))
                yield from self._read_all(rest)

    def _read_all(self, jobs: Iterator[_Job[E]]) -> Iterator[list[_Job[E]]]:
        """Yield jobs, of which the first has to be read, with their outcomes."""
        self.preparing = True
        self._method.prepare()
        self.preparing = False
        self._capacity = self._method.capacity
        if self._batch_tokens and self._capacity.tokens is not None:
            self._capacity = replace(self._capacity, tokens=self._batch_tokens)
        window = self._capacity.readmes if self._capacity.tokens is None else _WINDOW
        while group := list(islice(jobs, window)):
            self._read_new(group)
            finished = list(takewhile(lambda job: job.settled, group))
            yield finished
            if len(finished) < len(group):  # stopped before their turn
                return

    def _jobs(self, items: Iterable[Item]) -> Iterator[_Job[E]]:
        """Read, clean and tokenise, as far as that is still to do."""
        for item in distinct(items, self._ledger, self._on_duplicate):
            job: _Job[E] = _Job(item.id)
            if (tags := self._decided(item.id)) is not None:
                given = tuple(GivenTag(id=tag.id, name=tag.name) for tag in tags)
                job.decided = Tagging(id=item.id, tags=given, source="human")
                yield job
                continue
            try:
                readme = item.read()
                job.text = text_key(readme)
            except Exception as error:  # whatever is odd about one of a million is its row
                job.outcome = error
                yield job
                continue
            job.outcome = self._ledger.reading(job.text)
            if job.outcome is None:
                try:
                    job.encoded = self._method.encode(readme)
                except Exception as error:
                    job.outcome = error
            yield job

    def _read_new(self, jobs: list[_Job[E]]) -> None:
        """Find the outcome of every job, reading each text once."""
        first: dict[bytes, _Job[E]] = {}
        unread = [job for job in jobs if not job.settled]
        for job in unread:
            # It may have been read after the thread looked.
            job.outcome = self._ledger.reading(job.text)
            if job.outcome is None:
                first.setdefault(job.text, job)
        waiting = sorted(first.values(), key=lambda job: job.length)
        while waiting and not self._stopped.is_set():
            count = self._fitting(waiting)
            self._read(waiting[:count])
            del waiting[:count]
        for job in unread:
            if job.outcome is None:
                job.outcome = first[job.text].outcome

    def _fitting(self, jobs: list[_Job[E]]) -> int:
        """Return how many of the jobs, which are sorted by length, go through at once."""
        if self._capacity.tokens is None:
            return min(len(jobs), self._capacity.readmes)
        for count, job in enumerate(jobs, start=1):
            if count * (job.length + self._capacity.overhead) > self._capacity.tokens:
                return max(1, count - 1)
        return len(jobs)

    def _read(self, jobs: Sequence[_Job[E]]) -> None:
        """Read jobs in one pass; when it fails, in smaller ones, to tell which of them failed."""
        try:
            readings = self._method.read([job.encoded for job in jobs if job.encoded])
        except EndpointError:  # the next ones would not fare better
            raise
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].outcome = error
                return
            if isinstance(error, OutOfMemoryError) and self._capacity.tokens:
                tokens = max(1, self._capacity.tokens // 2)
                self._capacity = replace(self._capacity, tokens=tokens)
        else:
            for job, reading in zip(jobs, readings, strict=not self._stopped.is_set()):
                if not isinstance(reading, TaggerError):
                    self._ledger.keep(job.text, reading)
                job.outcome, job.read = reading, job.length
            return
        # Outside the handler, where the error no longer holds on to the memory of the pass.
        middle = len(jobs) // 2
        self._read(jobs[:middle])
        self._read(jobs[middle:])

    def _rank(self, jobs: Sequence[_Job[E]]) -> None:
        """Rank by the readings of jobs, together; if that fails, alone, to tell which failed."""
        read = [job for job in jobs if isinstance(job.outcome, bytes)]
        readings = [job.outcome for job in read if isinstance(job.outcome, bytes)]
        try:
            rankings = self._method.rank(readings)
        except ValueError as error:
            raise self._ledger.damaged() from error
        except Exception as error:
            if len(read) == 1:
                read[0].outcome = error
                return
        else:
            for job, ranking in zip(read, rankings, strict=True):
                job.ranking = ranking
            return
        for job in read:
            self._rank([job])

    def _row(self, job: _Job[E]) -> Row:
        if job.decided:
            return Row(job.decided)
        outcome = job.outcome
        if not isinstance(outcome, Exception):
            try:
                return Row(self._tagger.reply(job.id, job.ranking), job.read)
            except Exception as error:
                outcome = error
        kind, message = type(outcome).__name__, str(outcome)
        if not isinstance(outcome, TaggerError):
            log.debug("%s: the error in full:", printable(job.id), exc_info=outcome)
            message = f"internal error: {kind}: {message}"
        return Row(Failure(id=job.id, type=kind, message=message))
