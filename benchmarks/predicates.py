"""How well probabilities of yes separate true statements about READMEs from false ones.

    python benchmarks/predicates.py ../shared/eval/github-dev.jsonl --model qwen2.5-coder-0.5b

Twelve statements are put about the beginnings of six READMEs, as `tagger serve` asks `predicate`
and `noul` questions, and with `--prompts 3` in other words too. It prints the area under the ROC
curve (AUC: how often a true statement gets a higher probability than a false one), over all pairs
of a statement and a README, and as the mean over statements (the same statement about two READMEs)
and over READMEs (two statements about the same README), and what the shipped way gives true and
false ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from common import SAMPLE, count, file, parser, reported
from tagger import Vocabulary
from tagger.evaluation.labels import load_labels
from tagger.methods.rank.calibration import Calibration
from tagger.methods.rank.choice import TEMPLATE
from tagger.methods.rank.evidence import Evidence, TagLogProbs
from tagger.methods.rank.layout import Layout
from tagger.methods.rank.passes import Passes
from tagger.methods.rank.prior import CONTENT_FREE
from tagger.models.language import LanguageModel
from tagger.models.load import load
from tagger.prompts.prompt import PromptTemplate

READMES = (
    "alacritty/alacritty",
    "AntennaPod/AntennaPod",
    "ben-manes/caffeine",
    "caddyserver/caddy",
    "eclipse-mosquitto/mosquitto",
    "encode/django-rest-framework",
)
CHARACTERS = 1200
"""What is read of a README's plain text; the truth below is about that."""

STATEMENTS = {
    "This project is a terminal emulator.": {"alacritty/alacritty"},
    "This project is an app for Android.": {"AntennaPod/AntennaPod"},
    "This project is a caching library.": {"ben-manes/caffeine"},
    "This project is a web server.": {"caddyserver/caddy"},
    "This project is a message broker.": {"eclipse-mosquitto/mosquitto"},
    "This project helps to build web APIs.": {"encode/django-rest-framework"},
    "It renders with OpenGL.": {"alacritty/alacritty"},
    "It is for listening to podcasts.": {"AntennaPod/AntennaPod"},
    "The example is written in Java.": {"ben-manes/caffeine"},
    "It supports HTTP/3.": {"caddyserver/caddy"},
    "It speaks the MQTT protocol.": {"eclipse-mosquitto/mosquitto"},
    "It requires Python 3.10 or later.": {"encode/django-rest-framework"},
}
PROMPTS = ("after the text", "before and after", "as a question, after")


@dataclass(frozen=True)
class Scores:
    """The log-probabilities of yes and no.

    Attributes:
        texts: for each README, [READMEs, branches, 2].
        free: for the content-free texts, their mean [branches, 2].
        empty: for an empty text, [branches, 2].

    """

    texts: TagLogProbs
    free: TagLogProbs
    empty: TagLogProbs


def template_of(prompt: str, statement: str) -> PromptTemplate:
    """Return the prompt for a statement."""
    template = PromptTemplate.load(default=TEMPLATE)
    (question,) = template.questions
    if prompt == PROMPTS[2]:
        statement = f"Is this true of the text: {statement}"
    ask = f"{statement}\n\n{question.ask}"
    user = template.user
    if prompt == PROMPTS[1]:
        user = user.replace("The text:", f"{statement}\n\nThe text:")
    return replace(template, user=user, questions=(replace(question, ask=ask),))


def scores_of(model: LanguageModel, template: PromptTemplate, texts: Sequence[str]) -> Scores:
    """Return the log-probabilities of yes and no for texts, and for none."""
    layout = Layout(template, Vocabulary.from_names(["yes", "no"]), model.tokenizer)
    passes = Passes(model, layout, key=None)

    def score(text: str) -> TagLogProbs:
        return passes.read_and_score(model.tokenizer.encode(text))[0]

    free = TagLogProbs.cat([score(text) for text in CONTENT_FREE]).mean()
    return Scores(TagLogProbs.cat([score(text) for text in texts]), free, score(" ").mean())


def logits(calibration: Calibration, scores: Scores, prior: TagLogProbs, weight: float) -> Tensor:
    """Return the logit of yes for each README, with a part of a prior subtracted."""
    weighed = replace(calibration, prior_weight=weight)
    mentions = torch.zeros(len(scores.texts.full), 2, 2)
    margins = weighed.margins(Evidence(scores.texts, prior, mentions=mentions, limit=None))
    return margins[:, 0] - margins[:, 1]


def ways(calibration: Calibration, scores: Scores) -> dict[str, Tensor]:
    """Return the logits of yes for each README by each way of combining scores."""
    weight = calibration.prior_weight
    orders = scores.texts.full - weight * scores.free.full
    return {
        "part of the prior": logits(calibration, scores, scores.free, weight),
        "no prior": logits(calibration, scores, scores.free, 0.0),
        "whole prior": logits(calibration, scores, scores.free, 1.0),
        "whole prior of an empty text": logits(calibration, scores, scores.empty, 1.0),
        "part of the prior, orders averaged as logits": (orders[..., 0] - orders[..., 1]).mean(-1),
    }


def auc(found: Tensor, true: Tensor) -> float:
    """Return how often a true statement is above a false one; ties count half."""
    differences = found[true].unsqueeze(1) - found[~true]
    return float(((differences > 0).double() + (differences == 0).double() / 2).mean())


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("labels", type=file, help="JSON Lines of id, readme and tags")
    made.add_argument("--model", default="qwen2.5-coder-0.5b", help="a model's name or folder")
    made.add_argument(
        "--prompts",
        type=count,
        default=1,
        help=f"how many of these, in order: {'; '.join(PROMPTS)}",
    )
    options = made.parse_args()
    by_id = {label.id: label for label in load_labels(options.labels, SAMPLE)}
    texts = [by_id[id_].to_readme().plain_text[:CHARACTERS] for id_ in READMES]
    true = torch.tensor([[id_ in of for id_ in READMES] for of in STATEMENTS.values()])
    model = load(options.model)
    calibration = Calibration.shipped(model.name)
    print("| the statement | the scores | AUC | of one statement | of one README |")
    print("|---|---|---|---|---|", flush=True)
    for prompt in PROMPTS[: options.prompts]:
        scores = [scores_of(model, template_of(prompt, each), texts) for each in STATEMENTS]
        rows = [ways(calibration, each) for each in scores]
        for way in rows[0]:
            found = torch.stack([row[way] for row in rows])
            areas = [auc(found, true)]
            for table, truth in ((found, true), (found.T, true.T)):
                each = [auc(row, right) for row, right in zip(table, truth, strict=True)]
                areas.append(sum(each) / len(each))
            print(
                f"| {prompt} | {way} | " + " | ".join(f"{area:.2f}" for area in areas) + " |",
                flush=True,
            )
            if (prompt, way) == (PROMPTS[0], next(iter(rows[0]))):
                shipped = found.sigmoid()
    for name, of in (("true", shipped[true]), ("false", shipped[~true])):
        low, middle, high = of.quantile(torch.tensor([0.1, 0.5, 0.9])).tolist()
        print(f"{name}: median {middle:.2f}, 80 % between {low:.2f} and {high:.2f}")


if __name__ == "__main__":
    reported(main)
