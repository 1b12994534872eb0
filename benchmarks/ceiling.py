"""How near scoring comes to what this processor can do, and where the rest of the time goes.

    python benchmarks/ceiling.py ../shared/eval/github-dev.jsonl --model qwen2.5-coder-1.5b

The ceiling is the fastest bfloat16 product of two square matrices. Against it stands the
floating-point work of the tokens that a README brings, its own and the questions', and of them
alone: two operations for each weight outside of the embeddings and each token, and those of
attention to everything that the token sees. The trees of tags, the output embedding and all that
is no arithmetic count as time without work.

Every README is scored between two products, so that a machine that slows down does so for both. It
prints the share of the ceiling, and a profile of one README by kind of operation.
"""

import functools
import statistics
import sys
from collections import Counter
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from transformers import AutoConfig

from common import SAMPLE, labelled, readmes_of, reported, timed
from tagger import Vocabulary
from tagger.methods.rank.rank import Rank
from tagger.methods.rank.tree import TagTree
from tagger.models.load import load, locate
from tagger.models.tokenizer import ChatTokenizer
from tagger.prompts.prompt import Prompt, PromptTemplate
from tagger.types import README_TOKENS

SIDE = 4096
KINDS = {
    "matrix products": ("mm", "linear"),
    "attention": ("attention",),
    "copies": ("copy", "cat", "clone", "index", "fill", "repeat", "slice"),
}


def operations(config: Any, new: int, past: int) -> float:
    """Return the floating-point operations of a causal pass of a Qwen2 model.

    Args:
        config: its shape.
        new: tokens that are read.
        past: tokens before these that each of them attends to.

    """
    width, shared = config.hidden_size, config.num_key_value_heads / config.num_attention_heads
    weights = width * width * (2 + 2 * shared) + 3 * width * config.intermediate_size
    attention = 2 * width * (past + new / 2)
    return float(2 * config.num_hidden_layers * new * (weights + attention))


def roots_of(prompt: Prompt, vocabulary: Vocabulary, tokenizer: ChatTokenizer) -> list[int]:
    """Return for each question how many tokens the model's turn is opened with."""
    trees = (TagTree.build(vocabulary, tokenizer, opening) for opening in prompt.openings)
    return [len(tree.root) for tree in trees]


def work_of(config: Any, prompt: Prompt, roots: list[int], tokens: int) -> float:
    """Return the floating-point operations that a README brings.

    Args:
        config: the model's shape.
        prompt: the prompt.
        roots: as `roots_of` gives them.
        tokens: how many the README has.

    """
    before = len(prompt.head) + len(prompt.bridge)
    total = operations(config, tokens, before + len(prompt.lists[0]))
    branches = max(len(prompt.endings), len(prompt.lists))
    for branch in range(branches):
        question, order = branch % len(prompt.endings), branch % len(prompt.lists)
        question_tokens = len(prompt.endings[question]) + roots[question]
        total += operations(config, question_tokens, before + len(prompt.lists[order]) + tokens)
    return total


def kind_of(operation: str) -> str:
    """Return the kind of an operation of PyTorch."""
    for kind, parts in KINDS.items():
        if any(part in operation for part in parts):
            return kind
    return "element by element"


def main() -> None:
    """Measure and print."""
    options = labelled(__doc__, 8).parse_args()
    readmes = readmes_of(options.labels)

    vocabulary = SAMPLE
    template = PromptTemplate.load()
    model = load(options.model)
    config = AutoConfig.from_pretrained(locate(options.model))
    rank = Rank(model, vocabulary, template)
    rank.prepare()
    prompt = Prompt(template, vocabulary, model.tokenizer)
    roots = roots_of(prompt, vocabulary, model.tokenizer)
    encoded = map(rank.encode, readmes)
    full = [one for one in encoded if len(one.tokens) > 0.8 * README_TOKENS][: options.readmes]
    if not full:
        sys.exit(f"{options.labels}: no README fills the budget of {README_TOKENS} tokens")

    square = torch.randn(SIDE, SIDE).bfloat16()
    best = functools.partial(torch.mm, square, square)
    rank.score(full[:1])
    peaks, shares, seconds = [], [], []
    for readme in full:
        peak = 2 * SIDE**3 / min(timed(best) for _ in range(3))
        took = timed(functools.partial(rank.score, [readme]))
        peaks.append(peak)
        seconds.append(took)
        shares.append(work_of(config, prompt, roots, len(readme.tokens)) / took / peak)
    print(f"{options.model}, {len(full)} READMEs, {torch.get_num_threads()} threads\n")
    print(f"ceiling: {statistics.median(peaks) / 1e12:.3f} TFLOP/s in bfloat16")
    print(f"a README: {statistics.median(seconds):.2f} s")
    print(
        f"share of the ceiling: {statistics.median(shares):.1%} "
        f"({min(shares):.1%} to {max(shares):.1%})"
    )

    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        rank.score(full[:1])
    spent: Counter[str] = Counter()
    for event in profiled.key_averages():
        spent[kind_of(event.key)] += event.self_cpu_time_total
    print("\n| kind of operation | share of the time |\n|---|---|")
    for kind, microseconds in spent.most_common():
        print(f"| {kind} | {microseconds / spent.total():.1%} |")


if __name__ == "__main__":
    reported(main)
