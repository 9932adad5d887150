"""LoRA: W x + (α/r) B A x on the chosen projections (Hu et al. 2022), computed by PEFT's layers, in the model's own place."""

from __future__ import annotations

import math
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from transfix.adapters.architecture import Layer, UnsupportedModelError, device_of, offloaded, projections, support
from transfix.adapters.methods.base import Method, SharedState, Site, chosen_layers, place_of
from transfix.adapters.methods.lora.choosing import let_forward_choose
from transfix.adapters.methods.lora.config import LoRA
from transfix.adapters.start_values import StartValues
from transfix.adapters.state import AdapterState
from transfix.errors import TransfixError

_ALONE = threading.Lock()  # what warns, and torch's random numbers, are of the whole process


class LoRAMethod(Method):
    """`lora`: PEFT's A and B on the chosen projections."""

    part: LoRA

    def __init__(self, part: LoRA, site: Site) -> None:
        super().__init__(part, site)
        self.layers = chosen_layers(site.model, part.layers)
        self.peft = site.shared(PeftLayers)
        self._placed = False

    def place(self) -> None:
        """Puts A and B on the projections."""
        if self.peft.has(self.site.name):
            raise TransfixError(
                f"{self.part.method}: the adapter {self.site.name!r} has LoRA already; it can have it once."
            )
        self._placed = True
        paths = self.peft.add(self.site.name, self.part, self.layers)
        self.places = {name: place_of(self.site.model, path) for name, path in paths.items()}

    def remove(self) -> None:
        """Takes A and B off the projections."""
        if self._placed:
            self.peft.remove(self.site.name)

    def initialise(self, starts: StartValues, generator: torch.Generator) -> None:
        """A as PEFT starts it, B zero."""
        self.peft.reset(self.site.name, generator)


class PeftLayers(SharedState):
    """PEFT's LoRA layers on one model, under the names of our adapters; the state knows which rows use which."""

    outside_attention = True

    def __init__(self, model: PreTrainedModel, state: AdapterState) -> None:
        super().__init__(model, state)
        self._tuner: Any = None
        self._names: list[str] = []
        self._configs: dict[str, Any] = {}

    def has(self, name: str) -> bool:
        """Whether the adapter has A and B."""
        return name in self._names

    def add(self, name: str, part: LoRA, layers: tuple[Layer, ...]) -> dict[str, str]:
        """Puts A and B on the chosen projections; returns their paths by a name without the adapter's."""
        from peft import LoraConfig
        from peft.tuners.lora import LoraModel

        targets = self._targets(part, layers)
        self._names.append(name)
        modules = [self.model.get_submodule(target) for target in targets]
        conv = any(isinstance(getattr(module, "base_layer", module), Conv1D) for module in modules)
        config = LoraConfig(
            r=part.rank,
            lora_alpha=part.alpha if part.alpha is not None else 2 * part.rank,
            lora_dropout=part.dropout,
            target_modules=targets,
            fan_in_fan_out=conv,
        )
        self._configs[name] = config
        with _ALONE, warnings.catch_warnings(), torch.random.fork_rng(devices=[]), _explained(self.model):
            warnings.simplefilter("ignore")  # PEFT warns of a second adapter, which is what we want
            if self._tuner is None:
                self._tuner = LoraModel(self.model, {name: config}, name)
            else:
                self._tuner.peft_config[name] = config
                self._tuner.inject_adapter(self.model, name)
        for layer in self._layers() if offloaded(self.model) else ():
            for bank in (layer.lora_A, layer.lora_B):
                if name in bank:  # PEFT puts it where the base's weights are: on the meta device, without numbers
                    bank[name].to_empty(device=device_of(layer.get_base_layer()))
        for layer in self._layers():
            layer.train(
                self.model.training
            )  # new modules are in training mode, and would drop out in a model that is not
            let_forward_choose(layer, self.state)
        found, own = {}, re.compile(rf"(\.lora_[AB])\.{name}\.")  # not just the name: a module may be called so
        for path, parameter in self.model.named_parameters():
            if own.search(path):
                parameter.data = parameter.data.float()
                found[own.sub(r"\1.", path)] = path
        return found

    def reset(self, name: str, generator: torch.Generator) -> None:
        """A and B as at PEFT's start (A uniform as by Kaiming, B zero), from `generator`; drawn on the CPU."""
        own = torch.Generator().manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        for layer in self._layers():
            if name in layer.lora_A:
                weight = layer.lora_A[name].weight
                start = nn.init.kaiming_uniform_(torch.empty(weight.shape), a=math.sqrt(5), generator=own)
                weight.data.copy_(start)
                nn.init.zeros_(layer.lora_B[name].weight)

    def remove(self, name: str) -> None:
        """Takes one adapter's A and B off; with the last one the model's own linear layers come back."""
        if name not in self._names:
            return
        self._names.remove(name)
        self._configs.pop(name, None)
        if self._names:
            flags = self._flags()
            with _ALONE, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PEFT warns that another adapter becomes the active one
                self._tuner.delete_adapter(name)
            _restore(flags)
            return
        if self._tuner is not None:
            self._tuner.unload()
        for layer in self._layers():  # what PEFT had put in place before it failed
            parent, attribute = place_of(self.model, self._path_of(layer))
            setattr(parent, attribute, layer.get_base_layer())
        self._tuner = None
        if hasattr(self.model, "peft_config"):
            del self.model.peft_config

    def placed(self, module: nn.Module) -> bool:
        """PEFT's layers are ours, as long as all adapters in them are."""
        from peft.tuners.lora import LoraLayer

        return isinstance(module, LoraLayer) and self._names != [] and set(module.lora_A) <= set(self._names)

    def named(self, name: str) -> bool:
        """PEFT knows our adapters by their names."""
        return name in self._names

    def changed(self) -> str:
        """Whether PEFT was told to put an adapter on the model: on the same layers one would be off, or overwritten."""
        if not self._names:
            return ""
        there = getattr(self.model, "peft_config", {})
        lost = [name for name in self._names if there.get(name) is not self._configs[name]]
        if lost:
            return (
                f"PEFT was told to change this model and has overwritten or deleted the LoRA of "
                f"{', '.join(map(repr, lost))}: load the base again, and what was saved with load_adapter."
            )
        added = [name for name in there if name not in self._configs]
        if not added:
            return ""
        return (
            f"PEFT has put its adapter {', '.join(map(repr, added))} on this model beside the LoRA of "
            f"{', '.join(map(repr, self._names))}, and both cannot be on: take it off (delete_adapter({added[0]!r}) of "
            "the PeftModel, or of the model after add_adapter). A second one of transfix is attach(model, LoRA(), name=...)."
        )

    def _flags(self) -> dict[nn.Parameter, bool]:
        return {p: p.requires_grad for layer in self._layers() for p in layer.parameters()}

    def _path_of(self, layer: nn.Module) -> str:
        paths: Iterator[str] = (path for path, module in self.model.named_modules() if module is layer)
        return next(paths)

    def _layers(self) -> list[Any]:
        from peft.tuners.lora import LoraLayer

        return [module for module in self.model.modules() if isinstance(module, LoraLayer)]

    def _targets(self, part: LoRA, layers: tuple[Layer, ...]) -> list[str]:
        from peft.tuners.lora import LoraLayer

        if part.targets != "all_linear":
            return [name for layer in layers for name in projections(layer, part.targets)]
        blocks = tuple(layer.path.partition(f".{layer.index}.")[0] + f".{layer.index}." for layer in layers)
        modules = {path: module for path, module in self.model.named_modules() if path.startswith(blocks)}
        wrapped = tuple(f"{path}." for path, module in modules.items() if isinstance(module, LoraLayer))
        return [
            path
            for path, module in modules.items()
            if isinstance(module, nn.Linear | Conv1D | LoraLayer) and not path.startswith(wrapped)
        ]


@contextmanager
def _explained(model: PreTrainedModel) -> Iterator[None]:
    """PEFT's refusal of a kind of layer as ours."""
    try:
        yield
    except ValueError as error:
        others = " prefix and llama_adapter need no layer of PEFT." if support(model).supported else ""
        raise UnsupportedModelError(
            f"lora: PEFT cannot adapt the layers of this {type(model).__name__}: {str(error).splitlines()[0][:300]}{others}"
        ) from error


def _restore(flags: dict[nn.Parameter, bool]) -> None:
    for parameter, flag in flags.items():
        parameter.requires_grad_(flag)
