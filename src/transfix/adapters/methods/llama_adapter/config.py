"""LLaMA-Adapter: its settings, and the memory of its second attention."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from transfix.adapters.methods.part import LayerPrefix, LayerShape, Part


class LlamaAdapter(LayerPrefix):
    """LLaMA-Adapter: a second softmax over the prefix, added through a gate that starts at zero (Zhang et al. 2023).

    Attributes:
        gate: one gate per head, or one per layer.
        tanh: pass the gate through tanh, as the published training code does (its inference code and PEFT do not).
    """

    label: ClassVar = "LLaMA-Adapter"
    implementation: ClassVar = "transfix.adapters.methods.llama_adapter.layer:LlamaAdapterMethod"
    same_speed: ClassVar = LayerPrefix.same_speed | {"gate_learning_rate"}
    method: Literal["llama_adapter"] = "llama_adapter"
    gate: Literal["per_head", "per_layer"] = "per_head"
    tanh: bool = False
    gate_learning_rate: Annotated[float, Field(gt=0)] | None = None

    def unusual(self) -> list[str]:
        """`no norm`, `gate per layer`, `tanh`."""
        norm, gate = ["no norm"] * (self.norm == "none"), ["gate per layer"] * (self.gate == "per_layer")
        return norm + gate + ["tanh"] * self.tanh

    def kept(self, shape: LayerShape, width: int, cpu: bool) -> int:
        """Besides: the second attention's queries in float32, its output and its weights."""
        attention = shape.heads * shape.head_size
        return super().kept(shape, width, cpu) + attention * (4 + width) + 4 * shape.heads * self.tokens

    @classmethod
    def variants(cls, layers: int) -> dict[str, Part]:
        """With a gate per head, and with one per layer."""
        size = f"{cls.named()} P={cls.model_fields['tokens'].default} L={layers}"
        per_layer = cls(layers=layers, gate="per_layer")
        return {f"{size}, gate per head": cls(layers=layers), f"{size}, gate per layer": per_layer}
