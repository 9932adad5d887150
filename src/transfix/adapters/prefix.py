"""Prefix tuning (`prefix`) and LLaMA-Adapter (`llama_adapter`): what one layer learns and what it adds to attention.

    prefix          o = softmax([q K_pᵀ·s ; q Kᵀ·s + M]) [V_p ; V]               one joint softmax
    llama_adapter   o = softmax(q Kᵀ·s + M) V  +  g · softmax(q K_pᵀ·s) V_p      two softmaxes, gate g zero at the start

where q (H, T, h) is the rotated query, K, V the keys and values of the base layer, M its mask, s its scaling, and
K_p = knorm(E W_k), V_p = E W_v come from a learned prefix E (P, d) through the layer's own frozen projections, **not
rotated**: every query sees the prefix alike, wherever it stands. Sources: Li & Liang 2021 (prefix tuning), Zhang et al.
2023 (LLaMA-Adapter), arXiv 2510.24619 (the projected parametrisation).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from transfix.adapters.architecture import KeyValueSource

KeysValues = tuple[Float[Tensor, "kv_heads prefix head"], Float[Tensor, "kv_heads prefix head"]]


class ProjectedPrefix(nn.Module):
    """E (P, d) of one layer, seen through the layer's own W_k and W_v.

    Attributes:
        embedding: E, float32 whatever the base's dtype.
        tokens: P.
    """

    def __init__(self, tokens: int, hidden: int, source: KeyValueSource, norm: nn.Module | None, device: torch.device):
        super().__init__()
        self.tokens = tokens
        self.embedding = nn.Parameter(torch.zeros(tokens, hidden, dtype=torch.float32, device=device))
        self._frozen = (source, norm)  # in a tuple, so that the base's modules are not registered a second time
        self._cached: tuple[tuple[object, ...], KeysValues] | None = None

    def keys_values(self, dtype: torch.dtype, decoding: bool = False) -> KeysValues:
        """K_p and V_p (G, P, h) in `dtype`.

        Kept only while gradients are off, until a weight changes, and used again only while `decoding` token by token:
        a write through `weight.data` leaves no trace, so every forward over several tokens computes them afresh.
        """
        if torch.is_grad_enabled():
            self._cached = None
            return self._projected(dtype)
        source, norm = self._frozen
        weights = [self.embedding, *source.weights(), *(norm.parameters() if norm is not None else ())]
        stamp = _stamp(weights, dtype)
        if stamp is None:
            return self._projected(dtype)
        if not decoding or self._cached is None or self._cached[0] != stamp:
            self._cached = (stamp, self._projected(dtype))
        return self._cached[1]

    def _projected(self, dtype: torch.dtype) -> KeysValues:
        source, norm = self._frozen
        states = self.embedding.to(dtype)
        return source(norm(states) if norm is not None else states)


class FreePrefix(nn.Module):
    """K_p and V_p (G, P, h) of one layer, learned as they are (`projection: none`)."""

    def __init__(self, tokens: int, heads: int, head_size: int, device: torch.device):
        super().__init__()
        self.tokens = tokens
        self.keys = nn.Parameter(torch.zeros(heads, tokens, head_size, dtype=torch.float32, device=device))
        self.values = nn.Parameter(torch.zeros(heads, tokens, head_size, dtype=torch.float32, device=device))

    def keys_values(self, dtype: torch.dtype, decoding: bool = False) -> KeysValues:
        """K_p and V_p (G, P, h) in `dtype`; nothing to keep, whether `decoding` or not."""
        return self.keys.to(dtype), self.values.to(dtype)


class GatedPrefix(nn.Module):
    """A prefix with its gate g: (H,) per head or (1,) per layer, zero at the start.

    Attributes:
        prefix: the layer's prefix.
        gate: g.
        tanh: whether g passes through tanh before it is applied.
    """

    def __init__(self, prefix: ProjectedPrefix, gates: int, tanh: bool):
        super().__init__()
        self.prefix = prefix
        self.tanh = tanh
        self.gate = nn.Parameter(torch.zeros(gates, dtype=torch.float32, device=prefix.embedding.device))

    def gates(self, heads: int) -> Float[Tensor, " heads"]:
        """g, one value a head."""
        gate = torch.tanh(self.gate) if self.tanh else self.gate
        return gate.expand(heads)


def _stamp(weights: list[Tensor], dtype: torch.dtype) -> tuple[object, ...] | None:
    """A value that changes whenever one of `weights` is written or moved; None where that cannot be known."""
    try:
        return (dtype, *((weight.data_ptr(), weight._version) for weight in weights))
    except RuntimeError:  # inference tensors keep no version
        return None
