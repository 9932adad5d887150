"""The keys and values of rows of different lengths, in buffers that are written in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicLayer, DynamicSlidingWindowLayer

from transfix.errors import TransfixError

States = list[tuple[Float[Tensor, "1 kv_heads tokens head"], Float[Tensor, "1 kv_heads tokens value_head"]]]
"""Keys and values of one row, a pair a layer."""


class RowLayer(CacheLayerMixin):
    """One layer's keys and values, (rows, G, slots, h); position p of a row is in slot p mod `slots`.

    A layer with a sliding window has slots for the window only.
    """

    def __init__(self, cache: RowCache, slots: int, sliding: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.cache = cache
        self.slots = slots
        self.is_sliding = sliding

    def lazy_initialization(
        self,
        key_states: Float[Tensor, "batch kv_heads tokens head"],
        value_states: Float[Tensor, "batch kv_heads tokens value_head"],
    ) -> None:
        """Buffers like the states given, for every row."""
        rows, groups = len(self.cache.positions), key_states.shape[1]
        self.keys = key_states.new_zeros(rows, groups, self.slots, key_states.shape[-1])
        self.values = value_states.new_zeros(rows, groups, self.slots, value_states.shape[-1])
        self.is_initialized = True

    def fill(
        self,
        row: int,
        keys: Float[Tensor, "1 kv_heads tokens head"],
        values: Float[Tensor, "1 kv_heads tokens value_head"],
    ) -> None:
        """Puts a prompt's keys and values into a row."""
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
        assert self.keys is not None
        assert self.values is not None
        length = keys.shape[2]
        positions = torch.arange(max(0, length - self.slots), length, device=keys.device)
        self.keys[row].index_copy_(1, positions % self.slots, keys[0, :, positions])
        self.values[row].index_copy_(1, positions % self.slots, values[0, :, positions])

    def update(
        self,
        key_states: Float[Tensor, "rows kv_heads 1 head"],
        value_states: Float[Tensor, "rows kv_heads 1 value_head"],
        *args: Any,
        **kwargs: Any,
    ) -> tuple[Float[Tensor, "rows kv_heads slots head"], Float[Tensor, "rows kv_heads slots value_head"]]:
        """Writes the new token of every row; returns the slots in use."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None
        assert self.values is not None
        rows, slots = self.cache.rows, self.cache.positions % self.slots
        self.keys[rows, :, slots] = key_states[:, :, 0]
        self.values[rows, :, slots] = value_states[:, :, 0]
        used = self._used
        return self.keys[:, :, :used], self.values[:, :, :used]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Slots in use, and where they begin."""
        return self._used, 0

    def get_seq_length(self) -> int:
        """Slots in use."""
        return self._used

    def get_max_length(self) -> int:
        """Slots there are."""
        return self.slots

    @property
    def _used(self) -> int:
        return min(self.slots, self.cache.used)


class RowCache(Cache):
    """A cache for decoding one token a row, each row at its own position.

    Attributes:
        rows: 0, 1, ... (rows).
        positions: where each row's next token goes (rows).
        used: slots that some row has reached, a multiple of the block size.
    """

    def __init__(self, config: PreTrainedConfig, rows: int, tokens: int, block: int, device: torch.device) -> None:
        """Room for `rows` rows of `tokens` tokens.

        Raises:
            TransfixError: if the model has layers that carry a state from token to token.
        """
        self.block = block
        self.rows = torch.arange(rows, device=device)
        self.positions: Int[Tensor, " rows"] = torch.zeros(rows, dtype=torch.long, device=device)
        self.used = block
        layers: list[Any] = []
        own: list[Any] = DynamicCache(config=config).layers
        for layer in own:
            if type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer):
                raise TransfixError(
                    f"{config.model_type}: generation in rows knows layers that attend to all tokens or to a window, "
                    f"this model has a {type(layer).__name__}."
                )
            window = layer.sliding_window if isinstance(layer, DynamicSlidingWindowLayer) else tokens
            layers.append(RowLayer(self, self._whole(min(tokens, window)), layer.is_sliding))
        super().__init__(layers=layers)

    def fill(self, row: int, states: States) -> None:
        """Puts a prompt's keys and values into a row."""
        layers: list[Any] = self.layers
        for layer, (keys, values) in zip(layers, states, strict=False):  # no pair at all for an empty prompt
            layer.fill(row, keys, values)

    def move(self, positions: Sequence[int]) -> None:
        """Says where each row's next token goes."""
        self.positions.copy_(torch.tensor(positions))  # in place: a recorded step reads it there
        self.used = self._whole(max(positions) + 1)

    def get_query_offset(self, layer_idx: int = 0) -> Any:
        """Where each row's next token goes: a mask function of transformers gets it as it comes."""
        return self.positions

    def _whole(self, slots: int) -> int:
        return -(-slots // self.block) * self.block
