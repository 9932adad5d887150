"""Layers that are computed again in the backward pass, with the adapters that their forward had."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from transfix.adapters.state import AdapterState

CHECKPOINT = "_gradient_checkpointing_func"  # where transformers keeps what computes a layer again


class Remembering:
    """What transformers computes a layer again with, that remembers the adapters of the layer's forward.

    Attributes:
        whole: transformers' own.
        keywords: its settings.
    """

    def __init__(self, whole: Callable[..., Any], state: AdapterState) -> None:
        self.whole = whole
        self.keywords: dict[str, Any] = getattr(whole, "keywords", {})
        self._state = state

    def __call__(self, function: Callable[..., Any], *args: Any) -> Any:
        """`function` of the arguments, computed again in the backward pass."""
        if torch.compiler.is_compiling():  # what is compiled computes the same again
            return self.whole(function, *args)
        state, forward = self._state, self._state.now

        def remembered(*inputs: Any) -> Any:
            with state.within(forward):
                return function(*inputs)

        return self.whole(remembered, *args)
