"""Forms of the methods that were tried and are no part of transfix: registered as a user's own methods are.

    memory         o + φ(q K_mᵀ·s) V_m                  outside the softmax, V_m zero at the start, φ(x) = elu(x) + 1
    second_softmax o + g · softmax(q K_pᵀ·s) V_p        LLaMA-Adapter whose gate starts open, or stands at 1
    repeated       [K_p ; … ; K_p], [V_p ; … ; V_p]      prefix tuning with log(times) added to its columns in the softmax
    head_bias      o + b                                a vector (H, h) a layer, zero at the start

Sources: Prefix-Tuning+ (arXiv 2506.13674, whose memory is a full matrix h × h; here of rank M), the code that was published
with LLaMA-Adapter, LoFiT (arXiv 2406.01563).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from transfix.adapters.architecture import KeysValues, Layer
from transfix.adapters.methods.base import AdapterLayer, Group, LayerMethod
from transfix.adapters.methods.llama_adapter.config import LlamaAdapter
from transfix.adapters.methods.llama_adapter.layer import LlamaAdapterLayer, LlamaAdapterMethod
from transfix.adapters.methods.part import Layers, LayerShape, LearnedPrefix, Part
from transfix.adapters.methods.prefix_tuning.config import PrefixTuning
from transfix.adapters.methods.prefix_tuning.layer import PrefixTuningMethod, ProjectedPrefixLayer
from transfix.adapters.methods.projection import ProjectedPrefix
from transfix.adapters.methods.registry import register
from transfix.adapters.start_values import StartValues, fill, root_mean_square

HERE = __name__


@register
class Memory(LearnedPrefix):
    """A memory of `tokens` slots that is read without a softmax."""

    label: ClassVar = "Memory"
    implementation: ClassVar = f"{HERE}:MemoryMethod"
    method: Literal["memory"] = "memory"
    layers: Layers = "all"


class MemoryLayer(AdapterLayer):
    """K_m and V_m (G, M, h)."""

    def __init__(self, tokens: int, heads: int, size: int, device: torch.device) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.zeros(heads, tokens, size, device=device))
        self.values = nn.Parameter(torch.zeros(heads, tokens, size, device=device))

    def term(self, query: Tensor, scaling: float | None) -> Tensor:
        """φ(q K_mᵀ·s) V_m."""
        batch, heads, tokens, size = query.shape
        scale = size**-0.5 if scaling is None else scaling
        grouped = query.float().reshape(batch, len(self.keys), -1, tokens, size)
        weights = nn.functional.elu(torch.einsum("bgrth,gmh->bgrtm", grouped, self.keys) * scale) + 1
        read = torch.einsum("bgrtm,gmh->bgrth", weights, self.values) / self.keys.shape[1]
        return read.reshape(batch, heads, tokens, size).transpose(1, 2).to(query.dtype)


class MemoryMethod(LayerMethod):
    """`memory`: keys start as the layer's own on a text, values at zero, with the learning rate of values of the layer."""

    part: Memory

    def make(self, layer: Layer) -> MemoryLayer:
        """An empty memory."""
        return MemoryLayer(self.part.tokens, *layer.key_value_shape, layer.device)

    def initialise(self, starts: StartValues, generator: torch.Generator) -> None:
        """See above."""
        self.value_sizes = {}
        for layer, module in self.pairs():
            keys, values = starts.keys_values(layer, self.part, generator)
            fill(module.keys, keys)
            self.value_sizes[f"{layer.index}.values"] = root_mean_square(values)

    def groups(self) -> list[Group]:
        """Values move as far as those of the layer are large."""
        sizes = {**self._sizes, **getattr(self, "value_sizes", {})}
        rate = self.part.learning_rate
        return [Group((tensor,), rate, factor=sizes.get(name, 1.0)) for name, tensor in self.tensors.items()]


@register
class SecondSoftmax(LlamaAdapter):
    """LLaMA-Adapter whose gate starts at `start`; with `learned: false` it stays there."""

    label: ClassVar = "Second softmax"
    implementation: ClassVar = f"{HERE}:SecondSoftmaxMethod"
    method: Literal["second_softmax"] = "second_softmax"  # type: ignore[assignment]
    start: float = 1.0
    learned: bool = True

    def unusual(self) -> list[str]:
        """The gate."""
        return [*super().unusual(), f"gate {'from' if self.learned else 'stays at'} {self.start:g}"]


class FixedGate(LlamaAdapterLayer):
    """The gate is no parameter."""

    def __init__(self, prefix: ProjectedPrefix, gates: int, tanh: bool, start: float) -> None:
        super().__init__(prefix, gates, tanh)
        del self.gate
        self.register_buffer("gate", torch.full((gates,), start, device=prefix.embedding.device), persistent=False)


class SecondSoftmaxMethod(LlamaAdapterMethod):
    """`second_softmax`."""

    part: SecondSoftmax

    def make(self, layer: Layer) -> LlamaAdapterLayer:
        """The gate, learned or not."""
        if self.part.learned:
            return super().make(layer)
        prefix = ProjectedPrefix.on(self.site.model, layer, self.part.tokens, self.part.norm)
        return FixedGate(prefix, 1, self.part.tanh, self.part.start)

    def initialise(self, starts: StartValues, generator: torch.Generator) -> None:
        """E, and the gate at its start."""
        super().initialise(starts, generator)
        if self.part.learned:
            for _, module in self.pairs():
                fill(module.gate, torch.full_like(module.gate, self.part.start))

    def groups(self) -> list[Group]:
        """Without the gates where they are not learned."""
        return super().groups() if self.part.learned else LayerMethod.groups(self)


@register
class Repeated(PrefixTuning):
    """Prefix tuning whose columns stand `times` times in the softmax."""

    label: ClassVar = "Repeated prefix"
    implementation: ClassVar = f"{HERE}:RepeatedMethod"
    method: Literal["repeated"] = "repeated"  # type: ignore[assignment]
    times: Annotated[int, Field(ge=1)] = 4

    def unusual(self) -> list[str]:
        """How often."""
        return [*super().unusual(), f"{self.times} times"]


class RepeatedLayer(ProjectedPrefixLayer):
    """The columns, repeated."""

    times = 1

    def columns(self, dtype: torch.dtype, decoding: bool) -> KeysValues:
        """[K_p ; … ; K_p]."""
        keys, values = super().columns(dtype, decoding)
        return keys.repeat(1, self.times, 1), values.repeat(1, self.times, 1)


class RepeatedMethod(PrefixTuningMethod):
    """`repeated`."""

    part: Repeated

    def make(self, layer: Layer) -> RepeatedLayer:
        """A layer that repeats."""
        made = RepeatedLayer(ProjectedPrefix.on(self.site.model, layer, self.part.tokens, self.part.norm))
        made.times = self.part.times
        return made


@register
class HeadBias(Part):
    """A vector added to each head's output."""

    label: ClassVar = "Head bias"
    implementation: ClassVar = f"{HERE}:HeadBiasMethod"
    usual_rate: ClassVar = 0.1
    method: Literal["head_bias"] = "head_bias"
    layers: Layers = "all"

    def kept(self, shape: LayerShape, width: int, cpu: bool) -> int:
        """Nothing."""
        return 0


class HeadBiasLayer(AdapterLayer):
    """b (H, h)."""

    def __init__(self, heads: int, size: int, device: torch.device) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(heads, size, device=device))

    def term(self, query: Tensor, scaling: float | None) -> Tensor:
        """B, for every token."""
        return self.bias.to(query.dtype).expand(query.shape[0], query.shape[2], -1, -1)


class HeadBiasMethod(LayerMethod):
    """`head_bias`."""

    def make(self, layer: Layer) -> HeadBiasLayer:
        """Nothing added."""
        return HeadBiasLayer(layer.query_heads, layer.key_value_shape[1], layer.device)
