"""The head of an encoder: its settings."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from transfix.adapters.methods.part import LayerShape, Part


class TaskHead(Part):
    """The head that gives an encoder's answers: a copy of the model's own, which is learned.

    Every adapter that learns something on a model with such a head has one, whether it is named or not. By itself it is a
    linear probe.

    Attributes:
        learning_rate: its own: what is right for a prefix is far too much for whole matrices.
    """

    label: ClassVar = "Head only"
    implementation: ClassVar = "transfix.adapters.methods.task_head.layer:TaskHeadMethod"
    usual_rate: ClassVar = 1e-3
    trains_head: ClassVar = True
    method: Literal["task_head"] = "task_head"
    learning_rate: Annotated[float, Field(gt=0)] | None = 1e-3

    def kept(self, shape: LayerShape, width: int, cpu: bool) -> int:
        """Nothing in the layers."""
        return 0
