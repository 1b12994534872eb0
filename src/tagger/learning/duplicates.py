"""Near-duplicate READMEs: forks, templates, packages of one family."""

import re
from collections.abc import Sequence
from itertools import chain

import numpy as np

from tagger.evaluation.measures import Rows

GRAM = 5
"""Words that a phrase has."""

OVERLAP = 0.5
"""Share of the shorter README's phrases beyond which two READMEs are near-duplicates."""

_WORDS = 2000
"""Words of a README that are compared."""

_COMMON = 30
"""READMEs beyond which a phrase is common property, such as a licence's, and tells nothing."""


def near_duplicates(texts: Sequence[str]) -> Rows:
    """Return the group of each text, [texts]: near-duplicates share one.

    Two texts do if more than half the phrases of the shorter one are also in the other.
    """
    # Here, not above: commands that learn nothing do without it.
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    phrases = [_phrases(text) for text in texts]
    sizes = np.array([len(found) for found in phrases], np.int64)
    every = np.fromiter(chain.from_iterable(phrases), np.int64)
    different, columns = np.unique(every, return_inverse=True)
    rows = np.repeat(np.arange(len(texts)), sizes)
    contains = csr_array((np.ones(len(every)), (rows, columns)), shape=(len(texts), len(different)))
    telling = contains[:, contains.sum(axis=0) <= _COMMON]
    shared = (telling @ telling.T).tocoo()
    alike = shared.data > OVERLAP * np.minimum(sizes[shared.row], sizes[shared.col])
    graph = csr_array((shared.data[alike], (shared.row[alike], shared.col[alike])), shared.shape)
    groups: Rows = connected_components(graph, directed=False)[1].astype(np.int64)
    return groups


def _phrases(text: str) -> set[int]:
    words = re.findall(r"\w+", text.lower())[:_WORDS]
    return {hash(tuple(words[start : start + GRAM])) for start in range(len(words) - GRAM + 1)}
