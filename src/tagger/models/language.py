"""A causal language model in memory: token ids in, hidden states and logits out.

It knows nothing of prompts or tags. What it has read is a `Memory`, which is never changed:
reading more gives a new one, so that one prefix serves any number of READMEs.
"""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from tagger.models.tokenizer import ChatTokenizer

Memory = tuple[tuple[Tensor, Tensor], ...]
"""Keys and values of each layer, [1, key-value heads, tokens, head size]."""


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
    def read(self, ids: list[int], memory: Memory = ()) -> tuple[Tensor, Memory]:
        """Read tokens one behind the other.

        Args:
            ids: at least one token.
            memory: what has been read before.

        Returns:
            The last token's hidden state [1, hidden], and the memory with the tokens added.

        """
        cache = self._cache(memory)
        output = self._network.base_model(
            input_ids=torch.tensor([ids], device=self.device),
            past_key_values=cache,
            use_cache=True,
        )
        return output.last_hidden_state[0, -1:], _memory(cache)

    @torch.inference_mode()
    def branch(self, tokens: Tensor, depths: Tensor, ancestry: Tensor, memory: Memory) -> Tensor:
        """Read a tree of tokens that goes on from a memory, in one pass.

        Args:
            tokens: [nodes] token of each node.
            depths: [nodes] distance from the memory's last token, from 1.
            ancestry: [nodes, nodes] true where the column is the row's node or its ancestor.
            memory: what every branch follows.

        Returns:
            [nodes, hidden] the hidden states.

        """
        past = memory[0][0].shape[-2]
        # Additive, because eager attention takes a boolean mask for numbers without a word.
        mask = torch.zeros(len(tokens), past + len(tokens), dtype=self.dtype)
        mask[:, past:].masked_fill_(~ancestry, torch.finfo(self.dtype).min)
        output = self._network.base_model(
            input_ids=tokens[None].to(self.device),
            position_ids=(past - 1 + depths)[None].to(self.device),
            attention_mask=mask[None, None].to(self.device),
            past_key_values=self._cache(memory),
            use_cache=True,
        )
        hidden: Tensor = output.last_hidden_state[0]
        return hidden

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """Return [rows, words] float32 logits of [rows, hidden] states, on the CPU.

        The product is taken in float32: bfloat16 logits between 16 and 32 are 0.125 apart, more
        than often lies between the third and the fourth tag.
        """
        return (hidden.float() @ self._head.T).cpu()

    @cached_property
    def _head(self) -> Tensor:
        """[words, hidden] output embedding in float32."""
        weight: Tensor = self._network.get_output_embeddings().weight
        return weight.detach().float()

    def _cache(self, memory: Memory) -> DynamicCache:
        cache = DynamicCache(config=self._network.config)
        for index, (keys, values) in enumerate(memory):
            cache.update(keys, values, index)
        return cache


def _memory(cache: DynamicCache) -> Memory:
    return tuple((layer.keys, layer.values) for layer in cache.layers)
