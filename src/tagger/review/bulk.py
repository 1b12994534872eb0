"""Decisions about many READMEs at once, each of them one step to undo."""

from collections.abc import Sequence

import numpy as np

from tagger.batch.decisions import REVIEWED, SKIPPED, Decisions
from tagger.review.items import Filter, Order
from tagger.review.order import Work
from tagger.review.steps import Entry, decide, given_to, substitute, tags_of


def accept(store: Decisions, numbers: Sequence[int]) -> int:
    """Accept the replies of READMEs. Return how many there are."""
    with store.writing() as database:
        entries = [
            Entry(number, REVIEWED, given_to(store, database, number), bulk=True)
            for number in numbers
        ]
        decide(database, entries)
    return len(entries)


def with_tag(store: Decisions, work: Work, tag: str, order: Order, chosen: Filter) -> list[int]:
    """Return the numbers of READMEs that have a tag, by a decision or else by their reply.

    READMEs that were skipped are left as they are.

    Args:
        store: what is reviewed.
        work: the orders of work.
        tag: its id, as text.
        order: among whose READMEs.
        chosen: among which of these.

    Raises:
        InputError: there is no such tag.

    """
    having = work.shown("uncertain", Filter(tag=tag, state=None))
    numbers = work.shown(order, chosen)
    numbers = numbers[np.isin(numbers, having)]
    meant = set(store.meaning(tag))
    with store.reading() as database:
        return [
            number
            for number in numbers.tolist()
            if (state := work.state(number)) != SKIPPED
            and meant.intersection(
                tags_of(database, number)
                if state == REVIEWED
                else given_to(store, database, number)
            )
        ]


def replace(store: Decisions, work: Work, numbers: Sequence[int], old: str, new: int) -> None:
    """Put a tag in the place of another.

    Args:
        store: what is reviewed.
        work: the orders of work.
        numbers: of the READMEs.
        old: the id of the other tag, as text.
        new: the number of the tag.

    """
    gone = set(store.meaning(old))
    with store.writing() as database:
        entries = []
        for number in numbers:
            seen = work.state(number) == REVIEWED
            before = tags_of(database, number) if seen else given_to(store, database, number)
            bulk = not seen or work.is_bulk(number)
            entries.append(Entry(number, REVIEWED, substitute(before, gone, new), bulk))
        decide(database, entries)
