"""The prompt before the README, prefilled once for all READMEs."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import torch

from tagger.methods.rank.cache import cached
from tagger.methods.rank.layout import Layout
from tagger.models.kv import KVCache, concat
from tagger.models.language import LanguageModel


class Prefix:
    """KV caches of the instructions and the list of tags, taken from the cache folder if there.

    Args:
        model: the language model.
        layout: the prompt and its lists.
        key: a digest of everything that the caches depend on; None keeps them in memory only.

    """

    def __init__(self, model: LanguageModel, layout: Layout, key: str | None) -> None:
        self._model = model
        self._layout = layout
        self._key = key

    @cached_property
    def caches(self) -> list[KVCache]:
        """KV caches of the list in each order, of the prompt before it, and of the text after it.

        No list attends to another. The last is missing if no text follows the list. The forest's
        visibility masks rely on this order.
        """
        if self._key is None:
            return self._prefill()
        count = len(self._layout.orders) + 1 + bool(self._layout.prompt.bridge)
        return cached(self._key, count, self._model.device, self._prefill)

    @cached_property
    def of_readmes(self) -> KVCache:
        """The KV cache that READMEs attend to."""
        count = len(self._layout.orders)
        lists, head, bridge = self.caches[:count], self.caches[count], self.caches[count + 1 :]
        return concat(self._through_list(lists, head), *bridge)

    @cached_property
    def whole(self) -> KVCache:
        """All of `caches` in one."""
        return concat(*self.caches)

    def _prefill(self) -> list[KVCache]:
        head = self._model.prefill([self._layout.prompt.head])
        lists = [self._model.prefill([listed], head) for listed in self._layout.orders]
        prefix = self._through_list(lists, head)
        bridge = [self._layout.prompt.bridge] if self._layout.prompt.bridge else []
        return [*lists, head, *(self._model.prefill([text], prefix) for text in bridge)]

    def _through_list(self, lists: Sequence[KVCache], head: KVCache) -> KVCache:
        """Return the cache of the prompt through the list; a very large list is a gap in it."""
        prefix = concat(head, lists[0]) if self._layout.in_view else head
        next_position = torch.stack([cache.next_position for cache in lists]).amax(0)
        return replace(prefix, next_position=next_position)
