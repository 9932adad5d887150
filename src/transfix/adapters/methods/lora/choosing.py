"""PEFT's layers keep the adapter that is on in an attribute, for whoever calls next; ours ask what the forward runs with."""

from __future__ import annotations

from functools import cache
from typing import Any

from torch import Tensor

from transfix.adapters.methods.choosing import Choosing, called_like
from transfix.adapters.state import AdapterState


def let_forward_choose(layer: Any, state: AdapterState) -> None:
    """From now on a LoRA layer computes with the adapters that are on in its forward, for all rows or row by row.

    What PEFT would do for rows is not used: it refuses training, does not know that generation repeats rows for beams, and
    leaves its hooks behind when an exception passes.
    """
    if not hasattr(layer, "transfix_state"):
        kind: Any = type(layer)
        layer.__class__ = _choosing(kind)
        layer.transfix_state = state


@cache
def _choosing(kind: Any) -> Any:
    """A subclass of one of PEFT's kinds of layer, called like it."""

    class LoRALayer(kind, Choosing):  # type: ignore[misc]
        @property
        def disable_adapters(self) -> bool:
            return not self.active_adapters

        @property
        def active_adapters(self) -> list[str]:
            held = self._modules["lora_A"]._modules  # looked up as attributes they take as long as all else here
            return [name for name in self.transfix_state.active if name in held]

        @property
        def active_adapter(self) -> list[str]:
            return self.active_adapters

        def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            if self.transfix_state.rows is not None:
                kwargs["adapter_names"] = [name or "__base__" for name in self.transfix_state.row_names(x.shape[0])]
            result: Tensor = super().forward(x, *args, **kwargs)
            return result

    return called_like(LoRALayer, _choosing, kind)
