"""What READMEs are put in order and counted by, all of them at once.

One definition of what is open holds for orders of work, counts and rates: a README all of whose
decided tags have left the vocabulary is open again, and tags that have left it are suggested to
nobody.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagger.batch.decisions import OPEN, REVIEWED, SKIPPED, Decisions
from tagger.evaluation.measures import Bools
from tagger.review.index import summary
from tagger.review.items import State

Columns = NDArray[Any]
"""A structured array, [READMEs], in the order of their numbers: see `load`."""

STATES: dict[State, int] = {"open": OPEN, "reviewed": REVIEWED, "skipped": SKIPPED}

_COLUMNS = np.dtype(
    [
        ("number", np.int64),
        ("place", np.int64),
        ("first", np.int64),
        ("confidence", np.float64),
        ("least", np.float64),
        ("chance", np.int64),
        ("failed", np.bool_),
        ("suspicious", np.bool_),
        ("state", np.uint8),
        ("bulk", np.bool_),
        ("judged", np.bool_),
    ]
)

_LOAD = """
SELECT number, coalesce(place, 0), coalesce(first, 0), coalesce(confidence, -1),
coalesce(least, -1), chance, error != '', suspicious, state, bulk,
CASE WHEN origin THEN EXISTS
(SELECT 1 FROM suggestion WHERE readme = number AND origin = 0 AND given) ELSE first END
FROM readme ORDER BY number
"""

_LOST = """
SELECT readme, s.origin = r.origin, s.origin = 0, tag, s.confidence
FROM suggestion s JOIN readme r ON r.number = s.readme
WHERE given AND readme IN (
    SELECT readme FROM suggestion WHERE given AND tag IN (SELECT value FROM json_each(?))
) ORDER BY readme, s.place
"""
"""The tags of replies some of whose tags are not in the vocabulary any more."""


@dataclass(frozen=True)
class Counts:
    """How many READMEs of an output there are.

    Attributes:
        states: in each state.
        bulk: of the reviewed ones, those that were decided together with others.
        failed: that could not be tagged.
        suspicious: that address whoever tags them.
        skipped: of the random slice, that were skipped.
        passed_over: of the random slice, that have no answer: passed over, taken back, or decided
            in bulk alone.

    """

    states: Mapping[State, int]
    bulk: int
    failed: int
    suspicious: int
    skipped: int
    passed_over: int


def load(store: Decisions) -> Columns:
    """Return what is known of all READMEs.

    Fields: `number`, from 1; `place` in the output, 0 if it is not there; `first`, the number of
    the first tag that is suggested, or 0; its `confidence` and the `least` of the given tags, -1
    where there is none; `chance`, see `index.chance`; whether it `failed` or is `suspicious`; its
    `state`; whether that is a `bulk` decision; whether the output has a tag for it that could be
    `judged`.

    Raises:
        UsageError: the store is damaged.

    """
    lost = json.dumps([number for number, tag in store.tags.items() if tag is None])
    with store.reading() as database:
        rows: Columns = np.fromiter(database.execute(_LOAD), _COLUMNS)
        if not np.array_equal(rows["number"], np.arange(1, len(rows) + 1)):
            raise ValueError("READMEs are missing")
        if len(rows) and rows["state"].max() > max(STATES.values()):
            raise ValueError("not a state")
        for (number,) in database.execute(
            "SELECT DISTINCT readme FROM decided WHERE tag IN (SELECT value FROM json_each(?))",
            (lost,),
        ).fetchall():
            tags = database.execute("SELECT tag FROM decided WHERE readme = ?", (number,))
            if store.known(tag for (tag,) in tags) is None:
                rows["state"][number - 1] = OPEN
        _leave_out(rows, store, database.execute(_LOST, (lost,)))
    return rows


def count_states(rows: Columns) -> dict[State, int]:
    """Return how many READMEs of the output are in each state."""
    counts = np.bincount(rows["state"][rows["place"] > 0], minlength=len(STATES))
    return {state: int(counts[number]) for state, number in STATES.items()}


def count(rows: Columns, of_slice: Bools) -> Counts:
    """Return how many READMEs of the output there are of each kind.

    Args:
        rows: see `load`.
        of_slice: which of them are of the random slice.

    """
    there, drawn = rows[rows["place"] > 0], rows[of_slice]
    return Counts(
        states=count_states(rows),
        bulk=int((there["bulk"] & (there["state"] == REVIEWED)).sum()),
        failed=int(there["failed"].sum()),
        suspicious=int(there["suspicious"].sum()),
        skipped=int((drawn["state"] == SKIPPED).sum()),
        passed_over=int(unanswered(drawn).sum()),
    )


def unanswered(rows: Columns) -> Bools:
    """Return which READMEs nobody has looked at and answered, [READMEs]."""
    found: Bools = (rows["state"] == OPEN) | rows["bulk"]
    return found


def _leave_out(
    rows: Columns, store: Decisions, given: Iterable[tuple[int, bool, bool, int, float | None]]
) -> None:
    """Let READMEs some of whose tags are gone be what the others of their tags say."""
    left: dict[int, list[tuple[int, float | None]]] = {}
    judged: dict[int, bool] = {}
    for number, is_shown, is_written, tag, confidence in given:
        tags, known = left.setdefault(number, []), store.tags[tag] is not None
        judged[number] = judged.get(number, False) or (known and bool(is_written))
        if known and is_shown:
            tags.append((tag, confidence))
    for number, tags in left.items():
        first, confidence, least = summary(tags)
        at = number - 1
        rows["first"][at], rows["judged"][at] = first or 0, judged[number]
        rows["confidence"][at] = -1 if confidence is None else confidence
        rows["least"][at] = -1 if least is None else least
