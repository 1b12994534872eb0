"""Scoring labelled READMEs, shown as it goes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tagger.evaluate import Label
    from tagger.methods.rank import Rank
    from tagger.prompt import PromptTemplate
    from tagger.readme import Readme
    from tagger.scores import Scores


def score(
    rank: "Rank",
    template: "PromptTemplate",
    readmes: "Sequence[tuple[Label, Readme]]",
    *,
    quiet: bool,
) -> "Scores":
    """Return the raw scores of every README and tag; raises as `Rank.evidence`."""
    from tagger.cli.progress import tracked, working
    from tagger.methods.answers import Evidence
    from tagger.scores import Scores

    with working("reading the list of tags", quiet=quiet):
        rank.prepare()
    evidence, read = [], []
    for _, readme in tracked(readmes, "scoring", quiet=quiet):
        encoded = rank.encode(readme.words)
        evidence.append(rank.evidence([encoded]))
        read.append(rank.model.tokenizer.decode(encoded.tokens))
    return Scores(
        model=rank.model.name,
        prompt=template.digest,
        labels=tuple(label for label, _ in readmes),
        evidence=Evidence.cat(evidence),
        read=tuple(read),
    )
