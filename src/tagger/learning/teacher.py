"""Labels from a teacher: a large model's replies to a sample of READMEs, as label rows.

A small model that has learned from a few hundred of them tags the rest (Hinton et al. 2015,
"Distilling the Knowledge in a Neural Network"). Replies are written down as they come, so that an
interrupted run goes on, and a person may correct them.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from tagger._util.files import check_own_file, check_target, reporting
from tagger._util.text import printable
from tagger.batch.streak import MAX_FAILURES, Streak
from tagger.errors import EndpointError, ReadmeError, TaggerError
from tagger.evaluation.label import Label, PlacedLabel, own_id, text_digest
from tagger.evaluation.labels import load_labels
from tagger.methods.base import Method
from tagger.readme.readme import Readme
from tagger.types import Progress, no_progress

SOURCE = "teacher"

README_TOKENS = 1024
"""What a teacher reads of a README: more than who learns from it, who reads all the others."""

MOST_ALIKE = 20
"""First replies that are all the same: a teacher that gives them does not look at the READMEs."""

Reply = tuple[str, ...] | TaggerError
"""The tags of a README, or why there are none."""


class Teacher:
    """Labels READMEs, and keeps the labels in a file.

    Args:
        method: what the teacher is asked with; its replies are checked by it.
        path: the file of label rows. READMEs that have a row are not asked for again, and a row may
            have been corrected.

    Attributes:
        preparing: whether the teacher is being asked if it is there.
        stopped: whether `stop` was called.

    Raises:
        LabelsError: the file holds something else.
        UsageError: the file is a link.
        OutputError: the file cannot be written.

    """

    def __init__(self, method: Method[Any], path: Path) -> None:
        self._method, self._path = method, path
        self._streak = Streak(
            MAX_FAILURES,
            f"labels until then are in {printable(str(path))}: learn from these, or run it again "
            "to continue",
        )
        self.preparing = self.stopped = False
        check_own_file(path)
        check_target(path, lambda: True, "file of label rows")
        kept = path.exists() and path.stat().st_size
        self._kept = load_labels(path, method.vocabulary) if kept else []
        given = [label.tags for label in self._kept if label.source == SOURCE]
        self._replies = [tuple(sorted(tags)) for tags in given[:MOST_ALIKE]]

    def label(
        self, readmes: Sequence[Readme], progress: Progress = no_progress
    ) -> tuple[list[Label], list[TaggerError]]:
        """Return all labels of the file, after READMEs that it lacks were labelled.

        Args:
            readmes: what to label.
            progress: hears how many of them are labelled.

        Returns:
            The labels, and why some READMEs have none.

        Raises:
            EndpointError: the teacher cannot be asked, or its replies are of no use. The labels
                until then are in the file.
            OutputError: the file cannot be written.

        """
        places = {text_digest(readme.text): readme.source for readme in readmes}
        known = {label.text_digest for label in self._kept}
        wanted = [readme for readme in readmes if text_digest(readme.text) not in known]
        done = len(readmes) - len(wanted)
        labels, failures = list(self._kept), list[TaggerError]()
        self._check_variety()
        if wanted:
            self.preparing = True
            self._method.prepare()
            self.preparing = False
        for batch in self._batches(wanted):
            labels += self._keep(batch, {label.id for label in labels})
            failures += [reply for _, reply in batch if isinstance(reply, TaggerError)]
            for _, reply in batch:
                self._watch(reply)
            done += len(batch)
            progress("asking the teacher", done, len(readmes))
        # A label's place tells how the README is marked up.
        return [
            PlacedLabel(**dict(label), place=places[label.text_digest])
            if label.text_digest in places
            else label
            for label in labels
        ], failures

    def stop(self) -> None:
        """Let `label` end with the READMEs that the teacher has been asked about."""
        self.stopped = True
        self._method.stop()

    def _batches(self, readmes: Sequence[Readme]) -> Iterator[list[tuple[Readme, Reply]]]:
        """Yield the replies to READMEs that are asked about together."""
        waiting = iter(readmes)
        while not self.stopped and (some := list(islice(waiting, self._method.capacity.readmes))):
            unread: list[tuple[Readme, Reply]] = []
            encoded: list[tuple[Readme, Any]] = []
            for readme in some:
                try:
                    encoded.append((readme, self._method.encode(readme)))
                except ReadmeError as error:
                    unread.append((readme, error))
            readings = self._method.read([each for _, each in encoded])
            # After `stop` the last ones are missing.
            replies = [
                (readme, self._reply(reading))
                for (readme, _), reading in zip(encoded, readings, strict=False)
            ]
            yield [*unread, *replies]

    def _reply(self, reading: bytes | TaggerError) -> Reply:
        if isinstance(reading, TaggerError):
            return reading
        (ranking,) = self._method.rank([reading])
        return tuple(tag.name.strip() for tag in ranking.tags)

    def _keep(self, batch: Iterable[tuple[Readme, Reply]], ids: set[str]) -> list[Label]:
        """Write labels down, each with an id of its own."""
        labels = []
        for readme, reply in batch:
            if not isinstance(reply, TaggerError):
                label = Label(id=readme.id, readme=readme.text, tags=reply, source=SOURCE)
                labels.append(own_id(label, ids))
        with reporting(printable(str(self._path))), self._path.open("ab+") as file:
            size = file.tell()
            try:
                # An editor may have left the last line without an end.
                if size and file.seek(-1, os.SEEK_END) and file.read() != b"\n":
                    file.write(b"\n")
                file.write("".join(f"{label.to_json()}\n" for label in labels).encode())
                file.flush()
            except OSError:
                file.truncate(size)  # half a row could not be read
                raise
        return labels

    def _watch(self, reply: Reply) -> None:
        """Make sure that replies are of use. Raises `EndpointError`."""
        if isinstance(reply, TaggerError):
            self._streak.fail(reply)
            return
        self._streak.succeed()
        if len(self._replies) < MOST_ALIKE:
            self._replies.append(tuple(sorted(reply)))
            self._check_variety()

    def _check_variety(self) -> None:
        """Make sure that the first replies are not all the same. Raises `EndpointError`."""
        if len(self._replies) == MOST_ALIKE and len(set(self._replies)) == 1:
            raise EndpointError(
                f"{self._method.name} has given {MOST_ALIKE} READMEs the very same tags: "
                f"{', '.join(map(printable, self._replies[0])) or 'none'}; remove "
                f"{printable(str(self._path))} and ask another model"
            )
