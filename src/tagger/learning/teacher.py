"""Labels from a teacher: a large model's replies to a sample of READMEs, as label rows.

A small model that has learned from a few hundred of them tags the rest (Hinton et al. 2015,
"Distilling the Knowledge in a Neural Network"). The rows are written as they come, so that nothing
that was paid for is lost, and a person may correct them.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from tagger._util.files import check_own_file, reporting
from tagger._util.text import printable
from tagger.batch.streak import MAX_FAILURES, Streak
from tagger.errors import EndpointError, TaggerError
from tagger.evaluation.label import Label, text_digest
from tagger.evaluation.labels import load_labels
from tagger.methods.base import Method
from tagger.readme.readme import Readme
from tagger.types import Progress, no_progress

SOURCE = "teacher"

README_TOKENS = 1024
"""What a teacher reads of a README: more than who learns from it, who reads all the others."""

MOST_ALIKE = 20
"""Replies in a row with the same tags: a teacher that gives them does not look at the READMEs."""


class Teacher:
    """Labels READMEs, and keeps the labels in a file.

    Args:
        method: what the teacher is asked with; its replies are checked by it.
        path: the file of label rows. Rows that are there are not asked for again, and may have
            been corrected.
        max_failures: how many failures in a row that look alike end the work; None sets no limit.

    Raises:
        LabelsError: the file holds something else.
        UsageError: the file is a link.

    """

    def __init__(
        self, method: Method[Any], path: Path, max_failures: int | None = MAX_FAILURES
    ) -> None:
        self._method, self._path = method, path
        self._streak = Streak(max_failures)
        self._alike: tuple[tuple[str, ...], int] = (), 0
        self.preparing = False
        """Whether the teacher is being asked if it is there."""
        self.stopped = False
        """Whether `stop` was called."""
        check_own_file(path)
        kept = path.exists() and path.stat().st_size
        self._kept = load_labels(path, method.vocabulary) if kept else []

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
        known = {label.text_digest for label in self._kept}
        wanted = [readme for readme in readmes if text_digest(readme.text) not in known]
        done = len(readmes) - len(wanted)
        labels, failures = list(self._kept), list[TaggerError]()
        if wanted:
            self.preparing = True
            self._method.prepare()
            self.preparing = False
        for readme, reply in self._replies(wanted):
            if isinstance(reply, TaggerError):
                failures.append(reply)
                self._streak.fail(reply)
            else:
                labels.append(self._keep(readme, reply))
            done += 1
            progress("asking the teacher", done, len(readmes))
        return labels, failures

    def stop(self) -> None:
        """Let `label` end with the READMEs that the teacher has been asked about."""
        self.stopped = True
        self._method.stop()

    def _replies(
        self, readmes: Sequence[Readme]
    ) -> Iterator[tuple[Readme, tuple[str, ...] | TaggerError]]:
        """Yield the tags of each README, or why there are none."""
        waiting = iter(readmes)
        while not self.stopped and (asked := list(islice(waiting, self._method.capacity.readmes))):
            readings = self._method.read([self._method.encode(readme) for readme in asked])
            # After `stop` the last ones are missing.
            for readme, reading in zip(asked, readings, strict=False):
                if isinstance(reading, TaggerError):
                    yield readme, reading
                else:
                    (ranking,) = self._method.rank([reading])
                    yield readme, tuple(tag.name.strip() for tag in ranking.tags)

    def _keep(self, readme: Readme, tags: tuple[str, ...]) -> Label:
        """Write a label down. Raises `EndpointError` if it is one too many of the same."""
        label = Label(id=readme.id, readme=readme.text, tags=tags, source=SOURCE)
        name = printable(str(self._path))
        with reporting(name), self._path.open("a", encoding="utf-8") as file:
            file.write(label.to_json() + "\n")
        self._streak.succeed()
        before, count = self._alike
        same = tuple(sorted(tags))
        self._alike = same, count + 1 if same == before else 1
        if self._alike[1] == MOST_ALIKE:
            raise EndpointError(
                f"{self._method.name} has given the last {MOST_ALIKE} READMEs the same tags: "
                f"{', '.join(map(printable, tags)) or 'none'}; ask another model. Its labels are "
                f"in {name}"
            )
        return label
