"""A causal language model in memory: token ids in, hidden states and logits out.

It knows nothing of prompts or tags. What it has read is a `Memory`, which is never changed, so
that what many READMEs have in common is read once. Memories that were read apart can be joined:
what goes on from there sees them side by side.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from tagger.errors import OutOfMemoryError
from tagger.models.plan import free, per_token
from tagger.models.tokenizer import ChatTokenizer

_ROWS = 32
"""Rows of a pass are filled up to a multiple of this. On processors without matrix tiles a product
of 799 rows took half as long again as one of 800: oneDNN finds no good blocking for odd counts."""

_NEAR = 8.0
"""Nats below a row's likeliest word down to which logits are exact. Each word further down has less
than 1/3000 of its probability."""

_MOST_TOKENS = 65_536
"""Tokens of a pass beyond which no GPU gets faster."""

_SHARE = 0.6
"""Of the free memory; the rest is for masks, the output embedding and what fragments."""

_TOO_LARGE = "not enough memory for the README: lower --readme-tokens, or use a smaller model"


@dataclass(frozen=True)
class Memory:
    """What a model remembers of tokens that it has read.

    Attributes:
        layers: keys and values of each layer, [rows, key-value heads, tokens, head size].
        present: [rows, tokens] false where a row was only filled up.
        ends: [rows] the position behind each row's last token.

    """

    layers: tuple[tuple[Tensor, Tensor], ...]
    present: Tensor
    ends: Tensor

    def __len__(self) -> int:
        """Return the number of tokens of a row, the filled up ones included."""
        return self.present.shape[1]

    def expand(self, rows: int) -> "Memory":
        """Return the memory of one row as that of many, which share it."""
        if self.present.shape[0] == rows:
            return self
        layers = tuple(
            (keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1))
            for keys, values in self.layers
        )
        return Memory(layers, self.present.expand(rows, -1), self.ends.expand(rows))

    def select(self, rows: Sequence[int]) -> "Memory":
        """Return the memory of some rows."""
        at = list(rows)
        layers = tuple((keys[at], values[at]) for keys, values in self.layers)
        return Memory(layers, self.present[at], self.ends[at])


def join(*memories: Memory) -> Memory:
    """Put memories side by side, in this order; what goes on stands behind the furthest end.

    Those of one row are shared by all rows of the others.
    """
    rows = max(len(memory.ends) for memory in memories)
    parts = [memory.expand(rows) for memory in memories]
    layers = tuple(
        (torch.cat([keys for keys, _ in layer], -2), torch.cat([values for _, values in layer], -2))
        for layer in zip(*(part.layers for part in parts), strict=True)
    )
    present = torch.cat([part.present for part in parts], dim=1)
    return Memory(layers, present, torch.stack([part.ends for part in parts]).amax(0))


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
    def words(self) -> int:
        """The number of logits."""
        return int(self._network.get_output_embeddings().weight.shape[0])

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
    def read(self, rows: Sequence[Sequence[int]], after: Memory | None = None) -> Memory:
        """Read rows of tokens, each one behind the other, and return what is remembered of them.

        Args:
            rows: each at least one token.
            after: what stands before every row; it is not part of what is returned.

        Raises:
            OutOfMemoryError: the pass needs more memory than there is.

        """
        width = max(map(len, rows))
        return self._advance(rows, after, filled=width + -width % _ROWS)[1]

    @torch.inference_mode()
    def go_on(self, rows: Sequence[Sequence[int]], after: Memory) -> tuple[Tensor, Memory]:
        """Read a few more tokens of each row, as they are being written.

        Args:
            rows: each at least one token.
            after: what stands before each row.

        Returns:
            [rows, hidden] the hidden states of the rows' last tokens, and what is remembered of
            what was read.

        Raises:
            OutOfMemoryError: the pass needs more memory than there is.

        """
        hidden, memory = self._advance(rows, after, filled=max(map(len, rows)))
        last = torch.tensor([len(tokens) - 1 for tokens in rows], device=hidden.device)
        return hidden[torch.arange(len(rows), device=hidden.device), last], memory

    def _advance(
        self, rows: Sequence[Sequence[int]], after: Memory | None, filled: int
    ) -> tuple[Tensor, Memory]:
        """Read rows that are filled up to a width; return hidden states and the rows' memory."""
        width = max(map(len, rows))
        start = after.ends.expand(len(rows)) if after else torch.zeros(len(rows), dtype=torch.long)
        ids = torch.zeros(len(rows), filled, dtype=torch.long)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = torch.tensor(tokens)
        past = len(after) if after else 0
        visible = torch.ones(filled, past + filled, dtype=torch.bool).tril(past)
        positions = start[:, None] + torch.arange(filled)
        hidden, layers = self._pass(ids, positions, visible, after)
        lengths = torch.tensor([len(tokens) for tokens in rows])
        return hidden, Memory(
            tuple((k[:, :, past : past + width], v[:, :, past : past + width]) for k, v in layers),
            torch.arange(width) < lengths[:, None],
            start + lengths,
        )

    @torch.inference_mode()
    def branch(
        self,
        memory: Memory,
        tokens: Tensor,
        depths: Tensor,
        ancestry: Tensor,
        sight: Tensor,
    ) -> Tensor:
        """Read the branches of a tree that goes on from every row of the memory, in one pass.

        Args:
            memory: what comes before.
            tokens: [nodes] token of each node of the tree.
            depths: [nodes] distance from the memory's last token, from 1.
            ancestry: [nodes, nodes] true where the column is the row's node or its ancestor.
            sight: [nodes, tokens] which of the memory's first tokens each node sees; it sees all
                that come behind those.

        Returns:
            [rows, nodes, hidden] the hidden states of the nodes.

        Raises:
            OutOfMemoryError: the pass needs more memory than there is.

        """
        nodes = len(tokens)
        filled = nodes + -nodes % _ROWS
        rows = len(memory.ends)
        ids = torch.zeros(rows, filled, dtype=torch.long)
        ids[:, :nodes] = tokens
        positions = memory.ends[:, None].repeat(1, filled)
        positions[:, :nodes] += depths - 1
        visible = torch.zeros(filled, len(memory) + filled, dtype=torch.bool)
        visible[:nodes, : sight.shape[1]] = sight
        visible[:nodes, sight.shape[1] : len(memory)] = True
        visible[:nodes, len(memory) : len(memory) + nodes] = ancestry
        hidden, _ = self._pass(ids, positions, visible, memory)
        return hidden[:, :nodes]

    def _pass(
        self, ids: Tensor, positions: Tensor, visible: Tensor, memory: Memory | None
    ) -> tuple[Tensor, tuple[tuple[Tensor, Tensor], ...]]:
        """Return the last hidden states, and keys and values of the memory and what was read.

        Args:
            ids: [rows, new] tokens.
            positions: [rows, new] where they stand.
            visible: [new, memory + new] what each sees, if it is there.
            memory: what comes before.

        """
        present = torch.ones(len(ids), visible.shape[1], dtype=torch.bool)
        if memory:
            present[:, : len(memory)] = memory.present
        # Made where it is used: for a batch on a GPU it has a hundred million entries. Additive,
        # because eager attention takes a boolean mask for numbers without a word.
        seen = visible.to(self.device) & present.to(self.device)[:, None]
        mask = torch.zeros(seen.shape, dtype=self.dtype, device=self.device)
        mask.masked_fill_(~seen, torch.finfo(self.dtype).min)
        cache = DynamicCache(config=self._network.config)
        for index, (keys, values) in enumerate(memory.expand(len(ids)).layers if memory else ()):
            cache.update(keys, values, index)
        with _allocating():
            output = self._network.base_model(
                input_ids=ids.to(self.device),
                position_ids=positions.to(self.device),
                attention_mask=mask[:, None],
                past_key_values=cache,
                use_cache=True,
            )
        layers = tuple((layer.keys, layer.values) for layer in cache.layers)
        return output.last_hidden_state, layers

    def batch_tokens(self) -> int | None:
        """Return how many tokens one pass may hold in the memory that is free now.

        None on processors other than GPUs, where a pass takes one README: there a larger one is
        no faster, and its results would depend on what is read together.
        """
        if self.device.type != "cuda":
            return None
        kept, working = per_token(self._network.config)
        bytes_each = (2 * kept + working) * self.dtype.itemsize
        # Of a model that is spread over several GPUs, the fullest one decides.
        spread = getattr(self._network, "hf_device_map", None) or {"": self.device}
        room = min(free(torch.device(device)) for device in set(spread.values()))
        return max(1, min(_MOST_TOKENS, int(_SHARE * room / bytes_each)))

    @torch.inference_mode()
    def logits(self, hidden: Tensor, exact: Tensor) -> Tensor:
        """Return [rows, words] float32 logits of [rows, hidden] states, on the model's device.

        Logits are summed in float32: those of bfloat16 are 0.125 apart between 16 and 32, more than
        often lies between the third and the fourth tag. Processors other than GPUs have no such
        product of bfloat16, and widening the whole output embedding would take a tenth of a
        README's time. There only what counts is widened: the words asked for, and those near the
        likeliest of some row. The rest is used in sums over all words alone, where the rounding of
        so many evens out.

        Args:
            hidden: the states.
            exact: words whose own logits are used.

        """
        weight: Tensor = self._network.get_output_embeddings().weight
        hidden = hidden.to(weight.device)
        with _allocating():
            if weight.dtype == torch.float32:
                return hidden @ weight.T
            if weight.is_cuda:
                return torch.mm(hidden, weight.T, out_dtype=torch.float32)
            logits = (hidden @ weight.T).float()
            near = (logits > logits.amax(dim=-1, keepdim=True) - _NEAR).any(dim=0)
            near[exact] = True
            words = near.nonzero().squeeze(-1)
            logits[:, words] = hidden.float() @ weight[words].float().T
            return logits


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
