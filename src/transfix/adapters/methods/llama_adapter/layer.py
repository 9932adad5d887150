"""LLaMA-Adapter: what one layer learns and computes.

    o = softmax(q Kᵀ·s + M) V  +  g · softmax(q K_pᵀ·s) V_p                two softmaxes, gate g zero at the start

where K_p = knorm(E W_k), V_p = E W_v of a learned E (P, d) (`methods/projection.py`). Source: Zhang et al. 2023, section 3.2.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from transfix.adapters.architecture import Layer
from transfix.adapters.kernels import attend_to_prefix
from transfix.adapters.methods.base import AdapterLayer, Group, LayerMethod
from transfix.adapters.methods.llama_adapter.config import LlamaAdapter
from transfix.adapters.methods.projection import ProjectedPrefix
from transfix.adapters.start_values import StartValues, fill


class LlamaAdapterLayer(AdapterLayer):
    """E and its gate g: (H,) per head or (1,) per layer, zero at the start; through tanh where `tanh` says so."""

    def __init__(self, prefix: ProjectedPrefix, gates: int, tanh: bool) -> None:
        super().__init__()
        self.prefix = prefix
        self.gate = nn.Parameter(torch.zeros(gates, dtype=torch.float32, device=prefix.embedding.device))
        self.tanh = tanh

    def term(
        self, query: Float[Tensor, "batch heads tokens head"], scaling: float | None
    ) -> Float[Tensor, "batch tokens heads head"]:
        """G · softmax(q K_pᵀ·s) V_p."""
        K_p, V_p = self.prefix.keys_values(query.dtype, decoding=query.shape[2] == 1)
        g = torch.tanh(self.gate) if self.tanh else self.gate
        g = g.expand(query.shape[1]).to(query.dtype)
        return attend_to_prefix(query, K_p, V_p, scaling) * g[None, None, :, None]

    @property
    def kept(self) -> object:  # type: ignore[override]
        """What a recorded decoding step reads."""
        return self.prefix.kept


class LlamaAdapterMethod(LayerMethod):
    """`llama_adapter`: E and a gate on every adapted layer."""

    part: LlamaAdapter

    def make(self, layer: Layer) -> LlamaAdapterLayer:
        """An empty prefix and a closed gate for `layer`."""
        prefix = ProjectedPrefix.on(self.site.model, layer, self.part.tokens, self.part.norm)
        gates = layer.query_heads if self.part.gate == "per_head" else 1
        return LlamaAdapterLayer(prefix, gates, self.part.tanh)

    def initialise(self, starts: StartValues, generator: torch.Generator) -> None:
        """Start values of E; the gates stay at zero."""
        for layer, module in self.pairs():
            states = starts.states(layer, self.part, generator, before_norm=self.part.norm == "layer")
            fill(module.prefix.embedding, states)

    def groups(self) -> list[Group]:
        """E as for every prefix, and the gates with a learning rate of their own."""
        gates = tuple(module.gate for module in self.modules)
        rest = [replace(group, parameters=_without(group.parameters, gates)) for group in super().groups()]
        rate = self.part.gate_learning_rate or self.part.learning_rate
        return [*(group for group in rest if group.parameters), Group(gates, rate)]


def _without(parameters: tuple[nn.Parameter, ...], others: tuple[nn.Parameter, ...]) -> tuple[nn.Parameter, ...]:
    return tuple(parameter for parameter in parameters if all(parameter is not other for other in others))
