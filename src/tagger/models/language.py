"""A causal language model in memory: token ids in, hidden states and logits out.

It knows nothing of prompts or tags. What it has read is a `Memory`, which is never changed, so
that one prefix serves any number of READMEs.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from tagger.models.tokenizer import ChatTokenizer

Memory = tuple[tuple[Tensor, Tensor], ...]
"""Keys and values of each layer, [1, key-value heads, tokens, head size]."""

_ROWS = 32
"""Rows of a pass are filled up to a multiple of this. On processors without matrix tiles a product
of 799 rows took half as long again as one of 800: oneDNN finds no good blocking for odd counts."""

_HEAD_SLICE = 2048
"""Words of the output embedding that are widened at once: a slice stays in the cache."""


class LanguageModel:
    """A Transformers causal model and its tokenizer.

    Attributes:
        name: what the user called it.
        identity: changes with everything its output depends on: files, number format, kind of
            processor, number of threads, versions of the libraries.
        tokenizer: its tokenizer.

    """

    def __init__(self, network: Any, tokenizer: ChatTokenizer, name: str, identity: str) -> None:
        self._network = network.eval()
        self.tokenizer = tokenizer
        self.name = name
        self.identity = identity

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
        self, memory: Memory, trunk: Sequence[int], tokens: Tensor, depths: Tensor, ancestry: Tensor
    ) -> Tensor:
        """Read a trunk and the tree of branches that goes on from its end, in one pass.

        Args:
            memory: what comes before the trunk.
            trunk: at least one token, one behind the other.
            tokens: [nodes] token of each node of the tree.
            depths: [nodes] distance from the trunk's last token, from 1.
            ancestry: [nodes, nodes] true where the column is the row's node or its ancestor.

        Returns:
            [1 + nodes, hidden] the hidden states of the trunk's last token and of the nodes.

        """
        past, length = memory[0][0].shape[-2], len(trunk)
        filler = torch.zeros(-(length + len(tokens)) % _ROWS, dtype=torch.long)
        ids = torch.cat([torch.tensor(trunk), tokens, filler])
        positions = past + torch.cat([torch.arange(length), length - 1 + depths, filler])
        nodes = slice(length, length + len(tokens))
        visible = torch.ones(len(ids), past + len(ids), dtype=torch.bool).tril(past)
        visible[nodes, past + length : past + nodes.stop] = ancestry
        # Additive, because eager attention takes a boolean mask for numbers without a word.
        mask = torch.zeros(visible.shape, dtype=self.dtype)
        mask.masked_fill_(~visible, torch.finfo(self.dtype).min)
        output = self._network.base_model(
            input_ids=ids[None].to(self.device),
            position_ids=positions[None].to(self.device),
            attention_mask=mask[None, None].to(self.device),
            past_key_values=self._cache(memory),
            use_cache=True,
        )
        hidden: Tensor = output.last_hidden_state[0, length - 1 : nodes.stop]
        return hidden

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """Return [rows, words] float32 logits of [rows, hidden] states, on the CPU.

        The product is taken in float32: bfloat16 logits between 16 and 32 are 0.125 apart, more
        than often lies between the third and the fourth tag. The output embedding is widened a
        slice at a time, because a float32 copy would be a third of a small model's weights.
        """
        weight: Tensor = self._network.get_output_embeddings().weight
        slices = (hidden.float() @ part.float().T for part in torch.split(weight, _HEAD_SLICE))
        return torch.cat(list(slices), dim=-1).cpu()

    def _cache(self, memory: Memory) -> DynamicCache:
        cache = DynamicCache(config=self._network.config)
        for index, (keys, values) in enumerate(memory):
            cache.update(keys, values, index)
        return cache
