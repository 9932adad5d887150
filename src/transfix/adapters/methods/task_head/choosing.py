"""A module of the head that asks which adapter is on, and lets that adapter's copy of it answer, row by row if need be."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from transfix.adapters.methods.choosing import Choosing, called_like
from transfix.adapters.state import AdapterState


def let_forward_choose(module: nn.Module, state: AdapterState) -> None:
    """From now on a module that has copies of itself (`transfix`, by adapter) computes with those that are on."""
    held: Any = module
    kind: Any = type(module)
    held.__class__ = _choosing(kind)
    held.transfix_state = state


def give_back(module: nn.Module) -> None:
    """Makes a module what it was before `let_forward_choose`."""
    held: Any = module
    held.__class__ = type(held).transfix_made[1]
    del held.transfix_state


@cache
def _choosing(kind: Any) -> Any:
    """A subclass of a kind of module, called like it."""

    class HeadModule(kind, Choosing):  # type: ignore[misc]
        def forward(self, states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            """What the copies of the active adapters give, in float32; the module's own for the base's rows."""
            state = self.transfix_state
            names, rows = state.active, state.row_index(states.shape[0], states.device)
            if rows is None:
                return self._of(names[0] if names else None, states, *args, **kwargs)
            total: Tensor | None = None
            for number, name in enumerate((None, *names), start=-1):
                own = (rows == number).nonzero()[:, 0]
                if len(own):
                    found = self._of(name, states[own], *args, **kwargs).float()
                    total = found.new_zeros(len(rows), *found.shape[1:]) if total is None else total
                    total = total.index_copy(0, own, found)
            assert total is not None
            return total

        def _of(self, name: str | None, states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            copies = self._modules["transfix"]
            result: Tensor
            if name is None or name not in copies:
                result = super().forward(states.to(_dtype(self)), *args, **kwargs)
            else:
                result = copies[name](states.float(), *args, **kwargs)
            return result

    return called_like(HeadModule, _choosing, kind)


def _dtype(module: nn.Module) -> torch.dtype:
    """The dtype of a module's own weights."""
    return next(parameter.dtype for path, parameter in module.named_parameters() if not path.startswith("transfix."))
