"""A causal language model in memory: token ids in, hidden states and logits out.

It knows nothing of prompts or tags. What it has read is a `Memory`, which is never changed, so
that one prefix serves any number of READMEs.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from tagger.errors import OutOfMemoryError
from tagger.models.tokenizer import ChatTokenizer

Memory = tuple[tuple[Tensor, Tensor], ...]
"""Keys and values of each layer, [1, key-value heads, tokens, head size]."""

_ROWS = 32
"""Rows of a pass are filled up to a multiple of this. On processors without matrix tiles a product
of 799 rows took half as long again as one of 800: oneDNN finds no good blocking for odd counts."""

_HEAD_SLICE = 2048
"""Words of the output embedding that are widened at once: a slice stays in the cache."""

_MOST_TOKENS = 65_536
"""Tokens of a pass beyond which no GPU gets faster."""

_SHARE = 0.6
"""Of the free memory; the rest is for masks, the output embedding and what fragments."""

_TOO_LARGE = "not enough memory for the README: lower --readme-tokens, or use a smaller model"


class LanguageModel:
    """A Transformers causal model and its tokenizer.

    Attributes:
        name: what the user called it.
        weights: changes with the model's files, wherever they lie.
        machine: changes with what else its output depends on: number format, kind of processor,
            number of threads, versions of the libraries.
        tokenizer: its tokenizer.

    """

    def __init__(
        self, network: Any, tokenizer: ChatTokenizer, name: str, weights: str, machine: str
    ) -> None:
        self._network = network.eval()
        self.tokenizer = tokenizer
        self.name = name
        self.weights = weights
        self.machine = machine

    @property
    def context_length(self) -> int:
        """The number of tokens that the model was trained to see at once."""
        return int(self._network.config.max_position_embeddings)

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the weights."""
        dtype: torch.dtype = self._network.dtype
        return dtype

    @property
    def device(self) -> torch.device:
        """Where the input goes."""
        device: torch.device = self._network.device
        return device

    @torch.inference_mode()
    def read(self, ids: Sequence[int]) -> Memory:
        """Read tokens one behind the other, and return what is to be remembered of them."""
        cache = self._cache(())
        self._network.base_model(
            input_ids=torch.tensor([ids], device=self.device), past_key_values=cache, use_cache=True
        )
        return tuple((layer.keys, layer.values) for layer in cache.layers)

    @torch.inference_mode()
    def branch(
        self,
        memory: Memory,
        trunks: Sequence[Sequence[int]],
        tokens: Tensor,
        depths: Tensor,
        ancestry: Tensor,
    ) -> Tensor:
        """Read trunks, and the tree of branches that goes on from the end of each, in one pass.

        Args:
            memory: what comes before every trunk.
            trunks: each at least one token, one behind the other.
            tokens: [nodes] token of each node of the tree.
            depths: [nodes] distance from the trunk's last token, from 1.
            ancestry: [nodes, nodes] true where the column is the row's node or its ancestor.

        Returns:
            [trunks, 1 + nodes, hidden] the hidden states of each trunk's last token and of the
            nodes behind it.

        Raises:
            OutOfMemoryError: the pass needs more memory than there is.

        """
        past = memory[0][0].shape[-2]
        width = max(map(len, trunks)) + len(tokens)
        width += -width % _ROWS
        ids = torch.zeros(len(trunks), width, dtype=torch.long)
        positions = torch.full_like(ids, past)
        visible = torch.ones(width, past + width, dtype=torch.bool).tril(past)
        visible = visible.repeat(len(trunks), 1, 1)
        for row, trunk in enumerate(trunks):
            nodes = slice(len(trunk), len(trunk) + len(tokens))
            ids[row, : len(trunk)] = torch.tensor(trunk)
            ids[row, nodes] = tokens
            positions[row, : len(trunk)] += torch.arange(len(trunk))
            positions[row, nodes] += len(trunk) - 1 + depths
            visible[row, nodes, past + nodes.start : past + nodes.stop] = ancestry
        # Additive, because eager attention takes a boolean mask for numbers without a word.
        mask = torch.zeros(visible.shape, dtype=self.dtype)
        mask.masked_fill_(~visible, torch.finfo(self.dtype).min)
        with _allocating():
            output = self._network.base_model(
                input_ids=ids.to(self.device),
                position_ids=positions.to(self.device),
                attention_mask=mask[:, None].to(self.device),
                past_key_values=self._cache(memory, len(trunks)),
                use_cache=True,
            )
            rows = zip(output.last_hidden_state, trunks, strict=True)
            return torch.stack([row[len(t) - 1 : len(t) + len(tokens)] for row, t in rows])

    def batch_tokens(self) -> int | None:
        """Return how many tokens one pass may hold in the memory that is free now.

        None on processors other than GPUs, where a pass takes one README: there a larger one is
        no faster, and its results would depend on what is read together.
        """
        if self.device.type != "cuda":
            return None
        config = self._network.config
        heads = config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // heads
        kept = 2 * config.num_hidden_layers * config.num_key_value_heads * size
        # What one layer holds at once, by its largest step: gate, up and their product, and the
        # few copies of hidden states and attention heads that live beside them.
        working = 4 * config.intermediate_size + 6 * config.hidden_size + 4 * heads * size
        per_token = (2 * kept + working) * self.dtype.itemsize
        free, _ = torch.cuda.mem_get_info(self.device)
        return max(1, min(_MOST_TOKENS, int(_SHARE * free / per_token)))

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """Return [rows, words] float32 logits of [rows, hidden] states, on the CPU.

        The product is taken in float32: bfloat16 logits between 16 and 32 are 0.125 apart, more
        than often lies between the third and the fourth tag. The output embedding is widened a
        slice at a time, because a float32 copy would be a third of a small model's weights.
        """
        weight: Tensor = self._network.get_output_embeddings().weight
        with _allocating():
            slices = (hidden.float() @ part.float().T for part in torch.split(weight, _HEAD_SLICE))
            return torch.cat(list(slices), dim=-1).cpu()

    def _cache(self, memory: Memory, rows: int = 1) -> DynamicCache:
        cache = DynamicCache(config=self._network.config)
        for index, layer in enumerate(memory):
            keys, values = (part.expand(rows, -1, -1, -1) for part in layer)
            cache.update(keys, values, index)
        return cache


@contextmanager
def _allocating() -> Iterator[None]:
    """Tell lack of memory from other failures, on whichever processor."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(_TOO_LARGE) from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # the words of PyTorch's CPU allocator
            raise
        raise OutOfMemoryError(_TOO_LARGE) from error
