"""Layers with a recurrent state (gated delta networks), for padded rows and for trees of tokens.

Such a layer reads one token after the other, and what it has read is one state. The sums of its
chunkwise form, though, run over pairs of tokens (Yang et al. 2025, "Gated Delta Networks"), and in
a chunk the state after a token depends on no token but those before it. So a tree of tokens is one
chunk in which a token's past is its ancestors: one pass computes what a state of its own for every
branch would give, and nothing is copied.

Transformers computes a layer by two functions, a short convolution and the delta rule. They are
replaced by those below, which do what they did unless a pass says how its tokens are arranged.
"""

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu
from transformers.cache_utils import LinearAttentionLayer

from tagger.errors import LoadError

State = tuple[Tensor, Tensor]
"""What one layer has read: the last inputs of its convolution, [rows, channels, kernel], and the
recurrent state, [rows, heads, key size, value size]."""

_LINEAR = "linear_attention"
_FAST = {"fla": "flash-linear-attention", "causal_conv1d": "causal-conv1d"}
"""Modules with fast kernels, and the packages that they come with."""

_REPLACED = {"causal_conv1d_fn": "convolve", "torch_chunk_gated_delta_rule": "update"}
"""Functions of Transformers, and the methods of an arrangement that take their place."""

_UNKNOWN = (
    "this version of Transformers computes recurrent layers in an unknown way: install the one "
    "that tagger's constraints.txt names"
)

log = logging.getLogger(__name__)


def recurrent_layers(config: Any) -> list[int]:
    """Return which layers of a Transformers configuration have a recurrent state, from 0."""
    kinds = getattr(config, "layer_types", None) or ()
    return [index for index, kind in enumerate(kinds) if kind == _LINEAR]


@dataclass(frozen=True)
class Rows:
    """Tokens of which each follows the one before it, in rows of several lengths.

    Attributes:
        lengths: [rows] tokens of each row; what comes after them is padding.

    """

    lengths: Tensor

    def convolve(self, theirs: Callable[..., Tensor], *args: Any, **options: Any) -> Tensor:
        """Return what the convolution of Transformers does."""
        return theirs(*args, **options)

    def update(
        self, theirs: Callable[..., Any], *args: Tensor, g: Tensor, beta: Tensor, **options: Any
    ) -> tuple[Tensor, Tensor]:
        """Return what the delta rule of Transformers does; padding leaves the state as it is."""
        padding = torch.arange(g.shape[1], device=g.device) >= self.lengths.to(g.device)[:, None]
        g, beta = (each.masked_fill(padding[..., None], 0) for each in (g, beta))
        output, state = theirs(*args, g=g, beta=beta, **options)
        return output, state


@dataclass(frozen=True)
class Tree:
    """Tokens of which each follows its ancestors, and what the rows have read before.

    Attributes:
        ancestors: [tokens, tokens] true where the column is the row's token or its ancestor, which
            comes before it; false in the whole row of a token that is padding.

    """

    ancestors: Tensor

    def convolve(
        self,
        _theirs: Callable[..., Tensor],
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        **_options: Any,
    ) -> Tensor:
        """Return the convolution of each token with those that precede it.

        Args:
            inputs: [rows, channels, kernel + tokens] what was read last, and the tokens.
            weight: [channels, kernel].
            bias: [channels].

        Returns:
            [rows, channels, tokens].

        """
        kernel = weight.shape[-1]
        ancestors = self.ancestors.to(inputs.device)
        depths = ancestors.sum(dim=1)
        tokens, weight = inputs.mT.float().contiguous(), weight.float()
        total = tokens.new_zeros(()) if bias is None else bias.float()
        for back in range(kernel):
            # The ancestor so many tokens back or, at the top of the tree, what was read before it.
            at = (ancestors & (depths == depths[:, None] - back)).int().argmax(dim=1) + kernel
            at = torch.where(depths > back, at, kernel - 1 - back + depths)
            total = total + tokens[:, at] * weight[:, kernel - 1 - back]
        return silu(total).to(inputs.dtype).mT

    def update(
        self,
        _theirs: Callable[..., Any],
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        g: Tensor,
        beta: Tensor,
        initial_state: Tensor,
        **_options: Any,
    ) -> tuple[Tensor, None]:
        """Return what each token reads from the state that its ancestors and itself leave.

        The chunkwise form of the gated delta rule (Yang et al. 2025, "Gated Delta Networks",
        section 3.3), where the chunk is the tree.

        Args:
            query: [rows, tokens, key heads, key size].
            key: as `query`.
            value: [rows, tokens, heads, value size].
            g: [rows, tokens, heads] the logarithm of each token's decay.
            beta: [rows, tokens, heads] how much each token writes.
            initial_state: [rows, heads, key size, value size] the state before the tree.

        """
        dtype, shared = value.dtype, value.shape[2] // key.shape[2]
        query, key = (each.repeat_interleave(shared, dim=2) for each in (query, key))
        query, key, value, beta, g = (
            each.transpose(1, 2).float() for each in (query, key, value, beta, g)
        )
        query, key = (
            each * (each.square().sum(dim=-1, keepdim=True) + 1e-6).rsqrt() for each in (query, key)
        )
        query = query * query.shape[-1] ** -0.5
        ancestors, state = self.ancestors.to(g.device), initial_state.float()
        # In float32, differences of sums over hundreds of tokens are lost in what was summed.
        exact = torch.float32 if g.device.type == "mps" else torch.float64
        decay = g.to(exact) @ ancestors.to(exact).T
        between = (decay[..., :, None] - decay[..., None, :]).float()
        between = between.masked_fill_(~ancestors, -torch.inf).exp_()
        since = decay.float().exp()[..., None]
        beta = beta[..., None]
        # What a token writes is less what its ancestors wrote under its key, and they under theirs.
        written = torch.linalg.solve_triangular(
            beta * (key @ key.mT) * between,
            beta * (value - since * (key @ state)),
            upper=False,
            unitriangular=True,
        )
        output = since * (query @ state) + ((query @ key.mT) * between) @ written
        return output.transpose(1, 2).to(dtype), None


Arrangement = Rows | Tree
"""How the tokens of a pass follow one another."""


class StateLayer(LinearAttentionLayer):  # type: ignore[misc]
    """The state of one layer during a pass; that of rows is kept as after each row's last token.

    Args:
        arrangement: how the tokens of the pass follow one another.
        state: what was read before, if anything.

    """

    def __init__(self, arrangement: Arrangement, state: State | None) -> None:
        super().__init__()
        self._arrangement = arrangement
        if state is not None:
            # Single tokens are written into what is here, and the cache is shared.
            self.conv_states[0], self.recurrent_states[0] = (each.clone() for each in state)
            self.has_previous_state[0] = True

    @property
    def state(self) -> State:
        """What has been read."""
        return self.conv_states[0], self.recurrent_states[0]

    def update_conv_state(
        self, conv_states: Tensor, state_idx: int = 0, *, conv_kernel_size: int, **_options: Any
    ) -> Tensor:
        """Return the last inputs of what was read before, and the pass's; keep the last of rows."""
        before = self.conv_states[state_idx]
        if before is None:
            before = conv_states.new_zeros(*conv_states.shape[:2], conv_kernel_size)
        inputs = torch.cat([before, conv_states], dim=-1)
        if isinstance(self._arrangement, Rows):
            last = self._arrangement.lengths.to(inputs.device)[:, None]
            last = last + torch.arange(conv_kernel_size, device=inputs.device)
            last = last[:, None].expand(-1, inputs.shape[1], -1)
            self.conv_states[state_idx] = inputs.gather(-1, last)
        self.has_previous_state[state_idx] = True
        return inputs

    def update_recurrent_state(
        self, recurrent_states: Tensor | None, state_idx: int = 0, **_options: Any
    ) -> Tensor | None:
        """Keep the state after the pass.

        Raises:
            LoadError: a tree has left one, and so was read as a row.

        """
        if isinstance(self._arrangement, Tree) and recurrent_states is not None:
            raise LoadError(_UNKNOWN)
        self.recurrent_states[state_idx] = recurrent_states
        return recurrent_states


def take_arrangements(network: Any) -> None:
    """Have a network take an `Arrangement` as the keyword `arrangement` of its base model.

    Raises:
        LoadError: Transformers computes its recurrent layers by other functions.

    """
    module = sys.modules[type(network.base_model).__module__]
    for name, ours in _REPLACED.items():
        theirs = getattr(module, name, None)
        if theirs is None:
            raise LoadError(_UNKNOWN)
        if not hasattr(theirs, "takes_arrangements"):
            setattr(module, name, _with_arrangement(theirs, ours))


def warn_if_slow(device: torch.device) -> None:
    """Say so where a GPU has to do without fast kernels."""
    missing = [package for name, package in _FAST.items() if find_spec(name) is None]
    if device.type == "cuda" and missing:
        log.warning(
            "%s not installed: the model's recurrent layers use PyTorch's own kernels, which are "
            "slower",
            " and ".join(missing) + (" are" if len(missing) > 1 else " is"),
        )


def _with_arrangement(theirs: Callable[..., Any], ours: str) -> Callable[..., Any]:
    @wraps(theirs)
    def function(*args: Any, arrangement: Arrangement | None = None, **options: Any) -> Any:
        if arrangement is None:
            return theirs(*args, **options)
        return getattr(arrangement, ours)(theirs, *args, **options)

    function.takes_arrangements = True  # type: ignore[attr-defined]
    return function
