"""The texts of READMEs, kept as the review has met them.

So a README that is gone, or has changed, can be reviewed and learned from all the same.
"""

import logging
import sqlite3
import zlib
from dataclasses import replace
from pathlib import Path

from tagger._util.paths import real
from tagger._util.text import printable, searchable, storable
from tagger.batch.decisions import REVIEWED
from tagger.batch.ledger import Ledger, text_key
from tagger.batch.output import Place
from tagger.errors import InputError, ReadmeError
from tagger.readme.readme import MAX_BYTES, Readme
from tagger.readme.sources import Sources
from tagger.types import Progress

BEGINNING = 1_000
"""Characters of a README that are searched."""

_SHOWN = 5
"""READMEs that are named where their texts have changed."""

_MOST = 8 * MAX_BYTES
"""Bytes of a text beyond which it was not written by a review."""

log = logging.getLogger(__name__)


def noted(ledger: Ledger | None, output: Path) -> Sources | None:
    """Return where a batch has found its READMEs, if that is known and may be believed.

    A ledger may have come with a stranger's clone. It names no files but those of the output's
    folder and of the current one.

    Args:
        ledger: of the output; None if it is not there.
        output: the file.

    Raises:
        UsageError: the ledger is damaged.

    """
    if ledger is None or (said := ledger.noted("sources")) is None:
        return None
    try:
        found = replace(Sources.from_json(said, output.parent), follow_links=False)
    except ValueError as error:
        raise ledger.damaged() from error
    except InputError as error:
        log.warning("the batch's READMEs are not there any more: %s", error)
        return None
    located = [found.located(path) for path in found.paths]
    names = ", ".join(printable(str(path)) for path in located)
    homes = (real(output.parent), real(Path.cwd()))
    inside = (any(real(path).is_relative_to(home) for home in homes) for path in located)
    if not (all(inside) and found.rereadable):
        log.warning(
            "the batch's READMEs lie outside of this folder, and are taken from there only if you "
            "name them: %s",
            names,
        )
        return None
    log.info("READMEs are those of %s", names)
    return found


def take_texts(
    database: sqlite3.Connection,
    sources: Sources,
    place: Place,
    ledger: Ledger | None,
    progress: Progress,
) -> None:
    """Keep the texts of an output's READMEs, unless they were taken from the same sources.

    A README that is gone keeps the text that it had. So does one that has changed since, if it is
    reviewed, or if that text is what the batch has tagged. Within a transaction.

    Args:
        database: where they are kept.
        sources: where they are.
        place: the output, whose files are not taken for READMEs.
        ledger: what the batch remembers; None if that is not there.
        progress: hears how many are read.

    Raises:
        InputError: a source breaks off.
        UsageError: a source is one of the files.

    """
    said = sources.to_json(place.lines.parent)
    sources = replace(sources, own=place.files)
    execute = database.execute
    if execute("SELECT value FROM setting WHERE name = 'texts'").fetchone() == (said,):
        return
    rows = {
        id_: (number, state == REVIEWED, key, suggested)
        for id_, number, state, key, suggested in execute(
            "SELECT id, number, state, key, first IS NOT NULL FROM readme "
            "LEFT JOIN text ON readme = number WHERE place IS NOT NULL"
        )
    }
    total, done, changed = len(rows), 0, list[str]()
    for item in sources:
        if (row := rows.pop(item.id, None)) is None:
            continue
        number, reviewed, before, suggested = row
        try:
            readme = item.read()
        except ReadmeError:
            continue
        done += 1
        progress("reading", done, total)
        key = text_key(readme)
        tagged = is_tagged(ledger, key)
        if before is not None and (reviewed or (not tagged and is_tagged(ledger, before))):
            continue
        if suggested and not (tagged or reviewed):
            changed.append(item.id)
        text = storable(readme.text)
        execute(
            "INSERT OR REPLACE INTO text VALUES (?, ?, ?, ?)",
            (number, readme.source, key, zlib.compress(text.encode(), 1)),
        )
        execute(
            "INSERT OR REPLACE INTO beginning VALUES (?, ?)", (number, searchable(text[:BEGINNING]))
        )
    execute("INSERT OR REPLACE INTO setting VALUES ('texts', ?)", (said,))
    (missing,) = execute(
        "SELECT count(*) FROM readme WHERE place IS NOT NULL AND error = '' "
        "AND number NOT IN (SELECT readme FROM text)"
    ).fetchone()
    if missing:
        log.warning(
            "READMEs that are not in the sources, and can be reviewed only by their tags: %d of %d",
            missing,
            total,
        )
    if changed:
        log.warning(
            "READMEs that are not as the batch has tagged them: %d (%s); run it again for tags of "
            "what they say now",
            len(changed),
            ", ".join(map(printable, changed[:_SHOWN])),
        )


def is_tagged(ledger: Ledger | None, key: bytes) -> bool:
    """Say whether the batch has read a text, by its key, as far as anybody knows.

    Raises:
        UsageError: the ledger is damaged.

    """
    return ledger is None or ledger.knows(key)


def text_of(row: tuple[str, str, bytes]) -> Readme:
    """Return a README by its id, source and compressed text. Raises `ValueError`, `TypeError`."""
    id_, source, content = row
    if not isinstance(source, str) or not isinstance(content, bytes):
        raise TypeError("not a text")
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(content, _MOST)
    except zlib.error as error:
        raise ValueError("not a text") from error
    if not unpacker.eof:
        raise ValueError("not the whole of a text, or too large")
    return Readme(id_, data.decode(), source)
