"""What was decided, as label rows: for `learn`, and for whoever keeps labels."""

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tagger._util.files import check_own_file, check_target, replacing, reporting
from tagger._util.paths import real
from tagger._util.text import printable
from tagger.batch.decisions import REVIEWED, Decisions
from tagger.errors import UsageError
from tagger.evaluation.label import PlacedLabel
from tagger.review.statistics import slice_of
from tagger.review.texts import text_of

_REMEMBERED = 100
"""Exports that may be overwritten: the last ones."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decided:
    """A README that was decided.

    Attributes:
        number: of the README.
        label: what was decided, in which way.

    """

    number: int
    label: PlacedLabel


def decided(store: Decisions, reached: int) -> Iterator[Decided]:
    """Yield what was decided about READMEs, in the order of the output.

    Those whose texts are not known, or whose tags are all gone from the vocabulary, are left out,
    and counted in a warning.

    Args:
        store: what is reviewed.
        reached: how far the random slice goes.

    """
    tags: dict[int, list[int]] = defaultdict(list)
    refused: dict[int, list[int]] = defaultdict(list)
    drawn = {each.number for each in slice_of(store, reached)}
    with store.reading() as database:
        rows = database.execute(
            "SELECT number, bulk FROM readme WHERE state = ? "
            "AND number IN (SELECT readme FROM text) ORDER BY place IS NULL, place, number",
            (REVIEWED,),
        ).fetchall()
        (reviewed,) = database.execute(
            "SELECT count(*) FROM readme WHERE state = ?", (REVIEWED,)
        ).fetchone()
        for number, tag in database.execute("SELECT readme, tag FROM decided ORDER BY place"):
            tags[number].append(tag)
        for number, tag in database.execute(
            "SELECT s.readme, s.tag FROM suggestion s JOIN readme r ON r.number = s.readme "
            "WHERE s.given AND s.origin = r.origin AND r.state = ? ORDER BY s.place",
            (REVIEWED,),
        ):
            refused[number].append(tag)
    kept = {number: store.known(iter(tags[number])) for number, *_ in rows}
    _say_left_out(reviewed - len(rows), sum(known is None for known in kept.values()))
    for number, bulk in rows:
        if (known := kept[number]) is None:
            continue
        rejected = [tag for tag in store.known(iter(refused[number])) or () if tag not in known]
        with store.reading() as database:
            row = database.execute(
                "SELECT id, source, content FROM text JOIN readme ON number = readme "
                "WHERE number = ?",
                (number,),
            ).fetchone()
            readme = text_of(row)
        why: Literal["random", "uncertain", "bulk"] = "uncertain"
        if bulk:
            why = "bulk"
        elif number in drawn:
            why = "random"
        label = PlacedLabel(
            id=readme.id,
            readme=readme.text,
            place=readme.source,
            tags=tuple(tag.name for tag in known),
            rejected=tuple(tag.name for tag in rejected),
            selection=why,
        )
        yield Decided(number, label)


def _say_left_out(without_text: int, without_tags: int) -> None:
    if without_text:
        log.warning(
            "reviewed READMEs left out because their texts were not found: %d; say where they are "
            "when you review them again",
            without_text,
        )
    if without_tags:
        log.warning(
            "reviewed READMEs left out because the vocabulary has none of their tags any more: %d",
            without_tags,
        )


def export(store: Decisions, reached: int, path: Path, used: frozenset[Path]) -> int:
    """Write label rows; the file is whole, or as it was. Return how many rows it has.

    A file that is there is overwritten only if it is as an export of this review has left it.

    Args:
        store: what is reviewed.
        reached: how far the random slice goes.
        path: the file.
        used: files that are read, or belong to the output.

    Raises:
        UsageError: it is one of those, a link, or another file.
        OutputError: it cannot be written.

    """
    with store.reading() as database:
        row = database.execute("SELECT value FROM setting WHERE name = 'exports'").fetchone()
        exports = list(map(str, json.loads(row[0]))) if row else []
    if real(path) in used:
        raise UsageError(f"{printable(str(path))} is both read and written: name another file")
    check_own_file(path)
    check_target(path, lambda: _digest(path) in exports, "file as this review has exported it")
    rows = 0
    with (
        reporting(printable(str(path))),
        replacing(path) as part,
        part.open("w", encoding="utf-8") as file,
    ):
        for each in decided(store, reached):
            file.write(f"{each.label.to_json()}\n")
            rows += 1
        file.flush()
        # Before the file is there: one that is not known as ours could never be written again.
        made = json.dumps([*exports, _digest(part)][-_REMEMBERED:])
        with store.writing() as database:
            database.execute("INSERT OR REPLACE INTO setting VALUES ('exports', ?)", (made,))
    return rows


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
