"""The one place where prefixes enter a model: an attention function in transformers' registry.

    transformers layer ──q, K, V, M──▶ `attend` ──▶ no prefix here?  the backend, untouched
                                          │
                                          ├─ joint columns  [K_p ; K], [V_p ; V], mask widened ──▶ backend
                                          └─ added term     + g · softmax(q K_pᵀ·s) V_p

No module is replaced, no forward copied, `past_key_values` never touched. A layer's learned tensors live on its own
attention module (`attention.transfix`), so they move, shard and train with it; which adapters are on, and for which
rows, is the `Seam`'s state, one object a model.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.attention.bias import causal_lower_right
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, eager_mask, sdpa_mask

from transfix.adapters.architecture import Layer, UnsupportedModelError, body, support
from transfix.adapters.prefix import FreePrefix, GatedPrefix, KeysValues, ProjectedPrefix
from transfix.adapters.prompt import PromptPass
from transfix.errors import TransfixError

PREFIXED = "transfix_"
BACKENDS = ("sdpa", "eager")
FLASH_HEAD = 256
"""The largest head that torch's flash attention takes."""
SMALL_HEAD = 128
"""The largest head for which float32 is faster in training on a CPU: by a tenth to a quarter with 64, not with 256."""
_TINY = 400
"""Multiplications of a matrix product below which torch takes another kernel for a batch of them on a CPU."""
SNAPSHOT = "transfix"  # the keyword under which a forward's state reaches the attention function


Joint = tuple[
    Float[Tensor, "batch kv_heads prefix head"], Float[Tensor, "batch kv_heads prefix head"], Bool[Tensor, "..."] | None
]
"""K_p and V_p of every row, and which of them each query sees (B or 1, 1, T or 1, P); `None` for all."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one forward runs with.

    Travels with it through the layers where activations will be recomputed: by then other adapters may be in use, or
    another batch may have been seen.
    """

    active: tuple[str, ...]
    rows: tuple[int, ...] | None
    positions: Int[Tensor, "batch tokens"] | None
    recorded: dict[tuple[str, int], KeysValues]
    recording: str | None


class Seam:
    """The state that the attention function consults: which adapters are on, for which rows of the batch.

    Attributes:
        active: the names of the adapters in use.
        rows: for each row of the batch its index into `active` (-1: the base model); `None` if all rows use the first.
        prompts: the soft prompts attached, by adapter name.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.body = body(model)
        self.active: tuple[str, ...] = ()
        self.rows: tuple[int, ...] | None = None
        self.prompts = PromptPass(self)
        self.positions: Int[Tensor, "batch tokens"] | None = None
        self._base_backend = model.config._attn_implementation
        self._hooks: list[Any] = []

    def open(self) -> None:
        """Selects our attention function on the model.

        Raises:
            UnsupportedModelError: if the model is not on the attention registry, or its backend cannot take a prefix.
        """
        if self.opened:
            return
        found = support(self.model)
        if not found.supported and found.key_value == "unknown":
            raise UnsupportedModelError(found.reason)
        if "registry" in found.reason:
            raise UnsupportedModelError(found.reason)
        backend = self.model.config._attn_implementation
        if backend not in BACKENDS:
            raise UnsupportedModelError(
                f"prefix methods run on attn_implementation {' or '.join(BACKENDS)}, this model has {backend!r}: "
                'call model.set_attn_implementation("sdpa") first.'
            )
        self._base_backend = backend
        self.model.set_attn_implementation(PREFIXED + backend)
        self._hooks = [
            self.body.register_forward_pre_hook(self._before_body, with_kwargs=True),
            self.body.register_forward_hook(self._after_body, always_call=True),
        ]

    @property
    def opened(self) -> bool:
        """Whether our attention function is selected."""
        return bool(self._hooks)

    def close(self) -> None:
        """Gives the model its own attention function back."""
        if self.opened:
            for hook in self._hooks:
                hook.remove()
            self._hooks = []
            self.model.set_attn_implementation(self._base_backend)

    @contextmanager
    def using(self, active: tuple[str, ...], rows: tuple[int, ...] | None) -> Iterator[None]:
        """`active` and `rows` for the time of the block."""
        before = self.active, self.rows
        self.active, self.rows = active, rows
        try:
            yield
        finally:
            self.active, self.rows = before

    @contextmanager
    def as_in(self, past: Snapshot) -> Iterator[None]:
        """The state of an earlier forward, for the time of the block."""
        prompts = self.prompts
        now = self.positions, prompts.recorded, prompts.recording
        self.positions, prompts.recorded, prompts.recording = past.positions, past.recorded, past.recording
        try:
            with self.using(past.active, past.rows):
                yield
        finally:
            self.positions, prompts.recorded, prompts.recording = now

    def row_index(self, batch: int, device: torch.device) -> Int[Tensor, " batch"] | None:
        """For each row of a batch its index into `active`; beams and several returned sequences repeat their row's.

        Raises:
            TransfixError: if the batch is no multiple of the rows that were named.
        """
        index = self._row_indices(batch)
        return None if index is None else torch.tensor(index, device=device)

    def row_names(self, batch: int) -> list[str | None]:
        """For each row of a batch the name of its adapter; `None` for the base model.

        Raises:
            TransfixError: if the batch is no multiple of the rows that were named.
        """
        index = self._row_indices(batch)
        if index is None:
            return [self.active[0] if self.active else None] * batch
        return [None if number < 0 else self.active[number] for number in index]

    def _row_indices(self, batch: int) -> list[int] | None:
        if self.rows is None:
            return None
        if batch % len(self.rows):
            raise TransfixError(f"adapters were chosen for {len(self.rows)} rows, but the batch has {batch}.")
        return [number for number in self.rows for _ in range(batch // len(self.rows))]

    def _before_body(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Runs the soft prompts and gives the tokens positions that count from the first real token.

        Prefix keys are not rotated, so unlike in the base model absolute positions matter: with positions counted from
        the first padding token, the result would depend on the padding.
        """
        if self.prompts.recording is not None:
            return args, self._with_snapshot(kwargs, None)
        if not self.active:
            return args, kwargs
        chosen = self.body.config._attn_implementation
        if not str(chosen).startswith(PREFIXED):
            raise TransfixError(
                f"attn_implementation was set to {chosen!r} while an adapter is attached, which would leave its prefix "
                "out: choose it before attach (or detach, set_attn_implementation and load_adapter)."
            )
        tokens = kwargs.get("input_ids", args[0] if args else None)
        tokens = tokens if tokens is not None else kwargs.get("inputs_embeds")
        if tokens is None:
            return args, kwargs
        batch, length = tokens.shape[:2]
        self.prompts.run(tokens.device, decoding=length == 1)
        positions, mask = kwargs.get("position_ids"), kwargs.get("attention_mask")
        shift = self.prompts.shift(batch, tokens.device)
        if positions is None and isinstance(mask, Tensor) and mask.ndim == 2:
            positions = (mask.long().cumsum(-1) - 1).clamp(min=0)[:, -length:]
        if positions is None and shift is not None:
            cache = kwargs.get("past_key_values")
            past = cache.get_seq_length() if cache is not None else 0
            positions = (torch.arange(length, device=tokens.device) + past)[None].expand(batch, -1)
        if positions is not None:
            positions = positions if shift is None else positions + shift
            kwargs = {**kwargs, "position_ids": positions}
        self.positions = positions
        return args, self._with_snapshot(kwargs, positions)

    def _with_snapshot(self, kwargs: dict[str, Any], positions: Tensor | None) -> dict[str, Any]:
        """The arguments with this forward's state, if its activations will be recomputed."""
        if not (torch.is_grad_enabled() and self.body.training and self.body.is_activation_checkpointing):
            return kwargs
        prompts = self.prompts
        return {
            **kwargs,
            SNAPSHOT: Snapshot(self.active, self.rows, positions, prompts.recorded, prompts.recording),
        }

    def _after_body(self, *_: object) -> None:
        self.prompts.release()


class LayerSeam(nn.Module):
    """What the attached adapters have on one layer, by adapter name. Lives on the attention module as `transfix`.

    Attributes:
        joint: prefixes that share the layer's softmax.
        added: gated prefixes with a softmax of their own.
    """

    def __init__(self, seam: Seam, layer: Layer) -> None:
        super().__init__()
        self.seam = seam
        self.index = layer.index
        self.joint = nn.ModuleDict()
        self.added = nn.ModuleDict()

    def joint_columns(self, query: Tensor, window: int | None) -> Joint | None:
        """K_p, V_p (B, G, P, h) of every row, and which of them each query sees: (B, 1, T or 1, P), `None` for all."""
        batch, dtype = query.shape[0], query.dtype
        per_adapter: list[tuple[KeysValues, int] | None] = []
        for name in self.seam.active:
            prompt = self.seam.prompts.keys_values(name, self.index)
            prefix = self._prefix(self.joint, name, dtype, decoding=query.shape[2] == 1)
            found = [kv for kv in (prompt, prefix) if kv is not None]
            if not found:
                per_adapter.append(None)
                continue
            keys, values = (torch.cat(tensors, dim=1) for tensors in zip(*found, strict=True))
            per_adapter.append(((keys, values), prompt[0].shape[1] if prompt is not None else 0))
        if all(entry is None for entry in per_adapter):
            return None
        rows = self.seam.row_index(batch, query.device)
        keys, values, exists = _stack([entry and entry[0] for entry in per_adapter])
        visible = None
        if rows is None:
            keys, values = keys.expand(batch, -1, -1, -1), values.expand(batch, -1, -1, -1)
        else:
            keys, values, exists = _of_rows(rows, keys, values, exists)
            visible = exists[:, None, None, :]
        prompt_lengths = [entry[1] if entry else 0 for entry in per_adapter]
        if window is not None and any(prompt_lengths) and self.seam.positions is not None:
            # prompt tokens are tokens: a sliding window leaves them behind, as it would if they stood in the input
            lengths = torch.tensor(prompt_lengths, device=query.device)
            length = lengths[rows.clamp(min=0)] if rows is not None else lengths[:1]
            column = torch.arange(keys.shape[2], device=query.device)
            near = self.seam.positions[:, :, None] - column < window
            near = near | (column >= length[:, None, None])
            visible = near[:, None] if visible is None else visible & near[:, None]
        return keys, values, visible

    def added_term(self, query: Float[Tensor, "batch heads tokens head"], scaling: float | None) -> Tensor | None:
        """The second softmax, g · softmax(q K_pᵀ·s) V_p, as (B, T, H, h); `None` if no active adapter has one here."""
        batch, heads, tokens, _ = query.shape
        found = [self._gated(name) for name in self.seam.active]
        if all(part is None for part in found):
            return None
        gates = torch.stack(
            [query.new_zeros(heads, dtype=torch.float32) if p is None else p.gates(heads) for p in found]
        )
        keys, values, exists = _stack(
            [None if p is None else p.prefix.keys_values(query.dtype, decoding=tokens == 1) for p in found]
        )
        rows = self.seam.row_index(batch, query.device)
        visible = None
        if rows is None and tokens > 1 and query.device.type == "cpu":
            return _to_one_prefix(query, keys[0], values[0], scaling) * gates.to(query.dtype)[:, None, :, None]
        if rows is None:
            keys, values = keys.expand(batch, -1, -1, -1), values.expand(batch, -1, -1, -1)
        else:
            keys, values, exists = _of_rows(rows, keys, values, exists)
            gates = torch.where(rows[:, None] < 0, 0.0, gates[rows.clamp(min=0)])
            visible = (exists | ~exists.any(-1, keepdim=True))[:, None, None, :]  # an empty softmax would be NaN
        repeats = heads // keys.shape[1]
        if repeats > 1:
            keys, values = keys.repeat_interleave(repeats, dim=1), values.repeat_interleave(repeats, dim=1)
        term = nn.functional.scaled_dot_product_attention(query, keys, values, attn_mask=visible, scale=scaling)
        return term.transpose(1, 2) * gates.to(query.dtype)[:, None, :, None]

    def _gated(self, name: str) -> GatedPrefix | None:
        if name not in self.added:
            return None
        part = self.added[name]
        assert isinstance(part, GatedPrefix)
        return part

    @staticmethod
    def _prefix(bank: nn.ModuleDict, name: str, dtype: torch.dtype, decoding: bool) -> KeysValues | None:
        if name not in bank:
            return None
        part = bank[name]
        assert isinstance(part, ProjectedPrefix | FreePrefix)
        return part.keys_values(dtype, decoding)


def attend(
    backend: Callable[..., tuple[Tensor, Tensor | None]],
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    apart: bool = False,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention with the layer's prefixes: q (B, H, T, h), K, V (B, G, S, h) -> (B, T, H, h) and the weights, if any.

    With `apart` the backend gets the joint columns by themselves, as `prefix`, so that it need not copy K and V to join them.
    """
    layer, snapshot = getattr(module, "transfix", None), kwargs.pop(SNAPSHOT, None)
    if isinstance(layer, LayerSeam) and snapshot is not None:
        with layer.seam.as_in(snapshot):
            return attend(backend, module, query, key, value, attention_mask, scaling, apart, **kwargs)
    if not isinstance(layer, LayerSeam) or not (layer.seam.active or layer.seam.prompts.recording):
        return backend(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    layer.seam.prompts.record(layer.index, key, value)
    added = layer.added_term(query, scaling)
    joint = layer.joint_columns(query, kwargs.get("sliding_window"))
    if joint is not None and apart:
        kwargs["prefix"] = joint
    elif joint is not None:
        visible = joint[2]
        causal = kwargs.pop("is_causal", None)
        causal = getattr(module, "is_causal", True) if causal is None else causal
        if attention_mask is None and causal and query.shape[2] > 1:
            # transformers means "top-left causal over the first T keys" by None (an empty static cache has more)
            key, value = key[:, :, : query.shape[2]], value[:, :, : query.shape[2]]
            if visible is None and backend is _torch_attention and _flash_can(query):
                key, value, _ = joined(query, key, value, None, joint)
                output = _prefixed_flash(query, key, value, scaling, kwargs.get("dropout", 0.0))
                return (output if added is None else output + added), None
            attention_mask = torch.ones(query.shape[2], query.shape[2], dtype=torch.bool, device=query.device).tril()[
                None, None
            ]
        key, value, attention_mask = joined(query, key, value, attention_mask, joint)
    output, weights = backend(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    return (output if added is None else output + added), weights


def joined(
    query: Float[Tensor, "batch heads tokens head"],
    key: Float[Tensor, "batch kv_heads keys head"],
    value: Float[Tensor, "batch kv_heads keys head"],
    mask: Tensor | None,
    joint: Joint,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """[K_p ; K], [V_p ; V] and the mask with P more columns in front."""
    prefix_keys, prefix_values, visible = joint
    wide = _widened(mask, visible, query, key.shape[2], prefix_keys.shape[2])
    return torch.cat([prefix_keys, key], dim=2), torch.cat([prefix_values, value], dim=2), wide


def _flash_can(query: Tensor) -> bool:
    """Whether torch's flash attention takes these: it is told that a mask is causal, none is made."""
    return query.is_cuda and query.dtype in (torch.bfloat16, torch.float16) and query.shape[-1] <= FLASH_HEAD


def _prefixed_flash(
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


def _to_one_prefix(
    query: Float[Tensor, "batch heads tokens head"],
    keys: Float[Tensor, "kv_heads prefix head"],
    values: Float[Tensor, "kv_heads prefix head"],
    scaling: float | None,
) -> Float[Tensor, "batch tokens heads head"]:
    """softmax(q K_pᵀ·s) V_p of a prefix that all rows have, in float32: one small product a key/value head.

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


def _stack(
    entries: Sequence[tuple[Tensor, Tensor] | None],
) -> tuple[Tensor, Tensor, Bool[Tensor, "adapters longest"]]:
    """One (A, G, P, h) of keys and of values for A adapters, short or absent prefixes filled up; and what is real."""
    first = next(entry for entry in entries if entry is not None)
    lengths = [0 if entry is None else entry[0].shape[1] for entry in entries]
    longest, exists = max(lengths), torch.zeros(len(entries), max(lengths), dtype=torch.bool, device=first[0].device)
    if len(entries) == 1:
        return first[0][None], first[1][None], ~exists
    keys, values = [], []
    for row, (entry, length) in enumerate(zip(entries, lengths, strict=True)):
        pair = (first[0][:, :0], first[1][:, :0]) if entry is None else entry
        keys.append(nn.functional.pad(pair[0], (0, 0, 0, longest - length)))
        values.append(nn.functional.pad(pair[1], (0, 0, 0, longest - length)))
        exists[row, :length] = True
    return torch.stack(keys), torch.stack(values), exists


def _of_rows(
    rows: Int[Tensor, " batch"], keys: Tensor, values: Tensor, exists: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Each row's own (B, ...) by its adapter index; rows of the base model (-1) have nothing visible."""
    index = rows.clamp(min=0)
    return keys[index], values[index], exists[index] & (rows >= 0)[:, None]


def _torch_attention(
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


def _sdpa(module: nn.Module, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    return attend(_torch_attention, module, *args, **kwargs)


def _eager(module: nn.Module, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    own = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    if own is None:
        raise UnsupportedModelError(f"{type(module).__name__} has no eager attention function; use sdpa.")
    return attend(own, module, *args, **kwargs)


AttentionInterface.register(PREFIXED + "sdpa", _sdpa)
AttentionInterface.register(PREFIXED + "eager", _eager)
AttentionMaskInterface.register(PREFIXED + "sdpa", sdpa_mask)
AttentionMaskInterface.register(PREFIXED + "eager", eager_mask)
