"""Orders of work, and the random slice.

A queue holds the READMEs of an order that pass a filter, whatever their state, so that one that is
decided keeps its place. Which of them are open is asked at every step.

The slice is the beginning of one random permutation of all READMEs that have suggestions. Of the
READMEs that are shown, the first 50 and then every fifth are drawn from it in order; those that
were decided before their turn belong to it as well. So it is a random sample, whatever else is
decided and in which order.
"""

import json
import sqlite3
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tagger.batch.decisions import OPEN, REVIEWED, SKIPPED, Decisions
from tagger.errors import InputError
from tagger.evaluation.measures import Rows
from tagger.review.items import Filter, Order, State

DRAWN_FIRST = 50
"""READMEs that are drawn at random before any order of work counts."""

DRAWN_EVERY = 5
"""One in so many is drawn at random from then on."""

STATES: dict[State, int] = {"open": OPEN, "reviewed": REVIEWED, "skipped": SKIPPED}

_SORTED: dict[Order, tuple[str, str]] = {
    # Least confidence first (Culotta and McCallum 2005, "Reducing labeling effort for structured
    # prediction tasks"); READMEs without a suggestion come last.
    "uncertain": ("1", "first IS NULL, confidence, place"),
    "confident": ("1", "first IS NULL, confidence DESC, place"),
    "tag": ("1", "first IS NULL, first, confidence DESC, place"),
    "failed": ("error != ''", "place"),
    "suspicious": ("suspicious", "place"),
    "random": ("first IS NOT NULL", "chance"),
}
"""Which READMEs an order has, and how they are sorted."""

PASSES = """
place IS NOT NULL
AND (:tags IS NULL OR number IN (
    SELECT readme FROM decided WHERE tag IN (SELECT value FROM json_each(:tags))
    UNION SELECT s.readme FROM suggestion s JOIN readme r ON r.number = s.readme
    WHERE s.given AND s.origin = r.origin AND s.tag IN (SELECT value FROM json_each(:tags))
))
AND (:text = '' OR instr(lower(id), :text) OR number IN (
    SELECT readme FROM text WHERE instr(beginning, :text)
))
"""
"""READMEs that pass a filter, whatever their state."""

_QUERIES = {
    order: f"SELECT number FROM readme WHERE {which} AND {PASSES} ORDER BY {by}"  # noqa: S608
    for order, (which, by) in _SORTED.items()
}

_DRAW = f"""
SELECT number, chance FROM readme
WHERE place IS NOT NULL AND first IS NOT NULL AND (state = {OPEN} OR bulk)
AND chance > ? AND number IS NOT ? ORDER BY chance LIMIT 1
"""  # noqa: S608
"""The first README that the slice still lacks: nobody has looked at a bulk decision."""

_KEPT = 8
"""Queues that are remembered."""


@dataclass(frozen=True)
class Queue:
    """READMEs in an order.

    Attributes:
        numbers: [READMEs] in order.

    """

    numbers: Rows

    @cached_property
    def _places(self) -> dict[int, int]:
        return {number: place for place, number in enumerate(self.numbers.tolist())}

    def place(self, number: int | None) -> int | None:
        """Return where a README stands, from 0; None if it does not."""
        return None if number is None else self._places.get(number)

    def passing(self, states: NDArray[np.uint8], state: State | None) -> NDArray[np.bool_]:
        """Return which READMEs are in a state, [READMEs].

        Args:
            states: by number.
            state: None for any.

        """
        if state is None:
            return np.ones(len(self.numbers), dtype=bool)
        found: NDArray[np.bool_] = states[self.numbers] == STATES[state]
        return found

    def after(self, place: int | None, passing: NDArray[np.bool_], but: int | None) -> int | None:
        """Return the README that comes next, from the start again where there is none.

        Args:
            place: after this one; None for the first.
            passing: [READMEs] which may be returned.
            but: a README that may not.

        """
        found = np.flatnonzero(passing)
        start = 0 if place is None else int(np.searchsorted(found, place, side="right"))
        for at in (*found[start : start + 2], *found[:2]):
            if (number := int(self.numbers[at])) != but:
                return number
        return None

    def before(self, place: int, passing: NDArray[np.bool_]) -> int | None:
        """Return the README that comes before; None at the start."""
        found = np.flatnonzero(passing[:place])
        return int(self.numbers[found[-1]]) if len(found) else None


class Work:
    """The queues of a store. The lock of whoever uses it is held meanwhile.

    Args:
        store: what is reviewed.

    Attributes:
        reached: how far the slice goes; see `index.chance`.

    """

    def __init__(self, store: Decisions) -> None:
        self._store = store
        with store.reading() as database:
            row = database.execute("SELECT value FROM setting WHERE name = 'reached'").fetchone()
            self.reached = int(row[0]) if row else -1
        self._queues: dict[tuple[Order, str | None, str], Queue] = {}
        self._ordered: dict[tuple[Order, str | None, str], int] = {}

    def forget(self) -> None:
        """Forget queues: what they are made from has changed."""
        self._queues.clear()

    def forget_tags(self) -> None:
        """Forget queues that depend on decided tags."""
        self._queues = {key: queue for key, queue in self._queues.items() if key[1] is None}

    def queue(self, order: Order, chosen: Filter) -> Queue:
        """Return the READMEs of an order and a filter, in any state.

        Raises:
            InputError: the vocabulary does not have the filter's tag.

        """
        key = order, chosen.tag, chosen.text.casefold()
        if key not in self._queues:
            if len(self._queues) >= _KEPT:
                self._queues.pop(next(iter(self._queues)))
            self._queues[key] = Queue(self._numbers(order, chosen))
        return self._queues[key]

    def next(
        self,
        order: Order,
        chosen: Filter,
        after: int | None,
        states: NDArray[np.uint8],
    ) -> int | None:
        """Return the README after another, or the first; None where no other is left."""
        queue = self.queue(order, chosen)
        key = order, chosen.tag, chosen.text.casefold()
        drawn = chosen == Filter() and (order == "random" or self._is_drawn(after, states))
        if drawn and (number := self._draw(after)) is not None:
            return number
        place = queue.place(after)
        if chosen.state == "open" and after is not None and self.in_slice(after):
            place = queue.place(self._ordered.get(key))  # where the order was left for the slice
        elif after is not None and place is not None:
            self._ordered[key] = after
        return queue.after(place, queue.passing(states, chosen.state), after)

    def in_slice(self, number: int) -> bool:
        """Return whether a README is of the random slice, as far as that goes now."""
        with self._store.reading() as database:
            return _chance(database, number) <= self.reached

    def asked(self, chosen: Filter) -> dict[str, str | None]:
        """Return the parameters of `PASSES`. Raises `InputError`: there is no such tag."""
        if chosen.tag is None:
            tags = None
        elif chosen.tag in self._store.numbers:
            tags = json.dumps(self._store.meaning(chosen.tag))
        else:
            raise InputError(f"there is no tag with the id {chosen.tag!r}")
        return {"tags": tags, "text": chosen.text.casefold()}

    def _numbers(self, order: Order, chosen: Filter) -> Rows:
        with self._store.reading() as database:
            rows = database.execute(_QUERIES[order], self.asked(chosen)).fetchall()
        return np.array([number for (number,) in rows], dtype=np.int64)

    def _is_drawn(self, after: int | None, states: NDArray[np.uint8]) -> bool:
        """Say whether the README that is shown next is a random one."""
        with self._store.reading() as database:
            (answered,) = database.execute(
                "SELECT count(*) FROM readme WHERE state AND NOT bulk"
            ).fetchone()
        pending = after is not None and states[after] == OPEN  # which will be answered by then
        coming = int(answered) + pending + 1
        return coming <= DRAWN_FIRST or coming % DRAWN_EVERY == 0

    def _draw(self, after: int | None) -> int | None:
        """Return the first README that the slice lacks, other than the one that is shown."""
        with self._store.reading() as database:
            shown = -1
            if after is not None and self.in_slice(after):
                shown = _chance(database, after)
            for least in (shown, -1):
                row = database.execute(_DRAW, (least, after)).fetchone()
                if row:
                    self.reached = max(self.reached, int(row[1]))
                    return int(row[0])
        return None


def _chance(database: sqlite3.Connection, number: int) -> int:
    (found,) = database.execute("SELECT chance FROM readme WHERE number = ?", (number,)).fetchone()
    return int(found)
