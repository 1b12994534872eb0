"""The KV cache: the keys and values of tokens that a model has read.

A cache is immutable, so that what many READMEs have in common is prefilled once and shared. Caches
that were filled separately can be concatenated: the tokens that follow attend to all of them. What
recurrent layers have read is a state rather than keys and values, and tokens follow only one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from tagger.models.recurrent import State

Pairs = tuple[tuple[Tensor, Tensor], ...]


@dataclass(frozen=True)
class KVCache:
    """Keys and values of rows of tokens.

    Attributes:
        layers: keys and values of each attention layer, [rows, key-value heads, tokens, head size].
        mask: [rows, tokens] false where a row is padding.
        next_position: [rows] the position that follows each row's last token.
        states: of each recurrent layer, the state after each row's last token.

    """

    layers: Pairs
    mask: Tensor
    next_position: Tensor
    states: tuple[State, ...] = ()

    def __len__(self) -> int:
        """Return the number of tokens of a row, padding included."""
        return self.mask.shape[1]

    def expand(self, rows: int) -> "KVCache":
        """Return the cache of one row as that of many, which share its memory."""
        if self.mask.shape[0] == rows:
            return self
        layers = tuple(
            (keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1))
            for keys, values in self.layers
        )
        states = tuple(
            (inputs.expand(rows, -1, -1), state.expand(rows, -1, -1, -1))
            for inputs, state in self.states
        )
        return KVCache(layers, self.mask.expand(rows, -1), self.next_position.expand(rows), states)

    def select(self, rows: Sequence[int]) -> "KVCache":
        """Return the cache of some rows."""
        index = list(rows)
        layers = tuple((keys[index], values[index]) for keys, values in self.layers)
        states = tuple((inputs[index], state[index]) for inputs, state in self.states)
        return KVCache(layers, self.mask[index], self.next_position[index], states)

    def replace(self, rows: Sequence[int], cache: "KVCache") -> "KVCache":
        """Return the cache with other rows in the place of some; shorter ones are padded."""
        width = max(len(self), len(cache))
        mine, other = self._padded(width), cache._padded(width)
        index = torch.tensor(list(rows))

        def put(into: Tensor, what: Tensor) -> Tensor:
            return into.index_copy(0, index.to(into.device), what)

        def put_pairs(into: Pairs, what: Pairs) -> Pairs:
            return tuple(
                (put(first, new_first), put(second, new_second))
                for (first, second), (new_first, new_second) in zip(into, what, strict=True)
            )

        return KVCache(
            put_pairs(mine.layers, other.layers),
            put(mine.mask, other.mask),
            put(mine.next_position, other.next_position),
            put_pairs(mine.states, other.states),
        )

    def _padded(self, width: int) -> "KVCache":
        """Return the cache with rows of so many tokens, the last of which are padding."""
        more = width - len(self)
        layers = tuple(
            (pad(keys, (0, 0, 0, more)), pad(values, (0, 0, 0, more)))
            for keys, values in self.layers
        )
        return KVCache(layers, pad(self.mask, (0, more)), self.next_position, self.states)


def concat(*caches: KVCache) -> KVCache:
    """Concatenate caches in this order; the tokens that follow start at the furthest position.

    There they follow the state of recurrent layers. Caches of one row are shared by all rows of the
    others.
    """
    rows = max(len(cache.next_position) for cache in caches)
    parts = [cache.expand(rows) for cache in caches]
    layers = tuple(
        (torch.cat([keys for keys, _ in layer], -2), torch.cat([values for _, values in layer], -2))
        for layer in zip(*(part.layers for part in parts), strict=True)
    )
    mask = torch.cat([part.mask for part in parts], dim=1)
    next_position = torch.stack([part.next_position for part in parts]).amax(0)
    last = max(parts, key=lambda part: int(part.next_position.max()))
    return KVCache(layers, mask, next_position, last.states)
