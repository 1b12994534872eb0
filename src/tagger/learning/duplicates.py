"""READMEs that nearly repeat one another: forks, templates, packages of one family."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from tagger.evaluation.measures import Rows

GRAM = 5
"""Words that a phrase has."""

OVERLAP = 0.5
"""Share of the shorter README's phrases beyond which two READMEs nearly repeat one another."""

_WORDS = 2000
"""Words of a README that are compared."""

_COMMON = 30
"""READMEs beyond which a phrase is common property, such as a licence's, and tells nothing."""


def near_duplicates(texts: Sequence[str]) -> Rows:
    """Return the group of each text, [texts]: texts that nearly repeat one another share one.

    Two texts do if more than half the phrases of the shorter one are also in the other.
    """
    phrases = [_phrases(text) for text in texts]
    places = defaultdict(list)
    for place, found in enumerate(phrases):
        for phrase in found:
            places[phrase].append(place)
    shared: Counter[tuple[int, int]] = Counter()
    for found_in in places.values():
        if len(found_in) <= _COMMON:
            shared.update(combinations(found_in, 2))
    pairs = [
        (one, other)
        for (one, other), count in shared.items()
        if count > OVERLAP * min(len(phrases[one]), len(phrases[other]))
    ]
    return _connected(len(texts), pairs)


def _phrases(text: str) -> set[int]:
    words = re.findall(r"\w+", text.lower())[:_WORDS]
    return {hash(tuple(words[start : start + GRAM])) for start in range(len(words) - GRAM + 1)}


def _connected(size: int, pairs: Sequence[tuple[int, int]]) -> Rows:
    # Here, not above: commands that learn nothing do without it.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), ends.T), shape=(size, size))
    groups: Rows = connected_components(graph, directed=False)[1].astype(np.int64)
    return groups
