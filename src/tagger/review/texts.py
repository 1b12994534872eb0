"""The texts of READMEs, kept as the review has met them.

So a README that is gone, or has changed, can be reviewed and learned from all the same.
"""

import logging
import zlib
from dataclasses import replace
from pathlib import Path

from tagger._util.paths import real
from tagger._util.text import printable, storable
from tagger.batch.decisions import Decisions
from tagger.batch.ledger import Ledger, text_key
from tagger.errors import InputError, ReadmeError
from tagger.readme.readme import MAX_BYTES, Readme
from tagger.readme.sources import Sources
from tagger.types import Progress

BEGINNING = 1_000
"""Characters of a README that are searched."""

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
        found = replace(Sources.from_json(said), follow_links=False)
    except ValueError as error:
        raise ledger.damaged() from error
    except InputError as error:
        log.warning("the batch's READMEs are not there any more: %s", error)
        return None
    names = ", ".join(map(printable, found.paths))
    homes = (real(output.parent), real(Path.cwd()))
    inside = (any(real(Path(path)).is_relative_to(home) for home in homes) for path in found.paths)
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
    store: Decisions, sources: Sources, own: frozenset[Path], progress: Progress
) -> None:
    """Keep the texts of an output's READMEs, unless they were taken from the same sources.

    A README that is gone keeps the text that it had.

    Args:
        store: where they are kept.
        sources: where they are.
        own: files that are not taken for READMEs.
        progress: hears how many are read.

    Raises:
        InputError: a source breaks off.
        UsageError: a source is one of the files.

    """
    said, sources = sources.to_json(), replace(sources, own=own)
    with store.writing() as database:
        execute = database.execute
        if execute("SELECT value FROM setting WHERE name = 'texts'").fetchone() == (said,):
            return
        numbers = dict(execute("SELECT id, number FROM readme WHERE place IS NOT NULL").fetchall())
        total, done = len(numbers), 0
        for item in sources:
            number = numbers.pop(item.id, None)
            if number is None:
                continue
            try:
                readme = item.read()
            except ReadmeError:
                continue
            text = storable(readme.text)
            execute(
                "INSERT OR REPLACE INTO text VALUES (?, ?, ?, ?)",
                (number, readme.source, text_key(readme), zlib.compress(text.encode(), 1)),
            )
            execute(
                "INSERT OR REPLACE INTO beginning VALUES (?, ?)",
                (number, text[:BEGINNING].casefold()),
            )
            done += 1
            progress("reading", done, total)
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


def text_of(row: tuple[str, str, bytes]) -> Readme:
    """Return a README by its id, source and compressed text. Raises `ValueError`."""
    id_, source, content = row
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(content, _MOST)
    except zlib.error as error:
        raise ValueError("not a text") from error
    if not unpacker.eof:
        raise ValueError("not the whole of a text, or too large")
    return Readme(id_, data.decode(), source)
