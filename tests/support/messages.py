"""What people are told when something goes wrong, word for word, in one file.

`tests/messages.json` has every message that a test meets, by the test and in order, so that wording
is changed in one place: in the sources, and then by `pytest --update-messages`, whose diff shows
every sentence that has changed.
"""

import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from support import ROOT
from support.console import one_line

FILE = ROOT / "tests" / "messages.json"

_VARIES = (
    (re.compile(r"/\S*/pytest-of-\w+/pytest-\d+/(popen-gw\d+/)?[^/\s:'\"]+"), "…"),
    (re.compile(r"(?<=127\.0\.0\.1:)\d+"), "PORT"),
    (re.compile(r"(?<=/readings/)[0-9a-f]{40}"), "DIGEST"),
)
"""What differs from run to run: temporary folders, ports, and digests of this machine."""


class Messages:
    """The messages of a session, and those of the file.

    Attributes:
        update: whether to take what tests are told as what they should be.

    """

    def __init__(self) -> None:
        self.update = False
        self._told: dict[str, list[str]] = {}
        self._expected: dict[str, list[str]] = (
            json.loads(FILE.read_text("utf-8")) if FILE.exists() else {}
        )

    def check(self, text: str) -> None:
        """Compare a message with that of the file for the test that is running."""
        for varies, instead in _VARIES:
            text = varies.sub(instead, text)
        test = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]
        told = self._told.setdefault(test, [])
        told.append(text)
        if not self.update:
            assert told == self._expected.get(test, [])[: len(told)], (
                "another message than in tests/messages.json: if it is better, update the file by "
                "`pytest --update-messages`"
            )

    def save(self) -> None:
        """Write what this session's tests were told, if that was asked for."""
        if self.update:
            with FileLock(Path(tempfile.gettempdir(), "tagger-messages.lock")):  # xdist's processes
                everything = json.loads(FILE.read_text("utf-8")) | self._told
                text = json.dumps(dict(sorted(everything.items())), indent=1, ensure_ascii=False)
                FILE.write_text(f"{text}\n", "utf-8")


MESSAGES = Messages()


def check_line(text: str) -> None:
    """Check what stderr has: one line, with the message of the file."""
    MESSAGES.check(one_line(text).removeprefix("tagger: ").rstrip("\n"))


@contextmanager
def refused(kind: type[Exception]) -> Iterator[pytest.ExceptionInfo[Exception]]:
    """Expect an error of a kind, with the message of the file."""
    with pytest.raises(kind) as caught:
        yield caught
    MESSAGES.check(str(caught.value))
