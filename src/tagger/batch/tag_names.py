"""What tags are called, from one list of tags to the next.

Decisions name tags by numbers, which stand for an id and a name as some list had them. Nothing here
touches a file: numbers that are new, and renames, are written by whoever asks.
"""

from collections.abc import Iterable, Sequence

from tagger.vocabulary import Tag, Vocabulary, fold, renames

Row = tuple[int, str, str, int | None]
"""A tag's number, id and name, and the number of the tag that it was renamed to."""


class TagNames:
    """The tags of several lists, and what they are in the present one.

    Args:
        rows: the tags that are known.
        last: the numbers of the tags of the list before.
        vocabulary: the present list.

    Attributes:
        tags: by number, the tag of the vocabulary that is meant; None if it is not there any more.
        numbers: the numbers of the vocabulary's tags, by their ids as text.

    """

    def __init__(self, rows: Iterable[Row], last: Iterable[int], vocabulary: Vocabulary) -> None:
        self._rows = {row[0]: row for row in rows}
        self._by_pair = {(id_, name): number for number, id_, name, _ in self._rows.values()}
        self._vocabulary = vocabulary
        self._current = {fold(tag.name): tag for tag in vocabulary}
        before = [self._rows[number][1:3] for number in last]
        self.numbers = {str(tag.id): self.number(str(tag.id), tag.name) for tag in vocabulary}
        self.settle(before)

    @property
    def rows(self) -> list[Row]:
        """All tags, those among them that `number` has made."""
        return list(self._rows.values())

    def number(self, id_: str, name: str) -> int:
        """Return the number of a tag, which need not be in the vocabulary."""
        found = self._by_pair.get((id_, name))
        if found is None:
            found = self._by_pair[id_, name] = max(self._rows, default=0) + 1
            self._rows[found] = (found, id_, name, None)
        return found

    def name(self, number: int) -> str:
        """Return what a tag was called by the list that it was in."""
        return self._rows[number][2]

    def tag(self, id_: str, name: str) -> Tag | None:
        """Return what a tag is called now; None if the vocabulary lacks it."""
        return self.tags.get(self._by_pair.get((id_, name), 0))

    def meaning(self, id_: str) -> list[int]:
        """Return the numbers of all tags that are now the one with this id, given as text."""
        return [number for number, tag in self.tags.items() if tag and str(tag.id) == id_]

    def settle(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Find out what tags are called now that somebody has named by ids and names."""
        numbers = {fold(name): self.number(id_, name) for id_, name in pairs}
        for old, new in renames({fold(name): id_ for id_, name in pairs}, self._vocabulary):
            number, id_, name, _ = self._rows[numbers[old]]
            became = self.numbers[str(self._current[new].id)]
            self._rows[number] = (number, id_, name, became)
        self.tags = {number: self._meant(number) for number in self._rows}

    def _meant(self, number: int) -> Tag | None:
        for _ in self._rows:  # names may have gone round in a circle
            *_, name, became = self._rows[number]
            if (tag := self._current.get(fold(name))) is not None or became is None:
                return tag
            number = became
        return None
