"""LoRA: its settings, and the memory of its activations."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from transfix.adapters.methods.part import Layers, LayerShape, Part


class LoRA(Part):
    """Low-rank adaptation, by PEFT (Hu et al. 2022).

    Attributes:
        rank: r.
        alpha: scaling numerator; `None` means 2 r.
        targets: which projections of the attention are adapted, by role; `all_linear` takes every linear layer of the
            body's adapted layers.
    """

    label: ClassVar = "LoRA"
    implementation: ClassVar = "transfix.adapters.methods.lora.layer:LoRAMethod"
    usual_rate: ClassVar = 2e-3
    same_speed: ClassVar = Part.same_speed | {"dropout"}
    method: Literal["lora"] = "lora"
    rank: Annotated[int, Field(ge=1)] = 4
    alpha: Annotated[float, Field(gt=0)] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Annotated[
        tuple[Literal["q", "k", "v", "o"], ...] | Literal["all_linear"],
        Field(description="all_linear, or a list of q, k, v or o"),
    ] = ("q", "k", "v")
    layers: Layers = "all"

    def described(self) -> list[str]:
        """Name, rank, and the targets if they are not the usual ones."""
        if self.targets == type(self).model_fields["targets"].default:
            return [f"{self.label} r={self.rank}"]
        on = "all linear layers" if self.targets == "all_linear" else "on " + ", ".join(self.targets)
        return [f"{self.label} r={self.rank}", on]

    def kept(self, shape: LayerShape, width: int, cpu: bool) -> int:
        """The input of A, in float32, and A's output; copied for each of q, k, v unless the base is in float32 too."""
        copies = 1 if width == 4 else 3
        return 4 * (copies * shape.hidden + 3 * self.rank)

    @classmethod
    def variants(cls, layers: int) -> dict[str, Part]:
        """With the study's two ranks."""
        return {f"{cls.named()} r={rank} on q, k, v": cls(rank=rank) for rank in (4, 128)}
