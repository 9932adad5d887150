"""Prefix tuning: its settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

from pydantic import model_validator

from transfix.adapters.methods.part import LayerPrefix, Part


class PrefixTuning(LayerPrefix):
    """Prefix tuning with one joint softmax over prefix and tokens (Li & Liang 2021; arXiv 2510.24619).

    Attributes:
        tokens: P, the prefix length.
        layers: `all`, L (the top L layers) or explicit layer indices.
        projection: `base` learns E (P, d) and sends it through the layer's frozen W_k, W_v; `none` learns the keys and
            values (G, P, h) themselves.
        norm: `layer` sends E through the layer's own input norm first, as real states are; `none`, the study's form, does
            not. `auto` is `layer` where every layer has such a norm.
        init: `text` takes the model's own states on `init_text`, `normal` fits the scale of the layer's real inputs (times
            `init_scale`), `zero` is zero. `auto` is `text` where a tokenizer is at hand, else `normal`.
        learning_rate_scale: `relative` multiplies the learning rate by the root mean square of each tensor's start value.
    """

    label: ClassVar = "Prefix tuning"
    implementation: ClassVar = "transfix.adapters.methods.prefix_tuning.layer:PrefixTuningMethod"
    method: Literal["prefix"] = "prefix"
    projection: Literal["base", "none"] = "base"

    @model_validator(mode="after")
    def _norm_needs_projection(self) -> PrefixTuning:
        if self.norm == "layer" and self.projection == "none":
            raise ValueError("norm: layer needs projection: base (keys and values have no input norm)")
        return self

    def settled(self, normed: Callable[[], bool], readable: bool) -> Part:
        """Keys and values that are learned themselves pass no norm."""
        found = super().settled(normed, readable)
        return found.model_copy(update={"norm": "none"}) if self.projection == "none" else found

    def unusual(self) -> list[str]:
        """`unprojected`, `no norm`."""
        return ["unprojected"] if self.projection == "none" else ["no norm"] * (self.norm == "none")

    @classmethod
    def variants(cls, layers: int) -> dict[str, Part]:
        """Projected, as in the study, and not."""
        size = f"{cls.named()} P={cls.model_fields['tokens'].default} L={layers}"
        return {size: cls(layers=layers), f"{size}, unprojected": cls(layers=layers, projection="none")}
