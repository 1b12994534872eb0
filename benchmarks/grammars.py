"""Two libraries of grammars over the same schema: how long a grammar and a mask take to make.

    pip install xgrammar; python benchmarks/grammars.py --model qwen2.5-coder-0.5b

`generate` makes a new grammar after every tag, so that making one must cost little.
"""

import functools
import json
import statistics
from collections.abc import Callable

import llguidance
import xgrammar
from transformers import AutoTokenizer

from common import SAMPLE, parser, reported, timed
from scoring import thousand
from tagger.methods.written import reply as written
from tagger.models.load import locate
from tagger.types import DEFAULT_MODEL

WORDS = 151_936


def median(work: Callable[[], object]) -> float:
    """Return the median of milliseconds."""
    return 1000 * statistics.median(timed(work) for _ in range(15))


def main() -> None:
    """Measure and print a Markdown table."""
    made = parser(__doc__)
    made.add_argument("--model", default=DEFAULT_MODEL, help="whose tokenizer is used")
    tokenizer = AutoTokenizer.from_pretrained(locate(made.parse_args().model))
    ours = llguidance.LLTokenizer(tokenizer.backend_tokenizer.to_str(), n_vocab=WORDS)
    theirs = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=WORDS)
    bitmask = xgrammar.allocate_token_bitmask(1, WORDS)

    def plant(schema: str) -> llguidance.LLMatcher:
        grammar = llguidance.LLMatcher.grammar_from_json_schema(schema)
        matcher = llguidance.LLMatcher(ours, grammar)
        matcher.compute_bitmask()
        return matcher

    def compiled(schema: str) -> xgrammar.GrammarMatcher:
        compiler = xgrammar.GrammarCompiler(theirs, cache_enabled=False)
        matcher = xgrammar.GrammarMatcher(compiler.compile_json_schema(schema))
        matcher.fill_next_token_bitmask(bitmask)
        return matcher

    print("| tags | library | grammar and first mask, ms | next mask, ms |\n|---|---|---|---|")
    for vocabulary in (SAMPLE, thousand()):
        schema = json.dumps(written.schema("1375", written.names(vocabulary), 3, 1))
        matcher = plant(schema)
        matcher.consume_tokens(matcher.compute_ff_tokens())
        other = compiled(schema)
        other.accept_string(other.find_jump_forward_string())
        for name, make, mask in (
            ("llguidance", plant, lambda matcher=matcher: matcher.deep_copy().compute_bitmask()),
            (
                "xgrammar",
                compiled,
                lambda other=other: other.fill_next_token_bitmask(bitmask),
            ),
        ):
            grammar = median(functools.partial(make, schema))
            print(f"| {len(vocabulary):,} | {name} | {grammar:.2f} | {median(mask):.3f} |")


if __name__ == "__main__":
    reported(main)
