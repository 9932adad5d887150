"""Attention with a prefix in front, as fast as each device does it: what the attention function calls for the sums.

joined             [K_c ; K], [V_c ; V] and the mask widened, for any backend
prefixed_flash     torch's flash attention, told that the mask is causal at the lower right (GPU, 16 bits)
torch_attention    torch's scaled dot-product attention, in float32 where that makes its backward pass faster (CPU)
attend_to_prefix   a softmax over a prefix by itself
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.attention.bias import causal_lower_right
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from transfix.adapters.methods.part import SMALL_HEAD

FLASH_HEAD = 256
"""The largest head that torch's flash attention takes."""

_TINY = 400
"""Multiplications of a matrix product below which torch takes another kernel for a batch of them on a CPU."""

Columns = tuple[
    Float[Tensor, "batch kv_heads prefix head"], Float[Tensor, "batch kv_heads prefix head"], Bool[Tensor, "..."] | None
]
"""K_c and V_c of every row, and which of them each query sees (B or 1, 1, T or 1, P); `None` for all."""


def joined(
    query: Float[Tensor, "batch heads tokens head"],
    key: Float[Tensor, "batch kv_heads keys head"],
    value: Float[Tensor, "batch kv_heads keys head"],
    mask: Tensor | None,
    columns: Columns,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """[K_c ; K], [V_c ; V] and the mask with P more columns in front."""
    column_keys, column_values, visible = columns
    wide = _widened(mask, visible, query, key.shape[2], column_keys.shape[2])
    return torch.cat([column_keys, key], dim=2), torch.cat([column_values, value], dim=2), wide


def _widened(
    mask: Tensor | None, visible: Tensor | None, query: Tensor, keys: int, prefix: int
) -> Bool[Tensor, "..."] | Float[Tensor, "..."] | None:
    """The mask (B, 1, T, S) with P more columns in front; `None` stays `None` where every query sees every key."""
    if mask is None and visible is None:
        return None
    batch, tokens = query.shape[0], query.shape[2]
    if mask is None:
        mask = query.new_ones((), dtype=torch.bool).expand(batch, 1, tokens, keys)
    if visible is None:
        visible = mask.new_ones((), dtype=torch.bool)
    visible = visible.expand(batch, mask.shape[1], tokens, prefix)
    if mask.dtype != torch.bool:
        visible = torch.where(visible, 0.0, torch.finfo(mask.dtype).min).to(mask.dtype)
    return torch.cat([visible, mask.expand(batch, -1, -1, -1)], dim=-1)


def flash_can(query: Tensor) -> bool:
    """Whether torch's flash attention takes these: it is told that a mask is causal, none is made."""
    return query.is_cuda and query.dtype in (torch.bfloat16, torch.float16) and query.shape[-1] <= FLASH_HEAD


def prefixed_flash(
    query: Float[Tensor, "batch heads tokens head"],
    key: Float[Tensor, "batch kv_heads keys head"],
    value: Float[Tensor, "batch kv_heads keys head"],
    scaling: float | None,
    dropout: float,
) -> Float[Tensor, "batch tokens heads head"]:
    """Causal attention with a prefix in front: with the causal mask aligned at the lower right all queries see the prefix."""
    output: Tensor = nn.functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=causal_lower_right(query.shape[2], key.shape[2]),
        dropout_p=dropout,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return output.transpose(1, 2).contiguous()


def torch_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, Tensor | None]:
    """The attention of torch; in float32 where that makes its backward pass faster."""
    if not _learns_faster_in_float32(query, key, value):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    mask = attention_mask
    if mask is not None and mask.is_floating_point():
        mask = mask.float()
    output, weights = sdpa_attention_forward(module, query.float(), key.float(), value.float(), mask, **kwargs)
    return output.to(query.dtype), weights


def _learns_faster_in_float32(query: Tensor, *keys_values: Tensor) -> bool:
    """Whether a backward pass follows on a CPU, in 16 bits with small heads.

    There it is a product a head, each too small for what it costs to start one: five times as slow as the forward pass.
    """
    small = query.dtype in (torch.bfloat16, torch.float16) and query.shape[-1] <= SMALL_HEAD
    return small and query.device.type == "cpu" and any(tensor.requires_grad for tensor in (query, *keys_values))


def attend_to_prefix(
    query: Float[Tensor, "batch heads tokens head"],
    keys: Float[Tensor, "kv_heads prefix head"],
    values: Float[Tensor, "kv_heads prefix head"],
    scaling: float | None,
) -> Float[Tensor, "batch tokens heads head"]:
    """softmax(q K_pᵀ·s) V_p of a prefix that all rows have, with a softmax of its own."""
    batch, heads, tokens, _ = query.shape
    if tokens > 1 and query.device.type == "cpu":
        # selected from a batch of one: the gradients of a selection are contiguous, and W_k's product takes the same sums
        return _in_float32(query, keys[None][0], values[None][0], scaling)
    wide_keys, wide_values = keys.expand(batch, -1, -1, -1), values.expand(batch, -1, -1, -1)
    if (repeats := heads // keys.shape[0]) > 1:
        wide_keys = wide_keys.repeat_interleave(repeats, dim=1)
        wide_values = wide_values.repeat_interleave(repeats, dim=1)
    output: Tensor = nn.functional.scaled_dot_product_attention(query, wide_keys, wide_values, scale=scaling)
    return output.transpose(1, 2)


def _in_float32(
    query: Float[Tensor, "batch heads tokens head"],
    keys: Float[Tensor, "kv_heads prefix head"],
    values: Float[Tensor, "kv_heads prefix head"],
    scaling: float | None,
) -> Float[Tensor, "batch tokens heads head"]:
    """The same in float32: one small product a key/value head.

    On a CPU two or three times as fast as torch's attention over a copy of the prefix for every row and head.
    """
    batch, heads, tokens, size = query.shape
    queries = query.float().transpose(0, 1).reshape(len(keys), -1, size)
    rows, least = queries.shape[1], -(-_TINY // (keys.shape[1] * min(size, values.shape[-1])))
    if rows < least:  # so that a row's numbers do not depend on how many there are
        queries = nn.functional.pad(queries, (0, 0, 0, least - rows))
    scale = size**-0.5 if scaling is None else scaling
    weights = (queries @ (keys.float() * scale).transpose(1, 2)).softmax(-1)
    output = (weights @ values.float())[:, :rows].to(query.dtype)
    return output.reshape(heads, batch, tokens, -1).permute(1, 2, 0, 3)
