"""Attention of one new token a row over rows of different lengths, bit for bit the same whatever the other rows are.

A fused kernel's sums depend on how many keys there are, on their alignment and on the thread that adds them: in bfloat16
that flips near-ties, and a row's text would depend on its batch. Here keys are taken in blocks of a fixed size, in float32,
and what the blocks give is added in order:

    o = Σ_b exp(q K_bᵀ·s - m) V_b  /  Σ_b exp(q K_bᵀ·s - m) 1        m the largest score, exact in any order

A block that a row does not see adds exact zeros at the end of its sums, so a longer row beside it changes nothing. A prefix
is a block of its own. On a GPU numbers of 16 bits go through a kernel of torch instead, of which the same holds (`_fused`).
Adapters enter as everywhere, through `adapters.attention.attend`, which stands in front of this function as of sdpa.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, causal_mask_function, sdpa_mask

from transfix.adapters.attention import PREFIXED, attend
from transfix.adapters.kernels import Columns, joined
from transfix.errors import TransfixError
from transfix.evaluation.generation.switching import implementation

ROWS = PREFIXED + "rows"
"""The name under which transformers knows this attention function and its mask."""

_KERNELS = threading.RLock()

_NOT_OURS = ("s_aux", "position_bias")  # attention sinks, T5's biases: a row's scores would lack them


def block_size(device: torch.device) -> int:
    """Keys in a block: few on a CPU, whose caches they should fit in; many on a GPU, where every call costs the same."""
    return 128 if device.type == "cpu" else 1024


@contextmanager
def decoding_rows(model: PreTrainedModel) -> Iterator[None]:
    """For the time of the block the model decodes one token a row, with a `RowCache`, in this thread.

    The scaled dot-product attention of torch, which a LLaMA-Adapter's own softmax uses, runs unfused meanwhile. That is a
    switch of the whole process, which threads that decode rows hold one after the other.

    Raises:
        TransfixError: if the model is not on transformers' attention registry.
    """
    with _KERNELS, implementation(model, ROWS), sdpa_kernel(SDPBackend.MATH):
        yield


def row_attention(
    module: nn.Module,
    query: Float[Tensor, "batch heads tokens head"],
    key: Float[Tensor, "batch kv_heads keys head"],
    value: Float[Tensor, "batch kv_heads keys value_head"],
    attention_mask: Shaped[Tensor, "batch _ tokens keys"] | None,
    scaling: float | None = None,
    softcap: float | None = None,
    prefix: Columns | None = None,
    **kwargs: Any,
) -> tuple[Float[Tensor, "batch tokens heads value_head"], None]:
    """softmax(q Kᵀ·s + M) V in float32, block by block (see the module's description).

    Args:
        module: the attention layer.
        query: q.
        key: K; blocks begin at the first, and the last may be shorter.
        value: V.
        attention_mask: (batch, 1, tokens, keys), true where a query sees a key; `None` where it sees all.
        scaling: s; by default 1/√h.
        prefix: keys and values of a prefix, which come first, and who sees them.
        softcap: c of Gemma 2, whose scores are c·tanh(x / c).
        kwargs: what else transformers hands to an attention function.

    Raises:
        TransfixError: if the layer needs something that is not in the formula.
    """
    refuse_unknown(module, attention_mask, kwargs)
    batch, heads, tokens, size = query.shape
    groups, keys = key.shape[1:3]
    scale = size**-0.5 if scaling is None else scaling
    if tokens == 1 and softcap is None and _fused_can(query, value):
        if prefix is not None:
            key, value, attention_mask = joined(query, key, value, attention_mask, prefix)
        return _fused(query, key, value, attention_mask, scale), None
    # one matrix a row and key/value head, whose query heads, and their tokens, are the rows of it
    rows = heads // groups * tokens
    queries = (query.float() * scale).reshape(batch * groups, rows, size)
    blocks: list[tuple[Tensor, Tensor, Tensor | None]] = [] if prefix is None else [prefix]
    for start in range(0, keys, block_size(key.device)):
        block = slice(start, start + block_size(key.device))
        seen = None if attention_mask is None else attention_mask[..., block]
        blocks.append((key[:, :, block], value[:, :, block], seen))
    scores: list[Tensor] = []
    for block_keys, _, seen in blocks:
        part = queries @ block_keys.float().flatten(0, 1).transpose(1, 2)
        if softcap is not None:
            part = softcap * torch.tanh(part / softcap)
        if seen is not None:
            hidden = ~seen.expand(batch, 1, tokens, -1)[:, :, None].expand(-1, -1, heads // groups, -1, -1).flatten(
                2, 3
            )
            part = part.view(batch, groups, rows, -1).masked_fill(hidden, -torch.inf).flatten(0, 1)
        scores.append(part)
    largest = scores[0].amax(-1, keepdim=True)
    for part in scores[1:]:
        largest = torch.maximum(largest, part.amax(-1, keepdim=True))
    total, output = torch.zeros_like(largest), queries.new_zeros(batch * groups, rows, value.shape[-1])
    for part, (_, block_values, _) in zip(scores, blocks, strict=True):
        weights = (part - largest).exp()
        total = total + weights.sum(-1, keepdim=True)
        output = output + weights @ block_values.float().flatten(0, 1)
    output = (output / total).view(batch, heads, tokens, -1)
    return output.transpose(1, 2).to(query.dtype).contiguous(), None


def refuse_unknown(module: nn.Module, mask: Tensor | None, given: Mapping[str, object]) -> None:
    """Stops where a layer's attention has terms that the formula lacks.

    Raises:
        TransfixError: if there is one among what is `given`, or if the mask is the layer's own.
    """
    missing = [name for name in _NOT_OURS if given.get(name) is not None]
    if mask is not None and mask.dtype != torch.bool:
        missing.append("a mask of its own")
    if missing:
        raise TransfixError(
            f"{type(module).__name__} attends with {' and '.join(missing)}, which generation in rows does not know."
        )


def _fused_can(
    query: Float[Tensor, "batch heads tokens head"], value: Float[Tensor, "batch kv_heads keys value_head"]
) -> bool:
    """Whether the kernel below takes these: 16-bit numbers, heads of a multiple of 8, a GPU since Ampere."""
    fits = query.dtype in (torch.bfloat16, torch.float16) and query.shape[-1] % 8 == 0 and value.shape[-1] % 8 == 0
    return query.is_cuda and fits and torch.cuda.get_device_capability(query.device) >= (8, 0)


def _fused(
    query: Float[Tensor, "batch heads 1 head"],
    key: Float[Tensor, "batch kv_heads keys head"],
    value: Float[Tensor, "batch kv_heads keys value_head"],
    mask: Bool[Tensor, "batch 1 1 keys"] | None,
    scale: float,
) -> Float[Tensor, "batch 1 heads value_head"]:
    """The same by torch's memory-efficient kernel on a GPU, whose sums over a row's keys go one way, whatever is beside it.

    The query heads of a key/value head are its rows.
    """
    groups, rows = key.shape[1], query.shape[1] // key.shape[1]
    wide = None if mask is None else mask.expand(-1, groups, rows, -1)
    with sdpa_kernel(SDPBackend.EFFICIENT_ATTENTION):
        output: Tensor = nn.functional.scaled_dot_product_attention(
            query.view(-1, groups, rows, query.shape[-1]), key, value, attn_mask=wide, scale=scale
        )
    return output.reshape(query.shape[0], 1, query.shape[1], -1)


def row_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int | Tensor = 0,
    mask_function: Callable[..., Any] = causal_mask_function,
    **kwargs: Any,
) -> Bool[Tensor, "batch 1 tokens keys"] | None:
    """The mask of a `RowCache`: transformers' own mask function, asked about each row's positions.

    Slot i of n holds the last position p' ≤ p with p' mod n = i, if there is one, p being the row's newest position.
    """
    if not isinstance(q_offset, Tensor):  # no `RowCache`: a soft prompt is run
        mask: Tensor | None = sdpa_mask(
            batch_size,
            q_length,
            kv_length,
            q_offset,
            mask_function=mask_function,
            **kwargs | {"allow_is_causal_skip": False},
        )
        return mask
    newest = q_offset[:, None, None, None]
    rows = torch.arange(batch_size, device=newest.device)[:, None, None, None]
    slots = torch.arange(kv_length, device=newest.device)[None, None, None]
    held = newest - (newest - slots) % kv_length
    seen: Tensor = mask_function(rows, torch.zeros_like(rows[:1]), newest, held) & (held >= 0)
    return seen


AttentionInterface.register(ROWS, partial(attend, row_attention, apart=True))
AttentionMaskInterface.register(ROWS, row_mask)
