"""What a quantised KV cache would save: its bytes for a README beside those of the weights.

    python benchmarks/kv_cache.py

Nothing is run: tokens are counted, for the sample list and for one of 10,000 tags, and multiplied
by what a token takes in bfloat16. The last column is the most that a model's context holds, of
lists and READMEs together. It prints a Markdown table. `--model` is whose tokenizer is used.
"""

import torch

from common import SAMPLE, parser, reported
from scoring import thousand
from tagger import Vocabulary
from tagger.methods.rank.layout import Layout
from tagger.models.load import tokenizer_of
from tagger.models.plan import config_of, per_token, plan
from tagger.models.tokenizer import ChatTokenizer
from tagger.prompts.prompt import PromptTemplate
from tagger.types import DEFAULT_MODEL

MODELS = ("qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b", "Qwen/Qwen2.5-7B-Instruct")
BUDGETS = (128, 768)
KINDS = 10


def ten_thousand() -> Vocabulary:
    """Return names of a topic, a kind and a number."""
    return Vocabulary.from_names([f"{tag.label}-{n}" for tag in thousand() for n in range(KINDS)])


def main() -> None:
    """Count and print."""
    made = parser(__doc__)
    made.add_argument("--model", default=DEFAULT_MODEL, help="a model's name or folder")
    tokenizer = ChatTokenizer(tokenizer_of(made.parse_args().model))
    template, dtype = PromptTemplate.load(), torch.bfloat16
    lists = {
        len(vocabulary): sum(Layout(template, vocabulary, tokenizer).tokens.values())
        for vocabulary in (SAMPLE, ten_thousand())
    }
    for tags, tokens in lists.items():
        print(f"{tags:,} tags: {tokens:,} tokens of the prompt")
    budgets = " | ".join(f"README of {budget}" for budget in BUDGETS)
    fixed = " | ".join(f"prompt with {tags:,} tags" for tags in lists)
    print(f"\n| model | weights | a token | {budgets} | {fixed} | full context |")
    print("|---|---|---|---|---|---|---|---|")
    for name in MODELS:
        config = config_of(name)
        each = per_token(config)[0] * dtype.itemsize
        counts = (*BUDGETS, *lists.values(), config.max_position_embeddings)
        sizes = [each * tokens / 1e6 for tokens in counts]
        row = " | ".join(f"{size:,.1f} MB" for size in sizes)
        weights = plan(config, dtype).weights / 1e6
        print(f"| `{name}` | {weights:,.0f} MB | {each / 1e3:.1f} kB | {row} |")


if __name__ == "__main__":
    reported(main)
