"""Label rows from a catalogue: its tags in the vocabulary's words, beside their READMEs.

What many hands have kept for years never fits at once: ids without a README, tags that are spelt
otherwise or are not in the list. Nothing of that is passed over in silence.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tagger._util.reading import read_bounded
from tagger._util.text import printable, printable_json
from tagger.errors import LabelsError, ReadmeError
from tagger.evaluation.label import Label, PlacedLabel
from tagger.evaluation.nearest import Nearest, short
from tagger.evaluation.table import Table
from tagger.readme.readme import Readme
from tagger.readme.sources import Item, Sources
from tagger.vocabulary import Vocabulary, fold

MAX_MAPPING = 16 * 1024 * 1024
"""Bytes of a mapping beyond which it is refused."""

EXAMPLES = 3
"""Ids that are shown as examples."""

SUGGESTED = 200
"""Unknown tags, the most frequent first, for which a mapping suggests the nearest known ones."""

LISTED = 20
"""Unknown tags that are listed, the most frequent first."""

_SEPARATORS = ";,|/\t"

Meanings = Mapping[str, tuple[str, ...]]
"""The names of tags by what a catalogue calls them."""


class Names:
    """What tags of a catalogue are called in the vocabulary.

    A tag is looked up among the mapping's, then the names, the ids, and the aliases of which no two
    tags have the same.

    Args:
        vocabulary: the tags.
        mapping: for unknown tags, the names of tags; none where a tag is to be dropped.

    Attributes:
        vocabulary: the tags.

    """

    def __init__(self, vocabulary: Vocabulary, mapping: Meanings | None = None) -> None:
        self.vocabulary = vocabulary
        aliases: dict[str, set[str]] = {}
        for tag in vocabulary:
            for alias in tag.names[1:]:
                aliases.setdefault(fold(alias), set()).add(tag.label)
        self._known: dict[str, tuple[str, ...]] = {
            alias: tuple(labels) for alias, labels in aliases.items() if len(labels) == 1
        }
        self._known |= {fold(str(tag.id)): (tag.label,) for tag in vocabulary}
        self._known |= {fold(tag.name): (tag.label,) for tag in vocabulary}
        self._known |= {fold(tag): labels for tag, labels in (mapping or {}).items()}

    def __getitem__(self, tag: str) -> tuple[str, ...] | None:
        """Return the names of a tag, or None where it is unknown."""
        return self._known.get(fold(tag))

    def separator(self, tag: str, used: str) -> str:
        """Return a character that would part an unknown tag into known ones, or nothing.

        Args:
            tag: the unknown tag.
            used: the separator by which it was not parted.

        """
        for each in _SEPARATORS.replace(used, ""):
            parts = [part for part in tag.split(each) if part.strip()]
            if len(parts) > 1 and all(self[part] is not None for part in parts):
                return each
        return ""


def load_mapping(path: Path, vocabulary: Vocabulary) -> Meanings:
    """Read what unknown tags mean: `{"js": "javascript", "misc": null, "a+b": ["a", "b"]}`.

    Raises:
        LabelsError: the file cannot be read, or names tags that are not in the vocabulary.

    """
    name = printable(str(path))
    if path.exists() and not path.is_file():
        raise LabelsError(f"{name}: is not a regular file")
    shape = 'write {"unknown tag": "known tag", "another": null}'
    try:
        content: Any = json.loads(read_bounded(path, MAX_MAPPING))
    except OSError as error:
        raise LabelsError(f"{name}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise LabelsError(f"{name}: is not JSON: {shape}") from error
    if not isinstance(content, dict):
        raise LabelsError(f"{name}: is not a JSON object: {shape}")
    mapping, nearest, labels = {}, Nearest(vocabulary), Names(vocabulary)
    for tag, value in content.items():
        listed = [] if value is None else value if isinstance(value, list) else [value]
        if not all(isinstance(each, str) for each in listed):
            raise LabelsError(f"{name}: {short(tag)} is mapped to something else: {shape}")
        if unknown := [each for each in listed if labels[each] is None]:
            raise LabelsError(
                f"{name}: {short(tag)} is mapped to {nearest.suggest(unknown[0])}, which is not in "
                "the vocabulary"
            )
        mapping[tag] = tuple(label for each in listed for label in labels[each] or ())
    return mapping


@dataclass
class _Tally:
    """Counts what did not fit, and keeps the first ones as examples."""

    what: str
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: str) -> None:
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(example)

    def __str__(self) -> str:
        return f"{self.what}: {self.count}, such as {', '.join(self.examples)}"


class Conversion:
    """Makes label rows of a table and its READMEs, and keeps account.

    Args:
        table: ids and tags. An id may have several rows, whose tags are joined.
        names: what the tags are called in the vocabulary.
        readmes: where the READMEs are, under the same ids.

    Attributes:
        unknown: how often each tag occurs that is not in the vocabulary, as it is written first.

    Raises:
        LabelsError: no row can be used.
        InputError: the table is a Parquet file that cannot be used.

    """

    def __init__(self, table: Table, names: Names, readmes: Sources) -> None:
        self._table, self._names, self._readmes = table, names, readmes
        self._nearest = Nearest(names.vocabulary)
        self._rows = self._joined = self._labels = self._tags = 0
        self._faults = _Tally("rows that cannot be used")
        self._missing = _Tally("ids without a README")
        self._unlisted = _Tally("READMEs without a row")
        self._twice = _Tally("READMEs with the id of an earlier one, left out")
        self._unread = _Tally("READMEs that cannot be read, left out")
        self._bare = _Tally("READMEs whose rows have no tags, left out")
        self._none_known = _Tally("READMEs none of whose tags is known, left out")
        self._entries: dict[str, list[str]] = {}
        for self._rows, entry in enumerate(table, start=1):
            if entry.fault:
                self._faults.add(f"row {self._rows} ({printable(entry.fault)})")
            elif entry.id in self._entries:
                self._joined += 1
                self._entries[entry.id] += entry.tags
            else:
                self._entries[entry.id] = list(entry.tags)
        if not self._entries:
            raise LabelsError(
                f"{table.name}: {self._faults}" if self._rows else f"{table.name}: holds no rows"
            )
        self.unknown: Counter[str] = Counter()

    def labels(self) -> Iterator[Label]:
        """Yield the labels, in the order of the READMEs.

        Raises:
            LabelsError: no id is that of a README, or there is no label.
            InputError: a source breaks off.

        """
        spelt: dict[str, str] = {}
        seen: set[str] = set()
        for item in self._readmes:
            if not item.sound:
                seen.add(item.id)
                self._read(item)
            elif item.id not in self._entries:
                self._unlisted.add(short(item.id))
            elif item.id in seen:
                self._twice.add(short(item.id))
            else:
                seen.add(item.id)
                if label := self._label(item, spelt):
                    yield label
        for id_ in self._entries:
            if id_ not in seen:
                self._missing.add(short(id_))
        if seen and not self._labels:
            reasons = [*self._misfits(), *self._report_unknown()]
            raise LabelsError(f"{self._table.name}: gives no label; {'; '.join(reasons)}")
        if not seen:
            raise LabelsError(
                f"{self._table.name}: no id matches a README; {self._missing}; {self._unlisted}; "
                "choose another id field, or another way to name the READMEs of folders"
                if self._unlisted.count
                else str(self._readmes.nothing_found())
            )

    def _label(self, item: Item, spelt: dict[str, str]) -> Label | None:
        said = self._entries[item.id]
        known = dict.fromkeys(self._known(said, spelt))
        if not known:
            (self._none_known if said else self._bare).add(short(item.id))
            return None
        if (readme := self._read(item)) is None:
            return None
        self._labels += 1
        self._tags += len(known)
        return PlacedLabel(id=item.id, readme=readme.text, place=readme.source, tags=tuple(known))

    def _read(self, item: Item) -> Readme | None:
        try:
            return item.read()
        except ReadmeError as error:
            self._unread.add(f"{short(item.id)} ({error})")
            return None

    def _known(self, said: Iterable[str], spelt: dict[str, str]) -> Iterator[str]:
        for tag in said:
            names = self._names[tag]
            if names is None:
                self.unknown[spelt.setdefault(fold(tag), tag)] += 1
            else:
                yield from names

    def mapping(self, edited: Mapping[str, Any]) -> str:
        """Return the unknown tags as a mapping to be edited: each with the nearest known tag.

        Args:
            edited: the mapping until now, which is kept.

        """
        ordered = [tag for tag, _ in self.unknown.most_common()]
        rows = {tag: self._nearest[tag] for tag in ordered[:SUGGESTED]} | dict.fromkeys(
            ordered[SUGGESTED:]
        )
        rows = {**edited, **rows, **edited}
        return printable_json(json.dumps(rows, ensure_ascii=False, indent=2)) + "\n"

    def report(self) -> Iterator[str]:
        """Say what was matched, and what was not, after `labels` has ended."""
        yield (
            f"{self._table.name}: {self._rows} rows with {len(self._entries)} ids; labels for "
            f"{self._labels} READMEs, with {self._tags} tags"
        )
        if self._joined:
            yield f"rows whose tags were joined to those of an earlier row: {self._joined}"
        yield from self._misfits()
        yield from self._report_unknown()

    def _misfits(self) -> Iterator[str]:
        for tally in (
            self._faults,
            self._missing,
            self._unlisted,
            self._twice,
            self._unread,
            self._bare,
            self._none_known,
        ):
            if tally.count:
                yield str(tally)

    def _report_unknown(self) -> Iterator[str]:
        if not self.unknown:
            return
        shown = [f"{self._nearest.suggest(tag)} {n}" for tag, n in self.unknown.most_common(LISTED)]
        more = f", and {rest} more" if (rest := len(self.unknown) - LISTED) > 0 else ""
        yield (
            f"tags that are not in the vocabulary, and how often: {len(self.unknown)}: "
            f"{', '.join(shown)}{more}"
        )
        for tag in self.unknown:
            if separator := self._names.separator(tag, self._table.separator):
                yield (
                    f"{short(tag)} looks like several tags: is their separator {separator!r} "
                    f"rather than {self._table.separator!r}?"
                )
                return
