"""Full fine-tuning: its settings, and the memory of what linear layers keep."""

from __future__ import annotations

from typing import ClassVar, Literal

from transfix.adapters.methods.part import LayerShape, Part


class FullFineTuning(Part):
    """Ordinary fine-tuning of every weight."""

    label: ClassVar = "Full fine-tuning"
    implementation: ClassVar = "transfix.adapters.methods.full.layer:FullFineTuningMethod"
    usual_rate: ClassVar = 2e-5
    trains_base: ClassVar = True
    stands_alone: ClassVar = "it trains every weight already"
    method: Literal["full"] = "full"

    def kept(self, shape: LayerShape, width: int, cpu: bool) -> int:
        """Inputs of the linear layers, and what the norms' own weights multiply."""
        return width * (4 * shape.hidden + shape.inner) + 4 * shape.norms
