"""Prefix tuning: what one layer learns and computes.

    o = softmax([q K_pᵀ·s ; q Kᵀ·s + M]) [V_p ; V]               one joint softmax over prefix and tokens

where q (H, T, h) is the rotated query, K, V the keys and values of the base layer, M its mask, s its scaling. With
`projection: base` K_p = knorm(E W_k) and V_p = E W_v come from a learned E (P, d) (`methods/projection.py`); with `none`
they are learned themselves. Sources: Li & Liang 2021; arXiv 2510.24619 (the projected parametrisation).
"""

from __future__ import annotations

import torch
from torch import nn

from transfix.adapters.architecture import KeysValues, Layer
from transfix.adapters.methods.base import AdapterLayer, LayerMethod
from transfix.adapters.methods.prefix_tuning.config import PrefixTuning
from transfix.adapters.methods.projection import ProjectedPrefix
from transfix.adapters.start_values import StartValues, fill


class ProjectedPrefixLayer(AdapterLayer):
    """K_p and V_p of a learned E (`projection: base`)."""

    def __init__(self, prefix: ProjectedPrefix) -> None:
        super().__init__()
        self.prefix = prefix

    def columns(self, dtype: torch.dtype, decoding: bool) -> KeysValues:
        """[K_p ; ·], [V_p ; ·]."""
        return self.prefix.keys_values(dtype, decoding)

    @property
    def kept(self) -> object:  # type: ignore[override]
        """What a recorded decoding step reads."""
        return self.prefix.kept


class FreePrefixLayer(AdapterLayer):
    """K_p and V_p (G, P, h), learned as they are (`projection: none`)."""

    def __init__(self, tokens: int, heads: int, head_size: int, device: torch.device) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.zeros(heads, tokens, head_size, dtype=torch.float32, device=device))
        self.values = nn.Parameter(torch.zeros(heads, tokens, head_size, dtype=torch.float32, device=device))

    def columns(self, dtype: torch.dtype, decoding: bool) -> KeysValues:
        """[K_p ; ·], [V_p ; ·]; nothing to keep, whether `decoding` or not."""
        return self.keys.to(dtype), self.values.to(dtype)


class PrefixTuningMethod(LayerMethod):
    """`prefix`: E, or the keys and values themselves, on every adapted layer."""

    part: PrefixTuning

    def make(self, layer: Layer) -> ProjectedPrefixLayer | FreePrefixLayer:
        """An empty prefix for `layer`."""
        if self.part.projection == "none":
            return FreePrefixLayer(self.part.tokens, *layer.key_value_shape, layer.device)
        return ProjectedPrefixLayer(ProjectedPrefix.on(self.site.model, layer, self.part.tokens, self.part.norm))

    def initialise(self, starts: StartValues, generator: torch.Generator) -> None:
        """Start values of E, or of the keys and values that such an E would give."""
        for layer, module in self.pairs():
            if isinstance(module, ProjectedPrefixLayer):
                states = starts.states(layer, self.part, generator, before_norm=self.part.norm == "layer")
                fill(module.prefix.embedding, states)
            else:
                keys, values = starts.keys_values(layer, self.part, generator)
                fill(module.keys, keys)
                fill(module.values, values)
