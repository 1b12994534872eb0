"""A causal language model: token ids in, hidden states and logits out.

It knows nothing of prompts or tags.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from tagger.errors import OutOfMemoryError
from tagger.models.kv import KVCache, Pairs
from tagger.models.plan import free, per_row, per_token
from tagger.models.processor import Processor
from tagger.models.recurrent import (
    Arrangement,
    Rows,
    State,
    StateLayer,
    Tree,
    recurrent_layers,
    take_arrangements,
    warn_if_slow,
)
from tagger.models.tokenizer import ChatTokenizer

_ROWS = 16
"""Rows of a pass are padded to a multiple of this. On processors without matrix tiles a product
of 799 rows took half as long again as one of 800: oneDNN finds no good blocking for odd counts."""

_NEAR = 8.0
"""Nats below a row's likeliest token down to which logits are exact. Each token further down has
less than 1/3000 of its probability."""

_MOST_TOKENS = 65_536
"""Tokens of a pass beyond which no GPU gets faster."""

_LEAST_TOKENS = 128
"""Tokens that every row of a batch has at least, with the prompt's."""

_STATES = 3
"""Copies of a row's states in recurrent layers: before a pass, during it and after it."""

_SHARE = 0.6
"""Share of the free memory that a pass may take; the rest is for masks, the output embedding and
fragmentation."""

_TOO_LARGE = "not enough memory for the README: read fewer tokens of it, or use a smaller model"


class LanguageModel:
    """A Transformers causal model and its tokenizer.

    Args:
        read_weights: returns the network; called once, when it is first needed.
        config: the network's Transformers configuration.
        tokenizer: its tokenizer.
        name: the name that the user gave.
        weights: a digest of the model's files, wherever they are.
        processor: where it runs.

    Attributes:
        name: the name that the user gave.
        weights: a digest of the model's files, wherever they are.
        machine: whatever else the output depends on: number format, kind of processor, number of
            threads, versions of the libraries.
        tokenizer: its tokenizer.
        device: the device that the input goes to.
        dtype: the number format of the weights.
        quantize: that of linear layers, where it is another.

    """

    def __init__(
        self,
        read_weights: Callable[[], Any],
        config: Any,
        tokenizer: ChatTokenizer,
        name: str,
        weights: str,
        processor: Processor,
    ) -> None:
        self._read_weights = read_weights
        self._config = config
        self.tokenizer = tokenizer
        self.name = name
        self.weights = weights
        self.machine = processor.machine
        self.device = processor.device
        self.dtype = processor.dtype
        self.quantize = processor.quantize

    def load(self) -> None:
        """Read the weights, unless that was done before.

        Raises:
            LoadError: the model's files cannot be used.
            OutOfMemoryError: it would not fit.

        """
        _ = self.network

    @cached_property
    def network(self) -> Any:
        """The Transformers model itself; reads the weights if need be, as `load` does."""
        network = self._read_weights().eval()
        if self.recurrent:
            take_arrangements(network)
            warn_if_slow(self.device)
        return network

    @cached_property
    def _cache_keyword(self) -> str:
        """What the network calls its cache: Transformers 5.24 has renamed it."""
        known = signature(type(self.network.base_model).forward).parameters
        return "cache" if "cache" in known else "past_key_values"

    @property
    def recurrent(self) -> bool:
        """Whether what some layers have read is one state, which tokens follow as a whole.

        With other models, some of what comes before a token can be hidden from it.
        """
        return bool(recurrent_layers(self._config))

    @property
    def context_length(self) -> int:
        """The longest sequence that the model was trained on, in tokens."""
        return int(self._config.max_position_embeddings)

    @property
    def feature_layer(self) -> int:
        """The layer, from 1, after which hidden states are features: at 7/8 of the depth.

        There they say more of a text than after the last layer, which is about the next token.
        """
        return max(1, 7 * int(self._config.num_hidden_layers) // 8)

    @property
    def width(self) -> int:
        """How many numbers a hidden state has."""
        return int(self._config.hidden_size)

    @property
    def vocab_size(self) -> int:
        """The number of logits, which may exceed the number of tokens."""
        return int(self._config.vocab_size)

    @torch.inference_mode()
    def prefill(self, rows: Sequence[Sequence[int]], prefix: KVCache | None = None) -> KVCache:
        """Return the KV cache of rows of tokens, each of which follows the prefix.

        Args:
            rows: each at least one token.
            prefix: what precedes every row; not part of the cache that is returned.

        Raises:
            OutOfMemoryError: the pass needs more memory than there is.

        """
        width = max(map(len, rows))
        return self._extend(rows, prefix, padded=width + -width % _ROWS)[1]

    @torch.inference_mode()
    def read(
        self, rows: Sequence[Sequence[int]], prefix: KVCache | None = None
    ) -> tuple[KVCache, Tensor]:
        """Return what `prefill` does, and the hidden states of the rows after the feature layer.

        Returns:
            The KV cache, and [rows, tokens, hidden], of which the cache's mask tells the padding.

        """
        with self._features() as features:
            cache = self.prefill(rows, prefix)
        return cache, features[0][:, : len(cache)]

    @torch.inference_mode()
    def decode(self, rows: Sequence[Sequence[int]], prefix: KVCache) -> tuple[Tensor, KVCache]:
        """Return the hidden states after the few tokens that were generated last for each row.

        Args:
            rows: each at least one token.
            prefix: what precedes each row.

        Returns:
            [rows, hidden] the hidden states of the rows' last tokens, and the KV cache of the given
            tokens alone.

        Raises:
            OutOfMemoryError: the pass needs more memory than there is.

        """
        hidden, cache = self._extend(rows, prefix, padded=max(map(len, rows)))
        last = torch.tensor([len(tokens) - 1 for tokens in rows], device=hidden.device)
        return hidden[torch.arange(len(rows), device=hidden.device), last], cache

    def _extend(
        self, rows: Sequence[Sequence[int]], prefix: KVCache | None, padded: int
    ) -> tuple[Tensor, KVCache]:
        """Run rows, padded to a width, through the model; return hidden states and KV cache."""
        width = max(map(len, rows))
        start = (
            prefix.next_position.expand(len(rows))
            if prefix
            else torch.zeros(len(rows), dtype=torch.long)
        )
        ids = torch.zeros(len(rows), padded, dtype=torch.long)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = torch.tensor(tokens)
        past = len(prefix) if prefix else 0
        visible = torch.ones(padded, past + padded, dtype=torch.bool).tril(past)
        positions = start[:, None] + torch.arange(padded)
        lengths = torch.tensor([len(tokens) for tokens in rows])
        hidden, layers, states = self._forward(ids, positions, visible, Rows(lengths), prefix)
        return hidden, KVCache(
            tuple((k[:, :, past : past + width], v[:, :, past : past + width]) for k, v in layers),
            torch.arange(width) < lengths[:, None],
            start + lengths,
            states,
        )

    @torch.inference_mode()
    def forward_tree(
        self,
        prefix: KVCache,
        tokens: Tensor,
        depths: Tensor,
        ancestors: Tensor,
        visible: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return the hidden states of a tree of tokens that follows every row of the prefix.

        Tree attention (Miao et al. 2024, "SpecInfer"): a node attends to its ancestors and to what
        it may see of the prefix, so that all continuations go through the model in one pass.

        Args:
            prefix: what precedes the tree.
            tokens: [nodes] token of each node.
            depths: [nodes] distance from the prefix's last token, from 1.
            ancestors: [nodes, nodes] true where the column is the row's node or its ancestor.
            visible: [nodes, tokens] which of the prefix's first tokens each node attends to; it
                attends to all that follow these.

        Returns:
            [rows, nodes, hidden] the hidden states of the nodes, twice: after the last layer, and
            after the feature layer.

        Raises:
            OutOfMemoryError: the pass needs more memory than there is.

        """
        nodes = len(tokens)
        padded = nodes + -nodes % _ROWS
        rows = len(prefix.next_position)
        ids = torch.zeros(rows, padded, dtype=torch.long)
        ids[:, :nodes] = tokens
        positions = prefix.next_position[:, None].repeat(1, padded)
        positions[:, :nodes] += depths - 1
        mask = torch.zeros(padded, len(prefix) + padded, dtype=torch.bool)
        mask[:nodes, : visible.shape[1]] = visible
        mask[:nodes, visible.shape[1] : len(prefix)] = True
        mask[:nodes, len(prefix) : len(prefix) + nodes] = ancestors
        lineage = torch.zeros(padded, padded, dtype=torch.bool)
        lineage[:nodes, :nodes] = ancestors
        with self._features() as features:
            hidden, *_ = self._forward(ids, positions, mask, Tree(lineage), prefix)
        return hidden[:, :nodes], features[0][:, :nodes]

    @contextmanager
    def _features(self) -> Iterator[list[Tensor]]:
        """Collect the hidden states after the feature layer of every pass."""
        collected: list[Tensor] = []

        def collect(_module: Any, _inputs: Any, output: Any) -> None:
            collected.append(output[0] if isinstance(output, tuple) else output)

        layer = self.network.base_model.layers[self.feature_layer - 1]
        handle = layer.register_forward_hook(collect)
        try:
            yield collected
        finally:
            handle.remove()

    def _forward(
        self,
        ids: Tensor,
        positions: Tensor,
        visible: Tensor,
        arrangement: Arrangement,
        prefix: KVCache | None,
    ) -> tuple[Tensor, Pairs, tuple[State, ...]]:
        """Return the last hidden states, and keys and values of the prefix and the new tokens.

        Args:
            ids: [rows, new] tokens.
            positions: [rows, new] their positions.
            visible: [new, prefix + new] which tokens each attends to, unless they are padding.
            arrangement: how they follow one another in recurrent layers.
            prefix: what precedes them.

        Returns:
            [rows, new, hidden], keys and values of attention layers, and the states that recurrent
            layers are left in.

        """
        padding_mask = torch.ones(len(ids), visible.shape[1], dtype=torch.bool)
        if prefix:
            padding_mask[:, : len(prefix)] = prefix.mask
        # Built on the device: for a batch on a GPU it has a hundred million entries. Additive,
        # because eager attention silently takes a boolean mask for numbers.
        mask = visible.to(self.device) & padding_mask.to(self.device)[:, None]
        attention_mask = torch.zeros(mask.shape, dtype=self.dtype, device=self.device)
        attention_mask.masked_fill_(~mask, torch.finfo(self.dtype).min)
        cache = DynamicCache(config=self._config)
        past = prefix.expand(len(ids)) if prefix else None
        recurrent = recurrent_layers(self._config)
        attention = [index for index in range(len(cache.layers)) if index not in recurrent]
        for index, (keys, values) in zip(attention, past.layers if past else (), strict=False):
            cache.update(keys, values, index)
        for number, index in enumerate(recurrent):
            cache.layers[index] = StateLayer(arrangement, past.states[number] if past else None)
        with _allocating():
            output = self.network.base_model(
                input_ids=ids.to(self.device),
                position_ids=positions.to(self.device),
                attention_mask=attention_mask[:, None],
                use_cache=True,
                **{self._cache_keyword: cache},
                **({"arrangement": arrangement} if recurrent else {}),
            )
        layers = tuple(
            (cache.layers[index].keys, cache.layers[index].values) for index in attention
        )
        return output.last_hidden_state, layers, tuple(cache.layers[i].state for i in recurrent)

    def batch_tokens(self) -> int | None:
        """Return how many tokens one pass may hold in the memory that is free now.

        None on a CPU, where a pass takes one README: there a larger pass is no faster, and results
        would depend on which READMEs share it.
        """
        if self.device.type != "cuda":
            return None
        cached, working = per_token(self._config)
        states = _STATES * per_row(self._config) // _LEAST_TOKENS
        bytes_each = (2 * cached + working) * self.dtype.itemsize + states
        # If the model is spread over several GPUs, the fullest one decides.
        spread = getattr(self.network, "hf_device_map", None) or {"": self.device}
        room = min(free(torch.device(device)) for device in set(spread.values()))
        return max(1, min(_MOST_TOKENS, int(_SHARE * room / bytes_each)))

    @torch.inference_mode()
    def logits(self, hidden: Tensor, exact: Tensor) -> Tensor:
        """Return [rows, vocab_size] float32 logits of [rows, hidden] states, on the model's device.

        Logits are summed in float32: those of bfloat16 are 0.125 apart between 16 and 32, often
        more than the third and the fourth tag are. CPUs have no product of bfloat16 matrices with
        a float32 result, and widening the whole output embedding would take a tenth of a README's
        time. There only what matters is widened: the tokens asked for, and those near the likeliest
        of some row. The rest is used only in sums over the whole vocabulary, where so many rounding
        errors even out.

        Args:
            hidden: the states.
            exact: [tokens] ids of the tokens whose own logits are used.

        """
        weight: Tensor = self.network.get_output_embeddings().weight
        hidden = hidden.to(weight.device)
        with _allocating():
            if weight.dtype == torch.float32:
                return hidden @ weight.T
            if weight.is_cuda:
                return torch.mm(hidden, weight.T, out_dtype=torch.float32)
            logits = (hidden @ weight.T).float()
            near = (logits > logits.amax(dim=-1, keepdim=True) - _NEAR).any(dim=0)
            near[exact] = True
            tokens = near.nonzero().squeeze(-1)
            logits[:, tokens] = hidden.float() @ weight[tokens].float().T
            return logits


@contextmanager
def _allocating() -> Iterator[None]:
    """Turn a lack of memory, on any kind of processor, into `OutOfMemoryError`."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(_TOO_LARGE) from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # from PyTorch's CPU allocator
            raise
        raise OutOfMemoryError(_TOO_LARGE) from error
