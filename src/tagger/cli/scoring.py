"""Scoring labelled READMEs, shown as it goes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tagger.evaluation.evaluate import Label
    from tagger.evaluation.scores import Scores
    from tagger.methods.rank.rank import Rank
    from tagger.prompts.prompt import PromptTemplate
    from tagger.readme.readme import Readme


def score(
    rank: "Rank",
    template: "PromptTemplate",
    readmes: "Sequence[tuple[Label, Readme]]",
    *,
    quiet: bool,
) -> "Scores":
    """Return the raw scores of every README and tag; raises as `Rank.evidence`."""
    from tagger.cli.progress import tracked, working
    from tagger.evaluation.scores import Scores
    from tagger.methods.rank.evidence import Evidence

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
