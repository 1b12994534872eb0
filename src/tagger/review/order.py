"""Orders of work, and the random slice.

A queue holds the READMEs of an order that pass a filter, whatever their state, so that one that is
decided keeps its place. Which of them are open is asked at every step.

The slice is the beginning of one random permutation of all READMEs that have suggestions. Of the
READMEs that are gone through without a filter, the first 50 and then every fifth are drawn from it
in order; those that were decided before their turn belong to it as well. So it is a random sample,
whatever else is decided and in which order.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagger.batch.decisions import OPEN, REVIEWED, SKIPPED, Decisions
from tagger.errors import InputError
from tagger.evaluation.measures import Bools, Rows
from tagger.review.items import Filter, Order, State

DRAWN_FIRST = 50
"""READMEs that are drawn at random before any order of work counts."""

DRAWN_EVERY = 5
"""One in so many is drawn at random from then on."""

STATES: dict[State, int] = {"open": OPEN, "reviewed": REVIEWED, "skipped": SKIPPED}

_OF_FEW: tuple[Order, ...] = ("failed", "suspicious")
"""Orders of those who look for something, and want to see nothing else."""

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
    ]
)

_LOAD = """
SELECT number, coalesce(place, 0), coalesce(first, 0), coalesce(confidence, -1),
coalesce(least, -1), chance, error != '', suspicious, state, bulk
FROM readme ORDER BY number
"""

_WITH_TAG = """
SELECT readme FROM decided WHERE tag IN (SELECT value FROM json_each(:tags))
UNION SELECT s.readme FROM suggestion s JOIN readme r ON r.number = s.readme
WHERE s.given AND s.origin = r.origin AND s.tag IN (SELECT value FROM json_each(:tags))
"""

_WITH_TEXT = """
SELECT number FROM readme WHERE instr(lower(id), :text)
UNION SELECT readme FROM beginning WHERE instr(text, :text)
"""

_KEPT = 8
"""Queues that are remembered."""


@dataclass(frozen=True)
class Queue:
    """READMEs in an order.

    Attributes:
        numbers: [READMEs] in order.

    """

    numbers: Rows

    def place(self, number: int | None) -> int | None:
        """Return where a README stands, from 0; None if it does not."""
        found = np.flatnonzero(self.numbers == number)
        return int(found[0]) if len(found) else None

    def after(self, place: int | None, passing: Bools, but: int | None) -> int | None:
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

    def before(self, place: int, passing: Bools) -> int | None:
        """Return the README that comes before; None at the start."""
        found = np.flatnonzero(passing[:place])
        return int(self.numbers[found[-1]]) if len(found) else None


class Work:
    """What READMEs are put in order by. The lock of whoever uses it is held meanwhile.

    Args:
        store: what is reviewed.

    Attributes:
        reached: how far the slice goes; see `index.chance`.

    """

    def __init__(self, store: Decisions) -> None:
        self._store = store
        self._ordered: dict[tuple[Order, str | None, str], int] = {}
        with store.reading() as database:
            row = database.execute("SELECT value FROM setting WHERE name = 'reached'").fetchone()
            self.reached = int(row[0]) if row else -1
        self.load()

    def load(self) -> None:
        """Take up what has changed."""
        self._queues: dict[tuple[Order, str | None, str], Queue] = {}
        with self._store.reading() as database:
            self._rows: NDArray[Any] = np.fromiter(database.execute(_LOAD), _COLUMNS)
            numbers, states = self._rows["number"], self._rows["state"]
            if not np.array_equal(numbers, np.arange(1, len(numbers) + 1)):
                raise ValueError("READMEs are missing")
            if len(states) and states.max() > max(STATES.values()):
                raise ValueError("not a state")
            lost = [number for number, tag in self._store.tags.items() if tag is None]
            for (number,) in database.execute(
                "SELECT DISTINCT readme FROM decided WHERE tag IN (SELECT value FROM json_each(?))",
                (json.dumps(lost),),
            ).fetchall():
                tags = database.execute("SELECT tag FROM decided WHERE readme = ?", (number,))
                if self._store.known(tag for (tag,) in tags) is None:
                    states[number - 1] = OPEN
        self._drawn = np.argsort(self._rows["chance"], kind="stable")

    def decided(self, number: int, state: int) -> None:
        """Note that a README was decided, not in bulk."""
        self._rows["state"][number - 1] = state
        self._rows["bulk"][number - 1] = False
        self._queues = {key: queue for key, queue in self._queues.items() if key[1] is None}

    def state(self, number: int) -> int:
        """Return the state of a README, which is open too if all of its tags are gone."""
        return int(self._rows["state"][number - 1])

    def is_bulk(self, number: int) -> bool:
        """Return whether a README was decided together with others."""
        return bool(self._rows["bulk"][number - 1])

    def in_slice(self, number: int) -> bool:
        """Return whether a README is of the random slice, as far as that goes now."""
        return bool(self._rows["chance"][number - 1] <= self.reached)

    def count(self) -> list[int]:
        """Return how many READMEs of the output are in each state."""
        states = self._rows["state"][self._rows["place"] > 0]
        found: list[int] = np.bincount(states, minlength=len(STATES)).tolist()
        return found

    def queue(self, order: Order, chosen: Filter) -> Queue:
        """Return the READMEs of an order and a filter, in any state.

        Raises:
            InputError: the vocabulary does not have the filter's tag.

        """
        key = order, chosen.tag, chosen.text.casefold()
        if key not in self._queues:
            if len(self._queues) >= _KEPT:
                self._queues.pop(next(iter(self._queues)))
            numbers = self._sorted(order)
            for query, value in self._asked(chosen):
                with self._store.reading() as database:
                    found = [number for (number,) in database.execute(query, value)]
                numbers = numbers[np.isin(numbers, np.array(found, dtype=np.int64))]
            self._queues[key] = Queue(numbers)
        return self._queues[key]

    def passing(self, queue: Queue, state: State | None) -> Bools:
        """Return which READMEs of a queue are in a state, or in any, [READMEs]."""
        if state is None:
            return np.ones(len(queue.numbers), dtype=bool)
        found: Bools = self._rows["state"][queue.numbers - 1] == STATES[state]
        return found

    def sure(self, above: float, chosen: Filter) -> list[int]:
        """Return open READMEs all of whose given tags have this confidence."""
        numbers = self.queue("confident", chosen).numbers
        rows = self._rows[numbers - 1]
        found: list[int] = numbers[
            (rows["state"] == OPEN) & (rows["least"] >= max(above, 0.0)) & ~rows["failed"]
        ].tolist()
        return found

    def next(self, order: Order, chosen: Filter, after: int | None) -> int | None:
        """Return the README after another, or the first; None where no other is left."""
        queue = self.queue(order, chosen)
        key = order, chosen.tag, chosen.text.casefold()
        drawn = chosen == Filter() and order not in _OF_FEW
        drawn = drawn and (order == "random" or self._is_drawn(after))
        if drawn and (number := self._draw(after)) is not None:
            return number
        place = queue.place(after)
        if chosen.state == "open" and after is not None and self.in_slice(after):
            place = queue.place(self._ordered.get(key))  # where the order was left for the slice
        elif after is not None and place is not None:
            self._ordered[key] = after
        return queue.after(place, self.passing(queue, chosen.state), after)

    def _sorted(self, order: Order) -> Rows:
        """Return the READMEs of an order, sorted."""
        rows = self._rows
        failed = rows["first"] == 0
        chosen, by = {
            # Least confidence first (Culotta and McCallum 2005, "Reducing labeling effort for
            # structured prediction tasks"); READMEs without a suggestion come last.
            "uncertain": (None, (rows["confidence"], failed)),
            "confident": (None, (-rows["confidence"], failed)),
            "tag": (None, (-rows["confidence"], rows["first"], failed)),
            "failed": (rows["failed"], ()),
            "suspicious": (rows["suspicious"], ()),
            "random": (~failed, (rows["chance"],)),
        }[order]
        sorted_: Rows = np.lexsort((rows["place"], *by))
        there = rows["place"] > 0
        return sorted_[(there if chosen is None else there & chosen)[sorted_]] + 1

    def _asked(self, chosen: Filter) -> list[tuple[str, dict[str, str]]]:
        """Return queries for what a filter asks for. Raises `InputError`: no such tag."""
        asked = []
        if chosen.tag is not None:
            if chosen.tag not in self._store.numbers:
                raise InputError(f"there is no tag with the id {chosen.tag!r}")
            asked.append((_WITH_TAG, {"tags": json.dumps(self._store.meaning(chosen.tag))}))
        if chosen.text:
            asked.append((_WITH_TEXT, {"text": chosen.text.casefold()}))
        return asked

    def _is_drawn(self, after: int | None) -> bool:
        """Say whether the README that is shown next is a random one."""
        answered = int(((self._rows["state"] != OPEN) & ~self._rows["bulk"]).sum())
        pending = after is not None and self.state(after) == OPEN  # which will be answered by then
        coming = answered + pending + 1
        return coming <= DRAWN_FIRST or coming % DRAWN_EVERY == 0

    def _draw(self, after: int | None) -> int | None:
        """Return the first README that the slice lacks, other than the one that is shown.

        That may be a bulk decision, at which nobody has looked.
        """
        rows, chance = self._rows, self._rows["chance"]
        lacks = (rows["place"] > 0) & (rows["first"] > 0)
        lacks &= (rows["state"] == OPEN) | rows["bulk"]
        if after is not None:
            lacks[after - 1] = False
        found = self._drawn[lacks[self._drawn]]
        if not len(found):
            return None
        at = found[0]
        if after is not None and self.in_slice(after):  # go on from there, rather than back
            later = found[chance[found] > chance[after - 1]]
            at = later[0] if len(later) else at
        self.reached = max(self.reached, int(chance[at]))
        return int(at) + 1
