"""Orders of work, and the random slice.

A queue holds the READMEs of an order that pass a filter, whatever their state, so that one that is
decided keeps its place. Which of them are open is asked at every step.

The slice is the beginning of one random permutation of all READMEs for which the output has tags.
Of the READMEs that are gone through without a filter, the first 50 and then every fifth are drawn
from it in order; those that were decided before their turn belong to it as well. One that is shown
and not answered is drawn again before any new one: people pass over what is hard, and a slice
without that would look too good. So it is a random sample, whatever else is decided, in any order.
"""

import json
from dataclasses import dataclass

import numpy as np

from tagger._util.text import searchable
from tagger.batch.decisions import OPEN, Decisions
from tagger.errors import InputError
from tagger.evaluation.measures import Bools, Rows
from tagger.review.items import Filter, Order, State
from tagger.review.rows import STATES, Counts, count, count_states, load, unanswered

DRAWN_FIRST = 50
"""READMEs that are drawn at random before any order of work counts."""

DRAWN_EVERY = 5
"""One in so many is drawn at random from then on."""

_OF_FEW: tuple[Order, ...] = ("failed", "suspicious")
"""Orders of those who look for something, and want to see nothing else."""

_WITH_TAG = """
SELECT readme FROM decided WHERE tag IN (SELECT value FROM json_each(:tags))
UNION SELECT s.readme FROM suggestion s JOIN readme r ON r.number = s.readme
WHERE s.given AND s.origin = r.origin AND s.tag IN (SELECT value FROM json_each(:tags))
"""

_WITH_TEXT = """
SELECT number FROM readme WHERE instr(folded(id), :text)
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
        reached: how far the slice goes: up to the last README that was drawn for it and answered or
            passed over; see `index.chance`.

    """

    def __init__(self, store: Decisions) -> None:
        self._store = store
        self._left: dict[tuple[Order, str | None, str], int] = {}
        self._offered: set[int] = set()
        with store.reading() as database:
            row = database.execute("SELECT value FROM setting WHERE name = 'reached'").fetchone()
            self.reached = int(row[0]) if row else -1
        self.load()

    def load(self) -> None:
        """Take up what has changed."""
        self._queues: dict[tuple[Order, str | None, str], Queue] = {}
        self._rows = load(self._store)
        self._permutation = np.argsort(self._rows["chance"], kind="stable")
        self._judged: Bools = (self._rows["place"] > 0) & self._rows["judged"]

    def decided(self, number: int, state: int) -> None:
        """Note that a README was decided, not in bulk."""
        self._rows["state"][number - 1] = state
        self._rows["bulk"][number - 1] = False
        self._queues = {key: queue for key, queue in self._queues.items() if key[1] is None}

    def reach(self, number: int) -> int:
        """Let the slice go on to a README, if it was drawn for it. Return how far it goes now."""
        if number in self._offered and self._judged[number - 1]:
            self.reached = max(self.reached, int(self._rows["chance"][number - 1]))
        return self.reached

    def state(self, number: int) -> int:
        """Return the state of a README, which is open too if all of its tags are gone."""
        return int(self._rows["state"][number - 1])

    def is_bulk(self, number: int) -> bool:
        """Return whether a README was decided together with others."""
        return bool(self._rows["bulk"][number - 1])

    def in_slice(self, number: int) -> bool:
        """Return whether a README is of the random slice, or was drawn to be."""
        within = number in self._offered or self._rows["chance"][number - 1] <= self.reached
        return bool(self._judged[number - 1] and within)

    def states(self) -> dict[State, int]:
        """Return how many READMEs of the output are in each state."""
        return count_states(self._rows)

    def count(self) -> Counts:
        """Return how many READMEs of the output there are of each kind."""
        return count(self._rows, self._judged & (self._rows["chance"] <= self.reached))

    def queue(self, order: Order, chosen: Filter) -> Queue:
        """Return the READMEs of an order and a filter, in any state.

        Raises:
            InputError: the vocabulary does not have the filter's tag.

        """
        key = _key(order, chosen)
        if key not in self._queues:
            if len(self._queues) >= _KEPT:
                self._queues.pop(next(iter(self._queues)))
            numbers = self._sorted(order)
            for query, value in self._conditions(chosen):
                with self._store.reading() as database:
                    database.create_function("folded", 1, searchable, deterministic=True)
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

    def shown(self, order: Order, chosen: Filter) -> Rows:
        """Return the READMEs of an order that pass a filter, state included."""
        queue = self.queue(order, chosen)
        found: Rows = queue.numbers[self.passing(queue, chosen.state)]
        return found

    def confident(self, above: float, order: Order, chosen: Filter) -> list[int]:
        """Return open READMEs all of whose given tags have this confidence."""
        numbers = self.shown(order, chosen)
        rows = self._rows[numbers - 1]
        found: list[int] = numbers[
            (rows["state"] == OPEN) & (rows["least"] >= max(above, 0.0)) & (rows["first"] > 0)
        ].tolist()
        return found

    def next(self, order: Order, chosen: Filter, after: int | None) -> int | None:
        """Return the first README, or the one that comes once another is answered.

        None where no other is left.
        """
        if self._is_drawn(order, chosen, after) and (number := self._draw(after)) is not None:
            return number
        queue, place = self.queue(order, chosen), None
        if after is not None:
            key = _key(order, chosen)
            if self._draws(order, chosen) and self.in_slice(after):
                place = queue.place(self._left.get(key))  # where the order was left for the slice
            else:
                place = queue.place(after)
                self._left[key] = after
        return queue.after(place, self.passing(queue, chosen.state), after)

    def pass_over(self, order: Order, chosen: Filter, number: int) -> int | None:
        """Return the README that comes when another is passed over without an answer.

        The slice goes on to a new one only if nothing else of it is unanswered. Else the order of
        work does, without those of the slice: they are drawn again once something is answered.
        """
        self.reach(number)
        answered = not unanswered(self._rows[number - 1])
        others = self._lacking(number) & (self._rows["chance"] <= self.reached)
        if answered or not self._draws(order, chosen) or not others.any():
            return self.next(order, chosen, number)
        queue, key = self.queue(order, chosen), _key(order, chosen)
        if not self.in_slice(number):
            self._left[key] = number
        passing = self.passing(queue, chosen.state) & ~others[queue.numbers - 1]
        place = queue.place(self._left.get(key))
        found = queue.after(place, passing, number)
        return self.next(order, chosen, number) if found is None else found

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

    def _conditions(self, chosen: Filter) -> list[tuple[str, dict[str, str]]]:
        """Return queries for what a filter asks for. Raises `InputError`: no such tag."""
        asked = []
        if chosen.tag is not None:
            if chosen.tag not in self._store.numbers:
                raise InputError(f"there is no tag with the id {chosen.tag!r}")
            asked.append((_WITH_TAG, {"tags": json.dumps(self._store.meaning(chosen.tag))}))
        if chosen.text:
            asked.append((_WITH_TEXT, {"text": searchable(chosen.text.strip())}))
        return asked

    def _draws(self, order: Order, chosen: Filter) -> bool:
        """Say whether READMEs are drawn for the slice among those of an order."""
        return chosen == Filter() and order not in _OF_FEW

    def _is_drawn(self, order: Order, chosen: Filter, after: int | None) -> bool:
        """Say whether the README that is shown next is a random one."""
        if not self._draws(order, chosen) or order == "random":
            return self._draws(order, chosen)
        answered = int(((self._rows["state"] != OPEN) & ~self._rows["bulk"]).sum())
        pending = after is not None and self.state(after) == OPEN  # which will be answered by then
        coming = answered + pending + 1
        return coming <= DRAWN_FIRST or coming % DRAWN_EVERY == 0

    def _draw(self, shown: int | None) -> int | None:
        """Return the first README that the slice lacks, other than the one that is shown."""
        lacking = self._lacking(shown)[self._permutation]
        if not lacking.any():
            return None
        number = int(self._permutation[lacking.argmax()]) + 1
        self._offered.add(number)
        return number

    def _lacking(self, shown: int | None) -> Bools:
        """Return which READMEs have no answer that the slice could take, [all READMEs].

        A bulk decision is none: nobody has looked at it.
        """
        lacking: Bools = self._judged & unanswered(self._rows)
        if shown is not None:
            lacking[shown - 1] = False
        return lacking


def _key(order: Order, chosen: Filter) -> tuple[Order, str | None, str]:
    return order, chosen.tag, searchable(chosen.text.strip())
