"""Samples of READMEs that depend on nothing but their texts."""

import logging

from tagger._util.hashing import digest
from tagger.errors import ReadmeError
from tagger.readme.readme import Readme
from tagger.readme.sources import Sources

log = logging.getLogger(__name__)


def draw(sources: Sources, size: int) -> list[Readme]:
    """Draw READMEs of different texts: those whose digests are lowest, in that order.

    So the same texts are drawn whatever their order and names, a larger sample holds a smaller
    one, and any sample is random.

    Args:
        sources: where the READMEs are.
        size: the most that are drawn.

    Raises:
        InputError: there are no READMEs, or none can be read.

    """
    drawn: dict[str, Readme] = {}
    failures: list[ReadmeError] = []
    for readme in sources.readable(failures):
        drawn[digest(readme.text)] = readme
        if len(drawn) > 2 * size:
            drawn = dict(sorted(drawn.items())[:size])
    if not drawn:
        raise failures[0] if failures else sources.nothing_found()
    if failures:
        log.warning(
            "READMEs that cannot be read are left out: %d, the first: %s",
            len(failures),
            failures[0],
        )
    return [readme for _, readme in sorted(drawn.items())[:size]]
