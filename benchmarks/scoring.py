"""What scoring costs for one README: against the plain one-pass method, and with 1,000 tags.

    python benchmarks/scoring.py ../shared/eval/github-dev.jsonl --readmes 12

Every README is scored by each way in turn, so that the ratios are of paired timings:

- `plain`: one question and one order of the list, which the README follows: README, question and
  the tree of tags in one pass;
- `90 tags`: the method of the package, with the sample vocabulary;
- `1,000 tags`: the same with the sample vocabulary and 910 names made of two parts, as topics on
  code hosts are (`python-parser`), which are searched.

It prints a Markdown table, whether the search found the ten best tags of a whole scoring for the
first README, and how long the priors took.
"""

import statistics
import sys
from collections.abc import Callable
from itertools import product

import torch

from common import SAMPLE, labelled, readmes_of, reported, timed
from tagger import Vocabulary
from tagger.methods.rank.rank import Encoded, Rank
from tagger.methods.rank.tree import Forest, TagTree
from tagger.models.language import LanguageModel
from tagger.models.load import load
from tagger.prompts.prompt import Prompt, PromptTemplate
from tagger.types import README_TOKENS

TOPICS = """
python java rust golang ruby php swift kotlin scala haskell elixir perl lua julia dart clojure
erlang fortran cobol zig react vue angular svelte django flask rails laravel spring dotnet android
ios linux windows macos docker kubernetes terraform ansible postgres mysql redis mongodb sqlite
kafka rabbitmq nginx apache robotics astronomy chemistry biology physics geography music video
audio image speech vision language math statistics economics education medicine
"""
KINDS = """
library parser client server plugin template examples bindings testing toolkit generator linter
viewer scheduler
"""


def thousand() -> Vocabulary:
    """Return the sample's tags and names made of a topic and a kind, 1,000 in all."""
    sample = [tag.label for tag in SAMPLE]
    made = [f"{topic}-{kind}" for topic, kind in product(TOPICS.split(), KINDS.split())]
    return Vocabulary.from_names((sample + made)[:1000])


def plain(model: LanguageModel, template: PromptTemplate) -> Callable[[Encoded], torch.Tensor]:
    """Return the one-pass method: the list, the README and one question in a row."""
    prompt = Prompt(template, SAMPLE, model.tokenizer)
    tree = TagTree.build(SAMPLE, model.tokenizer, prompt.openings[0])
    prefix = model.prefill([[*prompt.head, *prompt.lists[0], *prompt.bridge]])

    def score(readme: Encoded) -> torch.Tensor:
        stem = [*readme.tokens, *prompt.endings[0]]
        forest = Forest.build([stem], [tree], [torch.ones(0, dtype=torch.bool)])
        (hidden,), _ = model.forward_tree(
            prefix, forest.tokens, forest.depths, forest.ancestors, forest.visible
        )
        return forest.log_probs(model.logits(hidden[forest.output_nodes], forest.token_ids)).full

    return score


def main() -> None:
    """Time the ways and print their ratios."""
    options = labelled(__doc__, 12).parse_args()
    readmes = readmes_of(options.labels)
    topics = thousand()
    model = load(options.model)
    template = PromptTemplate.load()
    ranks = {f"{len(tags):,} tags": Rank(model, tags, template) for tags in (SAMPLE, topics)}
    for name, rank in ranks.items():
        print(
            f"{name}: list and prior (from the cache, if it is there) {timed(rank.prepare):.1f} s"
        )
    small, large = ranks.values()
    # Only whole budgets: of a short README the method's own part would be larger than it is.
    full = [readme for readme in readmes if small.encode(readme).length > 0.8 * README_TOKENS]
    pairs = [(small.encode(readme), large.encode(readme)) for readme in full[: options.readmes]]
    if not pairs:
        sys.exit(f"{options.labels}: no README fills the budget of {README_TOKENS} tokens")
    score = plain(model, template)

    seconds = []
    for few, many in pairs:
        ways = (
            lambda few=few: score(few),
            lambda few=few: small.score([few]),
            lambda many=many: large.score([many]),
        )
        seconds.append([timed(way) for way in ways])
    print("\n| | median s a README | against plain | against 90 tags |\n|---|---|---|---|")
    for column, name in enumerate(("plain", *ranks)):
        median = statistics.median(row[column] for row in seconds)
        ratios = [statistics.median(row[column] / row[base] for row in seconds) for base in (0, 1)]
        print(f"| {name} | {median:.2f} | {ratios[0]:.2f} | {ratios[1]:.2f} |")

    many = pairs[0][1]
    (ranking,) = large.score([many])
    (logits,) = large.calibration.logits(large.evidence([many]))
    by_name = {tag.name: index for index, tag in enumerate(topics)}
    best = [by_name[scored.tag.name] for scored in ranking[:10]]
    same = set(best) == set(logits.topk(10).indices.tolist())
    apart = max(
        abs(scored.logit - logits[index].item())
        for scored, index in zip(ranking, best, strict=False)
    )
    print(
        f"\nscored by the search: {len(ranking)} of 1,000; its ten best are those of scoring all: "
        f"{same}, their logits at most {apart:.3f} apart"
    )


if __name__ == "__main__":
    reported(main)
