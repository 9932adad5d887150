"""The head of an encoder: a copy for each adapter, in the place of the model's own while the adapter is on.

    pooler(H) ─▶ classifier ─▶ logits        H (B, T, d): the last states; which modules those are says `adapters/encoders.py`

The model's own head stays as it is, for `disabled()`, for rows of the base, and for what comes after `detach()`.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from transfix.adapters.architecture import UnsupportedModelError
from transfix.adapters.encoders import head_modules
from transfix.adapters.methods.base import Method, SharedState, Site, place_of
from transfix.adapters.methods.task_head.config import TaskHead
from transfix.adapters.state import AdapterState
from transfix.errors import TransfixError


class TaskHeadMethod(Method):
    """`task_head`: every weight of a copy of the head, in float32."""

    part: TaskHead

    def __init__(self, part: TaskHead, site: Site) -> None:
        super().__init__(part, site)
        found = head_modules(site.model)
        if not found:
            raise UnsupportedModelError(
                f"task_head: {type(site.model).__name__} is no encoder with a head of its own: load an encoder with "
                "AutoModelForSequenceClassification, or leave the head out."
            )
        self.copies = {name: _copied(module) for name, module in found.items()}
        for name, module in self.copies.items():
            for path, _ in module.named_parameters():
                self.places[f"{name}.{path}"] = place_of(module, path)

    def place(self) -> None:
        """Puts the copies on the head."""
        shared = self.site.shared(Heads)
        if shared.has(self.site.name):
            raise TransfixError(f"task_head: the adapter {self.site.name!r} has a head already; it can have one.")
        shared.add(self.site.name, self.copies)

    def remove(self) -> None:
        """Takes the copies off the head."""
        self.site.shared(Heads).remove(self.site.name, self.copies)


class Heads(SharedState):
    """The heads of one model's adapters: they stand on the modules of its own head, as `transfix`."""

    def __init__(self, model: PreTrainedModel, state: AdapterState) -> None:
        super().__init__(model, state)
        self.modules = head_modules(model)

    def has(self, name: str) -> bool:
        """Whether an adapter has its copies here."""
        return any(name in getattr(module, "transfix", {}) for module in self.modules.values())

    def add(self, name: str, copies: dict[str, nn.Module]) -> None:
        """From now on an adapter's copies answer where it is on."""
        for key, module in self.modules.items():
            if not hasattr(module, "transfix"):
                module.transfix = nn.ModuleDict()
                vars(module)["forward"] = Choosing(module, self.state)
            module.get_submodule("transfix").add_module(name, copies[key])

    def remove(self, name: str, copies: dict[str, nn.Module]) -> None:
        """Takes an adapter's own copies off; with the last ones the head is what it was."""
        for key, module in self.modules.items():
            held = getattr(module, "transfix", None)
            if isinstance(held, nn.ModuleDict) and name in held and held[name] is copies[key]:
                del held[name]
                if not len(held):
                    del module.transfix
                    del module.__dict__["forward"]


class Choosing:
    """The forward of a module of the head: the adapter's copy of it, row by row where adapters are chosen so."""

    def __init__(self, module: nn.Module, state: AdapterState) -> None:
        self.module = module
        self.state = state

    def __call__(self, states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """What the copies of the active adapters give, in float32; the model's own for the base's rows."""
        names, rows = self.state.active, self.state.row_index(states.shape[0], states.device)
        if rows is None:
            return self._of(names[0] if names else None, states, *args, **kwargs)
        total: Tensor | None = None
        for number, name in enumerate((None, *names), start=-1):
            own = (rows == number).nonzero()[:, 0]
            if len(own):
                found = self._of(name, states[own], *args, **kwargs)
                total = found.new_zeros(len(rows), *found.shape[1:], dtype=torch.float32) if total is None else total
                total = total.index_copy(0, own, found.float())
        assert total is not None
        return total

    def _of(self, name: str | None, states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        held: Any = self.module.transfix
        if name is None or name not in held:
            own: Any = type(self.module).forward
            return own(self.module, states.to(_dtype(self.module)), *args, **kwargs)  # type: ignore[no-any-return]
        found: Tensor = held[name](states.float(), *args, **kwargs)
        return found


def _dtype(module: nn.Module) -> torch.dtype:
    """The dtype of a module's own weights, which stand before what adapters have on it."""
    return next(parameter.dtype for path, parameter in module.named_parameters() if not path.startswith("transfix."))


def _copied(module: nn.Module) -> nn.Module:
    """A module's copy in float32, without what adapters have on it."""
    held = getattr(module, "transfix", None)
    made: nn.Module = copy.deepcopy(module, {} if held is None else {id(held): None})
    made._modules.pop("transfix", None)
    made.__dict__.pop("forward", None)
    return made.float().requires_grad_(True)
