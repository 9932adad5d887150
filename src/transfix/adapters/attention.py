"""The attention function: the one place where adapters enter a model, through transformers' registry.

    transformers layer ──q, K, V, M──▶ `attend` ──▶ no adapter here?  the backend, untouched
                                          │
                                          ├─ K', V' in place of K, V          of every part that changes them
                                          ├─ columns  [K_c ; K'], [V_c ; V'], mask widened ──▶ backend
                                          └─ terms    + term(q)               of every part that adds one

No module is replaced, no forward copied, `past_key_values` never touched. A layer's learned tensors live on its own
attention module (`attention.transfix`), so they move, shard and train with it; which adapters are on, and for which
rows, is the model's `AdapterState`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, eager_mask, sdpa_mask

from transfix.adapters import encoders
from transfix.adapters.architecture import KeysValues, UnsupportedModelError, body, support
from transfix.adapters.kernels import Columns, flash_can, joined, prefixed_flash, torch_attention
from transfix.adapters.methods.base import AdapterLayer, SharedState
from transfix.adapters.recomputing import CHECKPOINT, Remembering
from transfix.adapters.rotary import one_at_a_time
from transfix.adapters.state import AdapterState, Forward
from transfix.errors import TransfixError

PREFIXED = "transfix_"
BACKENDS = ("sdpa", "eager")
_EMPTY = nn.ModuleDict()
FORWARD = "transfix"  # the keyword under which a forward's state reaches the layers that are computed again


class LayerAdapters(nn.Module):
    """What the attached adapters have on one attention layer. Lives on the attention module as `transfix`.

    Attributes:
        index: the layer's number.
        adapters: by adapter name, then by method.
    """

    def __init__(self, state: AdapterState, index: int) -> None:
        super().__init__()
        self.state = state
        self.index = index
        self.adapters = nn.ModuleDict()

    def place(self, name: str, method: str, module: AdapterLayer) -> None:
        """Puts a part of an adapter here."""
        if name not in self.adapters:
            self.adapters[name] = nn.ModuleDict()
        cast(nn.ModuleDict, self.adapters[name])[_key(method)] = module

    def take_off(self, name: str, method: str) -> None:
        """Takes a part of an adapter off, if it is here."""
        if name not in self.adapters:
            return
        held = cast(nn.ModuleDict, self.adapters[name])
        if _key(method) in held:
            del held[_key(method)]
        if not len(held):
            del self.adapters[name]

    def parts(self, name: str, what: str) -> list[AdapterLayer]:
        """An adapter's modules here that do something at `what`: `columns`, `attended` or `term`."""
        if name not in self.adapters:
            return []
        modules = cast("Iterator[AdapterLayer]", self.adapters[name].children())
        return [module for module in modules if getattr(type(module), what) is not getattr(AdapterLayer, what)]

    def of_rows(self, batch: int, what: str, device: torch.device) -> list[tuple[Tensor | None, list[AdapterLayer]]]:
        """The modules of each active adapter that do something at `what`, with the rows it is on for; `None`: all."""
        rows = self.state.row_indices(batch)
        found: list[tuple[Tensor | None, list[AdapterLayer]]] = []
        for number, name in enumerate(self.state.active):
            if parts := self.parts(name, what):
                own = None if rows is None else [row for row, chosen in enumerate(rows) if chosen == number]
                found.append((None if own is None else torch.tensor(own, device=device), parts))
        return found

    def columns(self, query: Tensor, window: int | None) -> Columns | None:
        """K_c, V_c (B, G, P, h) of every row, and which of them each query sees: (B, 1, T or 1, P), `None` for all."""
        batch, decoding = query.shape[0], query.shape[2] == 1
        found = [self._columns_of(name, query.dtype, decoding) for name in self.state.active]
        if all(entry is None for entry in found):
            return None
        rows = self.state.row_index(batch, query.device)
        keys, values, exists = _stack([entry and entry[0] for entry in found])
        visible = None
        if rows is None:
            keys, values = keys.expand(batch, -1, -1, -1), values.expand(batch, -1, -1, -1)
        else:
            index = rows.clamp(min=0)  # rows of the base model (-1) see none
            keys, values, exists = keys[index], values[index], exists[index] & (rows >= 0)[:, None]
            visible = exists[:, None, None, :]
        in_positions = [entry[1] if entry else 0 for entry in found]
        positions = self.state.now.positions
        if window is not None and any(in_positions) and positions is not None:
            near = _within(window, positions, in_positions, rows, keys.shape[2])
            visible = near[:, None] if visible is None else visible & near[:, None]
        return keys, values, visible

    def _columns_of(self, name: str, dtype: torch.dtype, decoding: bool) -> tuple[KeysValues, int] | None:
        """One adapter's columns, those with positions first, and how many have them."""
        parts = sorted(self.parts(name, "columns"), key=lambda part: part.in_positions == 0)
        given = [(part.columns(dtype, decoding), part.in_positions) for part in parts]
        found = [(columns, count) for columns, count in given if columns is not None]
        if not found:
            return None
        keys, values = (torch.cat(tensors, dim=1) for tensors in zip(*(columns for columns, _ in found), strict=True))
        return (keys, values), sum(count for _, count in found)

    def attended(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """K' and V' (B, G, S, h): what each row's adapter makes of the layer's keys and values."""
        for rows, parts in self.of_rows(key.shape[0], "attended", key.device):
            own_key, own_value = (key, value) if rows is None else (key[rows], value[rows])
            for part in parts:
                own_key, own_value = part.attended(own_key, own_value)
            if rows is not None:
                own_key, own_value = key.index_copy(0, rows, own_key), value.index_copy(0, rows, own_value)
            key, value = own_key, own_value
        return key, value

    def term(self, query: Float[Tensor, "batch heads tokens head"], scaling: float | None) -> Tensor | None:
        """The sum of the terms of each row's adapter, (B, T, H, h); `None` if there is none."""
        total: Tensor | None = None
        for rows, parts in self.of_rows(query.shape[0], "term", query.device):
            own = query if rows is None else query[rows]
            for part in parts:
                term = part.term(own, scaling)
                if term is None:
                    continue
                if rows is not None:
                    term = term.new_zeros(query.shape[0], *term.shape[1:]).index_copy(0, rows, term)
                total = term if total is None else total + term
        return total


def _key(method: str) -> str:
    """A method's key in a module container: a name that torch keeps for itself gets a `-`, which no method's has."""
    return f"{method}-" if hasattr(_EMPTY, method) else method


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
    """Attention with the layer's adapters: q (B, H, T, h), K, V (B, G, S, h) -> (B, T, H, h) and the weights, if any.

    With `apart` the backend gets the columns by themselves, as `prefix`, so that it need not copy K and V to join them.
    """
    here, forward = getattr(module, "transfix", None), kwargs.pop(FORWARD, None)
    if isinstance(here, LayerAdapters) and forward is not None:
        with here.state.within(forward):
            return attend(backend, module, query, key, value, attention_mask, scaling, apart, **kwargs)
    if not isinstance(here, LayerAdapters) or not here.state.active:
        return backend(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    key, value = here.attended(key, value)
    here.state.record(here.index, key, value)
    term = here.term(query, scaling)
    columns = here.columns(query, kwargs.get("sliding_window"))
    if columns is not None and apart:
        kwargs["prefix"] = columns
    elif columns is not None:
        causal = kwargs.pop("is_causal", None)
        causal = getattr(module, "is_causal", True) if causal is None else causal
        if attention_mask is None and causal and query.shape[2] > 1:
            # transformers means "top-left causal over the first T keys" by None (an empty static cache has more)
            key, value = key[:, :, : query.shape[2]], value[:, :, : query.shape[2]]
            if columns[2] is None and backend is torch_attention and flash_can(query):
                key, value, _ = joined(query, key, value, None, columns)
                output = prefixed_flash(query, key, value, scaling, kwargs.get("dropout", 0.0))
                return (output if term is None else output + term), None
            attention_mask = torch.ones(query.shape[2], query.shape[2], dtype=torch.bool, device=query.device).tril()[
                None, None
            ]
        key, value, attention_mask = joined(query, key, value, attention_mask, columns)
    output, weights = backend(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    return (output if term is None else output + term), weights


def _stack(entries: Sequence[tuple[Tensor, Tensor] | None]) -> tuple[Tensor, Tensor, Bool[Tensor, "adapters longest"]]:
    """One (A, G, P, h) of keys and of values for A adapters, short or absent columns filled up; and what is real."""
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


def _within(
    window: int,
    positions: Int[Tensor, "batch tokens"],
    in_positions: Sequence[int],
    rows: Int[Tensor, " batch"] | None,
    columns: int,
) -> Bool[Tensor, "rows tokens columns"]:
    """Which columns a sliding window leaves in sight: those that are tokens with positions go as other tokens do."""
    lengths = torch.tensor(in_positions, device=positions.device)
    length = lengths[rows.clamp(min=0)] if rows is not None else lengths[:1]
    column = torch.arange(columns, device=positions.device)
    near = positions[:, :, None] - column < window
    return near | (column >= length[:, None, None])


class AdaptedAttention:
    """Our attention function on a model, selected while an adapter has something on its layers."""

    def __init__(
        self, model: PreTrainedModel, state: AdapterState, shared: Sequence[SharedState], names: Container[str]
    ) -> None:
        """`shared` is what the model's methods keep once a model, `names` those of its adapters; both may change."""
        self.model = model
        self._names = names
        self.body = body(model)
        self.state = state
        self._shared = shared
        self._base_backend = model.config._attn_implementation
        self.opened = False
        self._hooks = [
            self.body.register_forward_pre_hook(self._before_body, with_kwargs=True),
            self.body.register_forward_hook(self._after_body, always_call=True),
        ]
        self._rotary = list(one_at_a_time(self.body))

    def open(self) -> None:
        """Selects our attention function on the model.

        Raises:
            UnsupportedModelError: if the model is not on the attention registry, or its backend cannot take a prefix.
        """
        if self.opened:
            return
        found = support(self.model)
        if not found.free_prefixes:
            raise UnsupportedModelError(found.reason)
        backend = self.model.config._attn_implementation
        if backend not in BACKENDS:
            raise UnsupportedModelError(
                f"prefix methods run on attn_implementation {' or '.join(BACKENDS)}, this model has {backend!r}: "
                f'call model.set_attn_implementation("{BACKENDS[not self.body._supports_sdpa]}") first.'
            )
        self._base_backend = backend
        self.model.set_attn_implementation(PREFIXED + backend)
        self.opened = True

    def close(self) -> None:
        """Gives the model its own attention function back."""
        if self.opened:
            self.opened = False
            self.model.set_attn_implementation(self._base_backend)

    def leave(self) -> None:
        """Takes everything of ours off the body."""
        self.close()
        for hook in self._hooks:
            hook.remove()
        for rotary in self._rotary:
            if not rotary.forgets:
                rotary.remove()
        for module in self.body.modules():
            if isinstance(checkpoint := getattr(module, CHECKPOINT, None), Remembering):
                setattr(module, CHECKPOINT, checkpoint.whole)

    def shift(self, batch: int, device: torch.device) -> Int[Tensor, "rows 1"] | None:
        """How many positions the tokens of each row move to the right, (B or 1, 1); `None` if none."""
        shifts = [shift for shared in self._shared if (shift := shared.shift(batch, device)) is not None]
        return sum(shifts[1:], shifts[0]) if shifts else None

    def _before_body(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Runs what comes before the body, and gives the tokens positions that count from the first real token.

        Prefix keys are not rotated, so unlike in the base model absolute positions matter: with positions counted from
        the first padding token, the result would depend on the padding.
        """
        if (prompt := self.state.now).recording is not None:
            return args, self._with_forward(kwargs, prompt)
        if getattr(module, "_is_replica", False) and self.state.chosen_elsewhere:
            raise TransfixError(
                "use() and disabled() do not reach the copies that DataParallel runs in threads of their own: use one GPU "
                "(CUDA_VISIBLE_DEVICES=0), or DistributedDataParallel (torchrun, accelerate launch)."
            )
        forward = self.state.begin()
        if not forward.active:
            return args, kwargs
        if gone := [name for name in forward.active if name not in self._names]:
            raise TransfixError(f"adapter {gone[0]!r} was taken off the model inside a block that uses it.")
        chosen = self.body.config._attn_implementation
        if self.opened and not str(chosen).startswith(PREFIXED):
            raise TransfixError(
                f"attn_implementation was set to {chosen!r} while an adapter is attached, which would leave its prefix "
                f"out: set it to {' or '.join(repr(PREFIXED + name) for name in BACKENDS)}, or choose "
                f"{' or '.join(BACKENDS)} before attach."
            )
        tokens = kwargs.get("input_ids", args[0] if args else None)
        tokens = tokens if tokens is not None else kwargs.get("inputs_embeds")
        if tokens is None:
            return args, kwargs
        for shared in self._shared:
            shared.before_forward(tokens.device, decoding=tokens.shape[1] == 1)
        if self.opened:
            kwargs = self._placed(tokens, kwargs)
            forward.positions = kwargs.get("position_ids")
        return args, self._with_forward(kwargs, forward)

    def _placed(self, tokens: Tensor, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments with the positions of the tokens."""
        batch, length = tokens.shape[:2]
        positions, mask = kwargs.get("position_ids"), kwargs.get("attention_mask")
        shift = self.shift(batch, tokens.device)
        first, own = encoders.first_position(self.body), encoders.positions_from_tokens(self.body)
        if own and shift is None and not tokens.is_floating_point():
            return kwargs  # they count from the first real token already
        if positions is None and isinstance(mask, Tensor) and mask.ndim == 2:
            positions = (mask.long().cumsum(-1) - 1).clamp(min=0)[:, -length:] + first
        if positions is None and shift is not None:
            cache = kwargs.get("past_key_values")
            past = cache.get_seq_length() if cache is not None else 0
            positions = (torch.arange(length, device=tokens.device) + past + first)[None].expand(batch, -1)
        if positions is None:
            return kwargs
        return {**kwargs, "position_ids": positions if shift is None else positions + shift}

    def _with_forward(self, kwargs: dict[str, Any], forward: Forward) -> dict[str, Any]:
        """The arguments with this forward's state, if its activations will be recomputed."""
        if not (torch.is_grad_enabled() and self.body.training and self.body.is_activation_checkpointing):
            return kwargs
        if any(shared.outside_attention for shared in self._shared):
            for module in self.body.modules():
                checkpoint = getattr(module, CHECKPOINT, None)
                if checkpoint is not None and not isinstance(checkpoint, Remembering):
                    setattr(module, CHECKPOINT, Remembering(checkpoint, self.state))
        return {**kwargs, FORWARD: forward} if self.opened else kwargs

    def _after_body(self, *_: object) -> None:
        if self.state.now.recording is not None:
            return
        self.state.end()
        for shared in self._shared:
            shared.after_forward()


def _sdpa(module: nn.Module, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    return attend(torch_attention, module, *args, **kwargs)


def _eager(module: nn.Module, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    own = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    if own is None:
        raise UnsupportedModelError(f"{type(module).__name__} has no eager attention function; use {PREFIXED}sdpa.")
    return attend(own, module, *args, **kwargs)


AttentionInterface.register(PREFIXED + "sdpa", _sdpa)
AttentionInterface.register(PREFIXED + "eager", _eager)
AttentionMaskInterface.register(PREFIXED + "sdpa", sdpa_mask)
AttentionMaskInterface.register(PREFIXED + "eager", eager_mask)
