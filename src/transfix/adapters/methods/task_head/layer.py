"""The head of an encoder: a copy for each adapter, in the place of the model's own while the adapter is on.

    pooler(H) ─▶ classifier ─▶ logits        H (B, T, d): the last states; which modules those are says `adapters/encoders.py`

The model's own head stays as it is, for `disabled()`, for rows of the base, and for what comes after `detach()`.
"""

from __future__ import annotations

import copy

from torch import nn
from transformers import PreTrainedModel

from transfix.adapters.architecture import UnsupportedModelError
from transfix.adapters.encoders import head_modules
from transfix.adapters.methods.base import Method, SharedState, Site, place_of
from transfix.adapters.methods.task_head.choosing import give_back, let_forward_choose
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
        """From now on an adapter's copies answer where it is on.

        Raises:
            UnsupportedModelError: if another library has put a forward of its own on the head.
        """
        for key, module in self.modules.items():
            if "forward" in vars(module):
                raise UnsupportedModelError(
                    f"task_head: {key} of this {type(self.model).__name__} has a forward that another library has put there "
                    "(accelerate, with device_map): load the model without it, or attach before."
                )
        for key, module in self.modules.items():
            if not hasattr(module, "transfix"):
                module.transfix = nn.ModuleDict()
                let_forward_choose(module, self.state)
            module.get_submodule("transfix").add_module(name, copies[key])

    def remove(self, name: str, copies: dict[str, nn.Module]) -> None:
        """Takes an adapter's own copies off; with the last ones the head is what it was."""
        for key, module in self.modules.items():
            held = getattr(module, "transfix", None)
            if isinstance(held, nn.ModuleDict) and name in held and held[name] is copies[key]:
                del held[name]
                if not len(held):
                    del module.transfix
                    give_back(module)


def _copied(module: nn.Module) -> nn.Module:
    """A module's copy in float32, without what adapters have on it."""
    held = getattr(module, "transfix", None)
    made: nn.Module = copy.deepcopy(module, {} if held is None else {id(held): None})
    if held is not None:
        del made._modules["transfix"]
        give_back(made)
    return made.float().requires_grad_(True)
