"""Which READMEs to label next: those that are least like any that is labelled already."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from tagger.errors import UsageError
from tagger.evaluation.label import Label, text_digest
from tagger.evaluation.measures import Floats
from tagger.learning.fit import features_of
from tagger.learning.learn import read_readmes
from tagger.methods.rank.rank import Rank
from tagger.readme.readme import Readme
from tagger.tagger import Tagger
from tagger.tagging import Ranking, Tagging
from tagger.types import Progress, no_progress


def farthest_first(features: Floats, size: int, labelled: Floats | None = None) -> list[int]:
    """Choose rows, each as far as possible from those before it, by Euclidean distance.

    The farthest-first traversal of Gonzalez (1985), "Clustering to minimize the maximum
    intercluster distance", used to choose what to label by Sener and Savarese (2018), "Active
    learning for convolutional neural networks: a core-set approach". A smaller choice is the
    beginning of a larger one.

    Args:
        features: [READMEs, width].
        size: the most rows that are chosen.
        labelled: [READMEs, width] what is labelled already, from which the first row is to be far;
            without any, the first row is row 0.

    """
    distances = np.full(len(features), np.inf)
    for centre in () if labelled is None else labelled:
        distances = np.minimum(distances, _distances(features, centre))
    chosen: list[int] = []
    while len(chosen) < min(size, len(features)):
        row = int(distances.argmax())
        chosen.append(row)
        distances = np.minimum(distances, _distances(features, features[row]))
        distances[chosen] = -1.0  # also where a README is equal to one that is chosen
    return chosen


def _distances(features: Floats, centre: Floats) -> Floats:
    """Return the squared distances of rows from one row, [READMEs]."""
    squared: Floats = ((features - centre) ** 2).sum(axis=1)
    return squared


def suggest(
    rank: Rank,
    readmes: Sequence[Readme],
    size: int,
    labelled: Sequence[Label] = (),
    progress: Progress = no_progress,
) -> list[Tagging]:
    """Return the READMEs that are most worth labelling, the best first, with their present tags.

    The model reads all of them, and `learn` need not read them again.

    Args:
        rank: reads the READMEs, and ranks their tags.
        readmes: which to choose from, in random order: without labels, the first one is chosen.
        size: how many to choose, at most.
        labelled: READMEs that have labels. They and those that resemble them are not chosen.
        progress: hears how many READMEs are read.

    Raises:
        UsageError: two READMEs have the same id.
        ReadmeError: a README cannot be read.
        ModelError: as `Rank.read`.

    """
    (id_, count), *_ = Counter(readme.id for readme in readmes).most_common(1) or [("", 0)]
    if count > 1:
        raise UsageError(
            f"{count} READMEs have the id {id_!r}, so nobody could tell which one is meant: choose "
            "another way to name READMEs"
        )
    known = {label.text_digest: label.to_readme() for label in labelled}
    fresh = [readme for readme in readmes if text_digest(readme.text) not in known]
    evidence, _ = read_readmes(rank, [*fresh, *known.values()], progress)
    features = features_of(evidence)
    chosen = farthest_first(features[: len(fresh)], size, features[len(fresh) :])
    tagger, best = Tagger(rank), rank.best(evidence.select(chosen))
    return [
        tagger.reply(fresh[row].id, Ranking(tags)) for row, tags in zip(chosen, best, strict=True)
    ]
