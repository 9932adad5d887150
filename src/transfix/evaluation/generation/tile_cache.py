"""Keys and values of prompts that are read many at a time, in tiles of 16 tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import Cache, CacheLayerMixin

from transfix.evaluation.generation.cache import States

TILE = 16
"""Rows that a processor's products are given at least: products of fewer may run in other kernels, with other rounding."""


@dataclass(slots=True, eq=False)
class Prompt:
    """A prompt that is being read.

    Attributes:
        tokens: all of them.
        before: the prompt that this one begins like, if any.
        shared: how many tokens are alike, in whole tiles.
        states: keys and values (1, G, room, h) by layer, as far as it has been read.
    """

    tokens: tuple[int, ...]
    before: Prompt | None = None
    shared: int = 0
    states: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def room(self) -> int:
        """Tokens of all its tiles."""
        return -(-len(self.tokens) // TILE) * TILE

    def place(
        self, layer: int, keys: Float[Tensor, "kv_heads 16 head"], values: Float[Tensor, "kv_heads 16 value_head"]
    ) -> tuple[Float[Tensor, "1 kv_heads room head"], Float[Tensor, "1 kv_heads room value_head"]]:
        """Where a layer's keys and values go, which are like these. What is shared with `before` is there already."""
        if layer not in self.states:
            pair = tuple(part.new_empty(1, len(part), self.room, part.shape[-1]) for part in (keys, values))
            if self.before is not None:
                for new, old in zip(pair, self.before.states[layer], strict=True):
                    new[:, :, : self.shared] = old[:, :, : self.shared]
            self.states[layer] = pair[0], pair[1]
        return self.states[layer]

    def read(self) -> States:
        """All its keys and values."""
        length = len(self.tokens)
        return [(keys[:, :, :length], values[:, :, :length]) for _, (keys, values) in sorted(self.states.items())]


class TileLayer(CacheLayerMixin):
    """One layer of a `TileCache`."""

    def __init__(self, cache: TileCache, index: int, sliding: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.cache = cache
        self.index = index
        self.is_sliding = sliding

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing: a prompt's first tile makes its place."""

    def update(
        self,
        key_states: Float[Tensor, "tiles kv_heads 16 head"],
        value_states: Float[Tensor, "tiles kv_heads 16 value_head"],
        *args: Any,
        **kwargs: Any,
    ) -> tuple[Float[Tensor, "tiles kv_heads 16 head"], Float[Tensor, "tiles kv_heads 16 value_head"]]:
        """Puts the tiles' keys and values into their places; returns them, see `tile_attention`."""
        for (prompt, start), key, value in zip(self.cache.tiles, key_states, value_states, strict=True):
            keys, values = prompt.place(self.index, key, value)
            keys[0, :, start : start + TILE] = key
            values[0, :, start : start + TILE] = value
        self.cache.written = self.index, key_states, value_states
        return key_states, value_states

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Keys of the prompt read farthest, this forward included, and where they begin."""
        return self.get_seq_length(), 0

    def get_seq_length(self) -> int:
        """Keys of the prompt read farthest, this forward included."""
        return max(start for _, start in self.cache.tiles) + TILE

    def get_max_length(self) -> int:
        """The same: there is always room."""
        return self.get_seq_length()


class TileCache(Cache):
    """What a forward over tiles writes and attends to.

    Attributes:
        tiles: those of the forward, each a prompt and a position.
        starts: the positions (tiles).
        written: the layer that was written last in this forward, and what its attention will be given: keys and values.
        masks: what attention has made of the forward's masks, and the masks.
    """

    def __init__(self, config: PreTrainedConfig) -> None:
        self.tiles: list[tuple[Prompt, int]] = []
        self.starts: Int[Tensor, " tiles"] = torch.zeros(0, dtype=torch.long)
        self.written: tuple[int, Tensor, Tensor] | None = None
        self.masks: dict[tuple[object, ...], tuple[Tensor, Tensor]] = {}
        own: list[Any] = DynamicCache(config=config).layers
        super().__init__(layers=[TileLayer(self, index, layer.is_sliding) for index, layer in enumerate(own)])

    def take(self, tiles: list[tuple[Prompt, int]]) -> None:
        """These are the tiles of the next forward, if any; lets go of the last one's."""
        self.tiles, self.starts = tiles, torch.tensor([start for _, start in tiles])
        self.written, self.masks = None, {}

    def get_query_offset(self, layer_idx: int = 0) -> Any:
        """Where each tile begins: a mask function of transformers gets it as it comes."""
        return self.starts
