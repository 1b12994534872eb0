"""A README as a review shows it."""

from collections.abc import Callable, Sequence

from tagger.batch.decisions import REVIEWED, Decisions
from tagger.batch.ledger import Ledger
from tagger.review.items import Filter, Item, Order, Selected, Suggestion
from tagger.review.order import Work
from tagger.review.rows import STATES
from tagger.review.steps import tags_of
from tagger.review.texts import is_tagged
from tagger.vocabulary import Tag

SUGGESTIONS = 12
"""The most tags that are suggested for a README."""

Best = Callable[[bytes], Sequence[tuple[Tag, float]]]
"""Returns the best tags of a README by the key of its text, none if nothing is known of it."""

_ABOUT = """
SELECT id, error, suspicious, bulk, revision, origin, key, source, first IS NOT NULL
FROM readme LEFT JOIN text ON readme = number WHERE number = ?
"""

_SUGGESTED = """
SELECT tag, confidence, given FROM suggestion WHERE readme = ? AND origin = ? ORDER BY place
"""


def show(
    store: Decisions,
    work: Work,
    ledger: Ledger | None,
    number: int,
    order: Order,
    chosen: Filter,
    best: Best | None,
) -> Item:
    """Return a README with its suggestions, and its place in an order of work.

    Args:
        store: what is reviewed.
        work: the orders of work.
        ledger: what the batch remembers; None if that is not there.
        number: of the README.
        order: in which it has a place.
        chosen: among which READMEs it has a place.
        best: finds the next best tags, if anything does.

    Raises:
        InputError: the vocabulary does not have the filter's tag.
        UsageError: what is kept is damaged.

    """
    with store.reading() as database:
        about = database.execute(_ABOUT, (number,)).fetchone()
        id_, error, suspicious, bulk, revision, origin, key, source, suggested = about
        if key is not None and not (isinstance(key, bytes) and isinstance(source, str)):
            raise TypeError("not a text")
        found: dict[str, Suggestion] = {}
        for tag_number, confidence, given in database.execute(_SUGGESTED, (number, origin)):
            if tag := store.tags[tag_number]:
                found.setdefault(str(tag.id), Suggestion(tag, confidence, bool(given)))
        state = work.state(number)
        decided = {
            str(tag.id): tag
            for tag in (store.tags[each] for each in tags_of(database, number))
            if tag and state == REVIEWED
        }
    if best and not origin and key is not None:
        for tag, confidence in best(key):
            found.setdefault(str(tag.id), Suggestion(tag, confidence, given=False))
    selected: Selected = "random" if work.in_slice(number) else "ordered"
    queue = work.queue(order, chosen)
    passing = work.passing(queue, chosen.state)
    place = queue.place(number)
    there = place is not None and passing[place]
    return Item(
        id=id_,
        place=source or "",
        suggestions=tuple(found.values())[:SUGGESTIONS],
        error=error,
        suspicious=bool(suspicious),
        changed=bool(key is not None and suggested and not is_tagged(ledger, key)),
        state=next(name for name, value in STATES.items() if value == state),
        decided=tuple(decided.values()),
        selected="bulk" if bulk else selected,
        revision=revision,
        position=int(passing[: place + 1].sum()) if place is not None and there else 0,
        total=int(passing.sum()),
    )
