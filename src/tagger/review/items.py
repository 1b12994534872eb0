"""What a review shows and asks for: READMEs with suggestions, orders of work, filters."""

from dataclasses import dataclass
from typing import Literal

from tagger.vocabulary import Tag

Order = Literal["uncertain", "confident", "tag", "failed", "suspicious", "random"]
"""Orders of work. `tag` puts READMEs together whose first tag is the same; `failed` and
`suspicious` leave out all others."""

State = Literal["open", "reviewed", "skipped"]

Selected = Literal["random", "ordered", "bulk"]
"""Why a README was decided: it is of the random slice, its turn came, or it was one of many."""


@dataclass(frozen=True)
class Filter:
    """Which READMEs are gone through.

    Attributes:
        tag: the id of a tag as text; READMEs for which it is suggested or decided.
        state: None for all.
        text: what the id or the beginning of the README contains, whatever the case.

    """

    tag: str | None = None
    state: State | None = "open"
    text: str = ""


@dataclass(frozen=True)
class Suggestion:
    """A tag that is suggested for a README.

    Attributes:
        tag: of the vocabulary.
        confidence: from 0 to 1; None where the method has none.
        given: whether the reply has it; the others are the next best.

    """

    tag: Tag
    confidence: float | None
    given: bool


@dataclass(frozen=True)
class Item:
    """One README of a review.

    Attributes:
        id: what the output calls it.
        place: where its text was found; empty where it was not.
        suggestions: those of the reply and then the next best, at most 12.
        error: why it could not be tagged; empty if it was.
        suspicious: whether passages of it address whoever tags it.
        changed: whether its text is not the one that the batch has tagged.
        state: whether it was decided.
        decided: its tags; empty unless `reviewed`, and perhaps then.
        selected: why it was decided, or shown.
        revision: changes with every decision about it; `decide` takes it.
        position: its place in the order of work, from 1; 0 if it is not in it.
        total: how many READMEs the order of work has.

    """

    id: str
    place: str
    suggestions: tuple[Suggestion, ...]
    error: str
    suspicious: bool
    changed: bool
    state: State
    decided: tuple[Tag, ...]
    selected: Selected
    revision: int
    position: int = 0
    total: int = 0
