"""What tests of the command line share."""

from collections.abc import Callable
from typing import NamedTuple


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Outcome]
TAGS = '[{"id": 77, "name": "3d"}, {"id": 81, "name": "game-engine "}, {"id": 4, "name": "cli"}]'


def one_line(text: str) -> str:
    """The only line of stderr, which names the program and holds no traceback."""
    assert text.startswith("tagger: ")
    assert text.count("\n") == 1, text
    return text
