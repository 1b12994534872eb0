"""What a README costs with recurrent layers: against full attention in a model of the same size.

    python benchmarks/hybrid.py ../shared/eval/github-dev.jsonl --readmes 5

Two networks with random weights and as many parameters: one of the shape of Qwen3.5-0.8B, in which
three of four layers are recurrent, and one of Qwen3's architecture of the same width, depth and
vocabulary. READMEs that fill the budget are scored by each in turn, so that the ratios are of
paired timings: by both questions and the whole tree of tags (`all`), and as a brief head needs it,
by one question without a tree (`brief`). The lists of tags are prefilled before.

It prints a Markdown table. `--model` is whose tokenizer is used.
"""

import os
import statistics
import tempfile
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from common import SAMPLE, labelled, readmes_of, reported, timed
from tagger.errors import UsageError
from tagger.methods.rank.layout import Layout
from tagger.methods.rank.passes import Passes
from tagger.models.language import LanguageModel
from tagger.models.load import tokenizer_of
from tagger.models.plan import ATTENTION, config_of, plan
from tagger.models.processor import Processor
from tagger.models.shape import native
from tagger.models.tokenizer import ChatTokenizer
from tagger.prompts.prompt import PromptTemplate
from tagger.types import README_TOKENS

HYBRID = "Qwen/Qwen3.5-0.8B"


def attentive(config: Any) -> Any:
    """Return the configuration of a Qwen3 with as many parameters as a hybrid."""
    stated = {
        "model_type": "qwen3",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": config.max_position_embeddings,
        "tie_word_embeddings": config.tie_word_embeddings,
    }
    wanted, there = (plan(each, torch.float32).parameters for each in (config, native(stated)))
    of_width = 3 * config.hidden_size * config.num_hidden_layers
    return native(
        stated | {"intermediate_size": stated["intermediate_size"] + (wanted - there) // of_width}
    )


def random_model(config: Any, tokenizer: ChatTokenizer, processor: Processor) -> LanguageModel:
    """Return a model with random weights."""
    torch.manual_seed(0)
    with processor.device:
        network = AutoModelForCausalLM.from_config(
            config, dtype=processor.dtype, attn_implementation=ATTENTION
        )
    return LanguageModel(lambda: network, config, tokenizer, "random", "random", processor)


def main() -> None:
    """Time both networks and print the ratio."""
    options = labelled(__doc__, 5)
    options.add_argument("--device", default="auto", help="where they run")
    options.add_argument("--dtype", default="auto", help="the number format of the weights")
    chosen = options.parse_args()
    tokenizer = ChatTokenizer(tokenizer_of(chosen.model))
    processor = Processor.choose(chosen.device, chosen.dtype)
    template = PromptTemplate.load()
    hybrid = config_of(HYBRID)
    models = {
        "hybrid": random_model(hybrid, tokenizer, processor),
        "attention": random_model(attentive(hybrid), tokenizer, processor),
    }
    for name, model in models.items():
        size = sum(weight.numel() for weight in model.network.parameters())
        print(f"{name}: {size / 1e9:.3f} B parameters, {processor.dtype}, {processor.device}")

    with tempfile.TemporaryDirectory() as folder:
        os.environ["TAGGER_HOME"] = folder  # for the lists of random models
        passes = {}
        for name, model in models.items():
            layout = Layout(template, SAMPLE, tokenizer, one_list=model.recurrent)
            passes[name] = Passes(model, layout, name)
            passes[name].prepare()
        fit = layout.prompt.fit
        encoded = [fit(readme.plain_text, README_TOKENS) for readme in readmes_of(chosen.labels)]
        full = [tokens for tokens in encoded if len(tokens) > 0.8 * README_TOKENS]
        if not full:
            raise UsageError(
                f"{chosen.labels}: no README fills the budget of {README_TOKENS} tokens"
            )
        print("\n| | hybrid, s a README | attention, s a README | ratio |\n|---|---|---|---|")
        for what, brief in (("all", False), ("brief", True)):
            rows = []
            for tokens in full[:1] + full[: chosen.readmes]:  # the first one warms up
                rows.append(
                    [
                        timed(lambda: each.read_and_score(tokens, brief=brief))  # noqa: B023
                        for each in passes.values()
                    ]
                )
            seconds = [statistics.median(column) for column in zip(*rows[1:], strict=True)]
            ratio = statistics.median(row[0] / row[1] for row in rows[1:])
            print(f"| {what} | {seconds[0]:.2f} | {seconds[1]:.2f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    reported(main)
