"""How much of a GPU scoring uses: READMEs a second, share of the peak, and `generate` beside it.

    python benchmarks/gpu.py --shape 7b --readmes 256 --json

The weights are random, in the shape of Qwen2.5's models, so that nothing is fetched but the
tokenizer of a model that is there (`--tokenizer`, a folder; by default that of a pulled model).
READMEs go the way of `tagger batch`: read, tokenised ahead, gathered by length, tagged, end to end.
The work that counts is that of their own tokens and the questions' (as in `ceiling.py`); the peak
is that of a bfloat16 product of two square matrices. Beside it stands Transformers' `generate`: the
same READMEs one at a time, 24 tokens each; `times_generate` is how many times as many READMEs a
second the batch takes. On a processor without a GPU it takes the same way, and
shapes other than `tiny` take long.
"""

import functools
import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from ceiling import roots_of, work_of
from common import ROOT, SAMPLE, count, folder, parser, reported, timed
from tagger import Rank, Readme, Tagger
from tagger.batch.ledger import Ledger
from tagger.batch.pipeline import Pipeline
from tagger.models.fetch import store
from tagger.models.fetch.catalogue import catalogue
from tagger.models.language import LanguageModel
from tagger.models.processor import Processor
from tagger.models.tokenizer import ChatTokenizer
from tagger.prompts.prompt import Prompt, PromptTemplate
from tagger.readme.sources import Item
from tagger.tagging import Failure

SHAPES = {
    "7b": (28, 3584, 28, 4, 18944, 152064),
    "1.5b": (28, 1536, 12, 2, 8960, 151936),
    "0.5b": (24, 896, 14, 2, 4864, 151936),
    "tiny": (2, 64, 4, 2, 128, 151936),
}
"""Layers, hidden size, heads, key-value heads, intermediate size and vocabulary size of Qwen2.5."""

WRITTEN = 24
"""Tokens that three tags as JSON take."""


def network_of(shape: str, device: torch.device, dtype: torch.dtype) -> Any:
    """Return a random network."""
    layers, hidden, heads, shared, inner, vocab_size = SHAPES[shape]
    config = Qwen2Config(
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=heads,
        num_key_value_heads=shared,
        intermediate_size=inner,
        vocab_size=vocab_size,
        max_position_embeddings=32_768,
        rope_theta=1_000_000.0,
        dtype=dtype,
    )
    torch.manual_seed(0)
    # Made in its own format: in float32 first, the largest shape would take twice its memory.
    torch.set_default_dtype(dtype)
    try:
        with device:
            return Qwen2ForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(torch.float32)


def tokenizer_here() -> Path:
    """Return the folder of a model that is on this machine."""
    for entry in catalogue().values():
        if store.is_complete(entry):
            return store.folder(entry)
    sys.exit("no model is here whose tokenizer could be used: pass --tokenizer FOLDER")


def check_room(shape: str, device: torch.device, dtype: torch.dtype) -> None:
    """End where the weights would not fit, before the system ends this process without a word."""
    network = network_of(shape, torch.device("meta"), dtype)
    needed = sum(weight.nbytes for weight in network.parameters())
    free = (
        torch.cuda.mem_get_info(device)[0]
        if device.type == "cuda"
        else psutil.virtual_memory().available
    )
    if 1.2 * needed > free:
        sys.exit(
            f"the shape {shape} takes {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free on "
            f"{device}: choose a smaller --shape"
        )


def readmes(count: int, tokens: int) -> Iterator[Readme]:
    """Yield READMEs of about twice the budget, no two alike."""
    files = sorted((ROOT / "examples" / "readmes").glob("*.md"))
    texts = [file.read_text(encoding="utf-8") for file in files]
    for number in range(count):
        text = f"# Project {number}\n\n" + "\n\n".join(texts[number % len(texts) :] + texts)
        size = 8 * tokens  # characters, four or so a token
        yield Readme(str(number), (text * (1 + size // len(text)))[:size])


def wait(device: torch.device) -> None:
    """Wait until a GPU has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_of(device: torch.device, dtype: torch.dtype) -> float:
    """Return the operations a second of a large matrix product."""
    side = 8192 if device.type == "cuda" else 2048
    square = torch.randn(side, side, device=device).to(dtype)

    def product() -> None:
        torch.mm(square, square)
        wait(device)

    return 2 * side**3 / min(timed(product) for _ in range(10))


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("--shape", choices=SHAPES, default="7b", help="of Qwen2.5's models, or tiny")
    made.add_argument("--readmes", type=count, default=256, help="READMEs of the batch")
    made.add_argument("--readme-tokens", type=count, default=1000, help="tokens of each")
    made.add_argument("--generated", type=count, default=8, help="READMEs for generate")
    made.add_argument("--tokenizer", type=folder, help="folder of a model's tokenizer")
    made.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="where to run")
    made.add_argument("--json", action="store_true", help="print JSON")
    options = made.parse_args()

    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("there is no GPU here; --device cpu --shape tiny shows that the script works")
    processor = Processor.choose(options.device)
    device, dtype = processor.device, processor.dtype
    tokenizer = AutoTokenizer.from_pretrained(options.tokenizer or tokenizer_here())
    check_room(options.shape, device, dtype)
    network = network_of(options.shape, device, dtype)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    # The name of the weights keeps the caches of the shapes apart.
    weights = f"random {options.shape}"
    chat_tokenizer = ChatTokenizer(tokenizer)
    model = LanguageModel(
        lambda: network, network.config, chat_tokenizer, options.shape, weights, processor
    )
    vocabulary = SAMPLE
    method = Rank(model, vocabulary, readme_tokens=options.readme_tokens)
    method.prepare()

    def tag(count: int) -> int:
        """Tag READMEs the way of a batch; return how many tokens were read of them."""
        items = (
            Item(readme.id, readme.id, functools.partial(lambda same: same, readme))
            for readme in readmes(count, options.readme_tokens)
        )
        with Ledger(None) as ledger:
            ledger.use(method.identity, method.reading_identity)
            rows = list(Pipeline(Tagger(method), ledger).rows(items))
        wait(device)
        failed = [row.reply for row in rows if isinstance(row.reply, Failure)]
        if failed:
            sys.exit(f"{len(failed)} READMEs failed: {failed[0].message}")
        return sum(row.tokens for row in rows)

    tag(min(options.readmes, 32))  # kernels are chosen and memory is taken the first time
    start = time.perf_counter()
    tokens = tag(options.readmes)
    seconds = time.perf_counter() - start
    peak = peak_of(device, dtype)

    prompt = Prompt(PromptTemplate.load(), vocabulary, model.tokenizer)
    roots = roots_of(prompt, vocabulary, model.tokenizer)
    work = options.readmes * work_of(network.config, prompt, roots, round(tokens / options.readmes))

    before = [*prompt.head, *prompt.lists[0], *prompt.bridge]
    written = []
    for readme in readmes(options.generated, options.readme_tokens):

        def generate(readme: Readme = readme) -> None:
            cut = prompt.fit(readme.plain_text, options.readme_tokens)
            ids = [*before, *cut, *prompt.endings[0]]
            prompted = torch.tensor([ids], device=device)
            network.generate(
                input_ids=prompted,
                attention_mask=torch.ones_like(prompted),
                min_new_tokens=WRITTEN,
                max_new_tokens=WRITTEN,
                do_sample=False,
                pad_token_id=0,
            )
            wait(device)

        written.append(timed(generate))

    found = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "shape": options.shape,
        "readmes": options.readmes,
        "tokens_per_readme": tokens / options.readmes,
        "readmes_per_second": options.readmes / seconds,
        "peak_tflops": peak / 1e12,
        "share_of_peak": work / seconds / peak,
        "generate_seconds": statistics.median(written),
        "times_generate": statistics.median(written) * options.readmes / seconds,
    }
    if device.type == "cuda":
        found["peak_memory_gb"] = torch.cuda.max_memory_allocated(device) / 1e9
    if options.json:
        print(json.dumps(found))
    else:
        print("\n".join(f"{name}: {value}" for name, value in found.items()))


if __name__ == "__main__":
    reported(main)
