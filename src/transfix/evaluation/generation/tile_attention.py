"""Attention of tiles of 16 tokens, each over its own prompt: one call a tile, whose shape depends on the prompt alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, causal_mask_function

from transfix.adapters.attention import PREFIXED, attend
from transfix.adapters.kernels import Columns, joined
from transfix.errors import TransfixError
from transfix.evaluation.generation.attention import refuse_unknown, row_attention, row_mask
from transfix.evaluation.generation.switching import implementation
from transfix.evaluation.generation.tile_cache import TILE, TileCache

TILES = PREFIXED + "tiles"
"""The name under which transformers knows this attention function and its mask."""


OneTile = tuple[
    Float[Tensor, "1 kv_heads prefix head"], Float[Tensor, "1 kv_heads prefix head"], Bool[Tensor, "..."] | None
]
"""A prefix as one tile sees it, see `Columns`."""


class ChangedKeysError(Exception):
    """A layer attends to other keys and values than it has written, such as those expanded from a latent: no tiles then."""


_READ: ContextVar[TileCache | None] = ContextVar("tiles that are being read", default=None)


@contextmanager
def reading_tiles(model: PreTrainedModel, cache: TileCache) -> Iterator[None]:
    """For the time of the block the model reads what `cache` takes.

    Raises:
        TransfixError: if the model is not on transformers' attention registry.
    """
    token = _READ.set(cache)
    try:
        with implementation(model, TILES):
            yield
    finally:
        _READ.reset(token)


def tile_attention(
    module: nn.Module,
    query: Float[Tensor, "tiles heads tokens head"],
    key: Float[Tensor, "tiles kv_heads tokens head"],
    value: Float[Tensor, "tiles kv_heads tokens value_head"],
    attention_mask: Shaped[Tensor, "tiles _ tokens keys"] | None,
    scaling: float | None = None,
    softcap: float | None = None,
    prefix: Columns | None = None,
    **kwargs: Any,
) -> tuple[Float[Tensor, "tiles tokens heads value_head"], None]:
    """softmax(q Kᵀ·s + M) V of each tile, 16 tokens, over its prompt so far. A soft prompt is one row of any length.

    Args:
        module: the attention layer.
        query: q.
        key: the tiles' own keys; they are in their prompts' places already (`TileLayer.update`).
        value: the same of values.
        attention_mask: (tiles, 1, tokens, keys), true where a query sees a key of its prompt.
        scaling: s; by default 1/√h.
        softcap: as for `row_attention`.
        prefix: keys and values of a prefix, which come first, and who sees them.
        kwargs: as for `row_attention`.

    Raises:
        TransfixError: if the layer needs something that is not in the formula, or does not mask what follows.
        ChangedKeysError: if `key` or `value` is not what was written.
    """
    refuse_unknown(module, attention_mask, kwargs)
    cache = _READ.get()
    if cache is None or cache.written is None:  # a soft prompt is run, which is not written
        return row_attention(module, query, key, value, attention_mask, scaling, softcap, prefix)
    layer, *given = cache.written
    if key is not given[0] or value is not given[1]:
        raise ChangedKeysError
    if attention_mask is None:
        raise TransfixError(f"{type(module).__name__} lets tokens see what follows them: only decoders generate texts.")
    added = None if softcap is not None else _added(cache, attention_mask, query, key)
    outputs: list[Tensor] = []
    for place, (prompt, start) in enumerate(cache.tiles):
        own, end = slice(place, place + 1), start + TILE
        keys, values = (states[:, :, :end] for states in prompt.states[layer])
        columns = None if prefix is None else _of_tile(prefix, own)
        if added is None:
            seen = attention_mask[own, :, :, :end]
            outputs.append(row_attention(module, query[own], keys, values, seen, scaling, softcap, columns)[0])
        else:
            outputs.append(_torch(query[own], keys, values, added[own, :, :, :end], scaling, columns))
    return torch.cat(outputs), None


def _added(
    cache: TileCache,
    mask: Bool[Tensor, "tiles 1 16 keys"],
    query: Float[Tensor, "tiles heads 16 head"],
    key: Float[Tensor, "tiles kv_heads 16 head"],
) -> Float[Tensor, "tiles 1 rows keys"]:
    """A mask that is added, a row for each query head of a key/value head and token; made once a forward."""
    name = id(mask), query.shape[1] // key.shape[1], query.dtype
    if name not in cache.masks:
        added = torch.zeros(mask.shape, dtype=query.dtype).masked_fill_(~mask, -torch.inf)
        cache.masks[name] = mask, added.repeat(1, 1, name[1], 1)
    return cache.masks[name][1]


def _of_tile(prefix: Columns, own: slice) -> OneTile:
    """What a prefix is for one of the tiles."""
    keys, values, visible = prefix
    return keys[own], values[own], visible if visible is None or len(visible) == 1 else visible[own]


def _torch(
    query: Float[Tensor, "1 heads tokens head"],
    key: Float[Tensor, "1 kv_heads keys head"],
    value: Float[Tensor, "1 kv_heads keys value_head"],
    mask: Float[Tensor, "1 1 rows keys"],
    scaling: float | None,
    prefix: OneTile | None,
) -> Float[Tensor, "1 tokens heads value_head"]:
    """The attention of torch; the query heads of a key/value head, and their tokens, are the rows of one matrix."""
    _, heads, tokens, size = query.shape
    groups = key.shape[1]
    queries, wide = query.reshape(1, groups, -1, size), mask
    if prefix is not None:
        visible = prefix[2]
        if visible is not None:
            visible = visible.expand(-1, -1, tokens, -1).repeat(1, 1, heads // groups, 1)
        key, value, joint = joined(queries, key, value, mask, (prefix[0], prefix[1], visible))
        assert joint is not None
        wide = joint
    output: Tensor = nn.functional.scaled_dot_product_attention(queries, key, value, attn_mask=wide, scale=scaling)
    return output.view(1, heads, tokens, -1).transpose(1, 2)


def tile_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int | Tensor = 0,
    mask_function: Callable[..., Any] = causal_mask_function,
    **kwargs: Any,
) -> Bool[Tensor, "tiles 1 tokens keys"] | None:
    """The mask of a `TileCache`: transformers' own mask function, asked about each tile's positions."""
    if not isinstance(q_offset, Tensor):  # no `TileCache`: a soft prompt is run
        return row_mask(batch_size, q_length, kv_length, q_offset, mask_function, **kwargs)
    queries = q_offset[:, None, None, None] + torch.arange(q_length)[None, None, :, None]
    rows = torch.arange(batch_size)[:, None, None, None]
    seen: Tensor = mask_function(rows, torch.zeros_like(rows[:1]), queries, torch.arange(kv_length)[None, None, None])
    return seen


AttentionInterface.register(TILES, partial(attend, tile_attention, apart=True))
AttentionMaskInterface.register(TILES, tile_mask)
