"""`tagger` beside what people would use in its place, on the same READMEs, weights and budget.

    python benchmarks/peers.py ../shared/eval/github-dev.jsonl --model qwen2.5-coder-0.5b \
        --gguf MODEL.gguf --llama-python LLAMA/bin/python --minilm FOLDER --readmes 20 --plain 6

The peers are

- `tagger --method generate`: the same model, its reply written under a grammar;
- `llama.cpp`: the model's own GGUF file, greedy, held to a JSON schema whose tags are an enum of
  the vocabulary, everything before the README kept from one README to the next. It runs in an
  environment of its own (`pip install llama-cpp-python`, which builds it for this processor);
- `plain`: Transformers' `generate` with the prompt as people write it, README first, greedy, the
  reply read leniently;
- `embeddings`: the cosine of a small embedding model between the README and "a software repository
  about TAG".

All see the README as `tagger` cleans and cuts it, and only `tagger` spends time on that; llama.cpp
comes once for each of several budgets. Every README goes through each peer in turn before the next
one, so that the ratios are of paired timings. It prints a Markdown table of speed and accuracy;
accuracy is that of `tagger eval`, over those READMEs that the peer has seen. The built-in heads
have seen the labels of the shared sets: `frontier.py` says how accurate they are elsewhere.
"""

import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from common import ROOT, count, file, folder, labelled, reported
from tagger import Generate, Rank, Readme, Selection, Tagger, Vocabulary
from tagger.evaluation.labels import Label, load_labels
from tagger.evaluation.measures import judge, measure
from tagger.models.load import load, locate
from tagger.prompts.prompt import Prompt, PromptTemplate
from tagger.types import EFFORTS, README_TOKENS
from tagger.vocabulary import fold

LLAMA = Path(__file__).with_name("llama_peer.py")

Reply = list[str]
"""Names of tags, the surest first; empty where a reply cannot be read."""

SHOWN = {
    "precision_at_1_strict": "precision@1 strict",
    "precision_at_1_lenient": "precision@1 lenient",
    "hit_at_3": "hit@3",
    "precision_given": "precision (given)",
    "f1_given": "F1 (given)",
}
"""Measures of `tagger eval`, and what the table calls them."""

PLAIN_TOKENS = 96
"""More than three tags as JSON take; a reply that rambles on is cut."""

EMBEDDED_TOKENS = 256
"""What the embedding model was trained on."""

GIVEN = 3


class Peer:
    """One way to tag: a name, what it makes of a README and its cut text, and what it took."""

    def __init__(
        self,
        name: str,
        reply: Callable[[Readme, str], Reply],
        readme_tokens: int = README_TOKENS,
        *,
        most: int | None = None,
        judged: bool = True,
    ) -> None:
        self.name = name
        self.readme_tokens = readme_tokens
        self.judged = judged
        self.seconds: list[float] = []
        self.replies: list[Reply] = []
        self._reply = reply
        self._most = most

    def take(self, readme: Readme, cut: str) -> None:
        """Tag a README, unless this peer has had as many as it shall."""
        if self._most is not None and len(self.replies) >= self._most:
            return
        start = time.perf_counter()
        self.replies.append(self._reply(readme, cut))
        self.seconds.append(time.perf_counter() - start)


def tagged_by(method: Rank | Generate) -> Callable[[Readme, str], Reply]:
    """Return the product, one README at a time."""
    method.prepare()
    product: Tagger[Any] = Tagger(method, Selection(max_tags=GIVEN))

    def reply(readme: Readme, _: str) -> Reply:
        (tagging,) = product.tag([readme])
        return [tag.name.strip() for tag in tagging.tags]

    return reply


def llama(python: Path, gguf: Path, vocabulary: Vocabulary) -> Callable[[Readme, str], Reply]:
    """Start llama.cpp in its own environment and return what asks it."""
    names = [tag.label for tag in vocabulary]
    process = subprocess.Popen(
        [str(python), str(LLAMA), str(gguf), str(torch.get_num_threads())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout

    def tell(value: object) -> Any:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(value) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            sys.exit("llama.cpp ended: see its message above")
        return json.loads(line)

    print(f"\nllama.cpp: {tell(names)}", flush=True)

    def reply(_: Readme, cut: str) -> Reply:
        return list(tell(cut)["tags"])

    return reply


def plain(name: str, vocabulary: Vocabulary) -> Callable[[Readme, str], Reply]:
    """Return `generate` with a prompt as people write it."""
    folder = locate(name)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    listed = json.dumps([{"id": tag.id, "name": tag.name} for tag in vocabulary])
    names = {fold(tag.name): tag.label for tag in vocabulary}

    def reply(_: Readme, cut: str) -> Reply:
        asked = (
            f"{cut}\n\nGiven this README give me at most 3 tags for the repository, only from the "
            f"tags list I provide: {listed}\n\nreturns me the expected json, nothing else, as "
            '{"id": "1375", "tags": [{"id": 1, "name": "example"}]}'
        )
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": asked}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        written = network.generate(**ids, max_new_tokens=PLAIN_TOKENS, do_sample=False)
        said = tokenizer.decode(written[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
        # Whatever is quoted and is a tag counts, in whatever shape it stands.
        quoted = map(fold, re.findall(r'"([^"]+)"', said))
        return [names[found] for found in dict.fromkeys(quoted) if found in names][:GIVEN]

    return reply


def embeddings(folder: Path, vocabulary: Vocabulary) -> Callable[[Readme, str], Reply]:
    """Return the cosine of a small embedding model."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModel.from_pretrained(folder).eval()

    @torch.inference_mode()
    def embed(texts: list[str]) -> torch.Tensor:
        tokens = tokenizer(
            texts, padding=True, truncation=True, max_length=EMBEDDED_TOKENS, return_tensors="pt"
        )
        mask = tokens["attention_mask"].unsqueeze(-1)
        states = network(**tokens).last_hidden_state
        return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)

    names = [tag.label for tag in vocabulary]
    tags = embed([f"a software repository about {name}" for name in names])

    def reply(_: Readme, cut: str) -> Reply:
        best = (tags @ embed([cut])[0]).topk(GIVEN).indices.tolist()
        return [names[index] for index in best]

    return reply


def accuracy(labels: list[Label], replies: list[Reply], vocabulary: Vocabulary) -> dict[str, float]:
    """Return the measures of replies, ranked in the order that they name tags in."""
    place = {fold(tag.name): index for index, tag in enumerate(vocabulary)}
    ranked = np.zeros((len(replies), len(vocabulary)))
    for row, names in enumerate(replies):
        for rank, name in enumerate(names):
            ranked[row, place[fold(name)]] = max(ranked[row, place[fold(name)]], 1 / (1 + rank))
    return measure(judge(labels[: len(replies)], vocabulary, ranked, ranked > 0))


def main() -> None:
    """Time the peers and print the table."""
    parser = labelled(__doc__, 20)
    parser.add_argument("--tags", type=file, default=ROOT / "tags.json", help="the vocabulary")
    parser.add_argument("--plain", type=int, default=6, help="READMEs for the plain prompt")
    parser.add_argument("--generate", action="store_true", help="with the product's own generate")
    parser.add_argument("--gguf", type=file, help="the model's GGUF file, for llama.cpp")
    parser.add_argument(
        "--llama-python", type=file, help="the Python that has llama-cpp-python, with --gguf"
    )
    parser.add_argument(
        "--budgets", type=count, nargs="+", default=(64, 128, 768), help="llama.cpp's README tokens"
    )
    parser.add_argument("--minilm", type=folder, help="folder of the embedding model")
    options = parser.parse_args()
    if bool(options.gguf) != bool(options.llama_python):
        parser.error("--gguf and --llama-python go together")

    vocabulary = Vocabulary.load(options.tags)
    # Every so many, because the labels lie in an order of their own.
    rows = load_labels(options.labels, vocabulary)
    rows = rows[:: max(1, len(rows) // options.readmes)][: options.readmes]
    model = load(options.model)
    prompt = Prompt(PromptTemplate.load(), vocabulary, model.tokenizer)

    peers = []
    for name, effort in reversed(EFFORTS.items()):
        if effort.model == options.model:
            budget = effort.readme_tokens
            rank = Rank(model, vocabulary, readme_tokens=budget)
            peers.append(Peer(f"`tagger`, {name}", tagged_by(rank), budget, judged=False))
    peers.append(Peer("`tagger`, no head", tagged_by(Rank(model, vocabulary, head=None))))
    if options.generate:
        peers.append(Peer("`tagger`, `generate`", tagged_by(Generate(model, vocabulary))))
    if options.gguf:
        # A process each: in one, a longer part of a README would go on where a shorter one ended.
        for budget in options.budgets:
            asked = llama(options.llama_python, options.gguf, vocabulary)
            peers.append(Peer("llama.cpp, grammar", asked, budget))
    if options.plain:
        written = plain(options.model, vocabulary)
        peers.append(Peer("plain prompt, `generate`", written, most=options.plain))
    if options.minilm:
        peers.append(Peer("embeddings", embeddings(options.minilm, vocabulary)))

    for number, row in enumerate(rows, start=1):
        readme = row.to_readme()
        for peer in peers:
            tokens = prompt.fit(readme.plain_text, peer.readme_tokens)
            peer.take(readme, model.tokenizer.decode(tokens))
        print(f"\r{number} of {len(rows)}", end="", file=sys.stderr, flush=True)

    print(
        f"\n{options.model} in {model.dtype}, {len(rows)} READMEs, "
        f"{torch.get_num_threads()} threads\n"
    )
    headings = "| | README tokens | READMEs | median s | times as long as the first |"
    print(f"{headings} {' | '.join(SHOWN.values())} |")
    print(f"|---|---|---|---|---|{'---|' * len(SHOWN)}")
    ours = peers[0].seconds
    for peer in peers:
        found = accuracy(rows, peer.replies, vocabulary)
        longer = statistics.median(
            theirs / mine for theirs, mine in zip(peer.seconds, ours, strict=False)
        )
        cells = [f"{found[name]:.2f}" if name in found else "none" for name in SHOWN]
        if not peer.judged:
            cells = ["–"] * len(cells)
        print(
            f"| {peer.name} | {peer.readme_tokens} | {len(peer.replies)} "
            f"| {statistics.median(peer.seconds):.2f} | {longer:.2f} | {' | '.join(cells)} |"
        )
    print("\nRatios are medians over the READMEs that both had.")


if __name__ == "__main__":
    reported(main)
