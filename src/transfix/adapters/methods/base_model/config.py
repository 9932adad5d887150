"""The base model itself: nothing to set."""

from __future__ import annotations

from typing import ClassVar, Literal

from transfix.adapters.methods.part import LayerShape, Part


class Base(Part):
    """Nothing is learned: the base model itself, prompted. The control."""

    label: ClassVar = "Base model"
    implementation: ClassVar = "transfix.adapters.methods.base:Method"
    learns: ClassVar = False
    stands_alone: ClassVar = "it trains nothing"
    method: Literal["base"] = "base"

    def described(self) -> list[str]:
        """`Base`."""
        return ["Base"]

    def kept(self, shape: LayerShape, width: int, cpu: bool) -> int:
        """Nothing."""
        return 0
