"""What was decided, as label rows: for `learn`, and for whoever keeps labels."""

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tagger._util.files import check_own_file, check_target, replacing, reporting
from tagger._util.text import printable
from tagger.batch.decisions import REVIEWED, Decisions
from tagger.evaluation.label import PlacedLabel
from tagger.review.statistics import slice_of
from tagger.review.texts import text_of

_BEGINNING = 16 * 1024 * 1024
"""Bytes of a line that tell what a file is."""


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
    """Yield what was decided about READMEs whose texts are known, in the order of the output.

    READMEs whose tags are all gone from the vocabulary are left out.

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
        for number, tag in database.execute("SELECT readme, tag FROM decided ORDER BY place"):
            tags[number].append(tag)
        for number, tag in database.execute(
            "SELECT s.readme, s.tag FROM suggestion s JOIN readme r ON r.number = s.readme "
            "WHERE s.given AND s.origin = r.origin AND r.state = ? ORDER BY s.place",
            (REVIEWED,),
        ):
            refused[number].append(tag)
    for number, bulk in rows:
        known = store.known(iter(tags[number]))
        if known is None:
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


def check_export(path: Path) -> None:
    """Make sure that label rows can be written to a file.

    Raises:
        UsageError: there is another file, or a link.
        OutputError: it cannot be written.

    """

    def ours() -> bool:
        with path.open("rb") as file:
            line = file.readline(_BEGINNING)
        with suppress(ValueError, RecursionError):
            row = json.loads(line)
            return isinstance(row, dict) and "tags" in row and "readme" in row
        return False

    check_own_file(path)
    check_target(path, ours, "file of label rows")


def export(store: Decisions, reached: int, path: Path) -> int:
    """Write label rows; the file is whole, or as it was. Return how many rows it has."""
    rows = 0
    with (
        reporting(printable(str(path))),
        replacing(path) as part,
        part.open("w", encoding="utf-8") as file,
    ):
        for each in decided(store, reached):
            file.write(f"{each.label.to_json()}\n")
            rows += 1
    return rows
