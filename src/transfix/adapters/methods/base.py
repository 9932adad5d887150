"""The one interface of methods: make the tensors, place and remove them, the term of a layer for a query, start values.

    Part (settings) ──▶ Method (one part of one adapter on one model) ──▶ AdapterLayer (what it has on one attention layer)
                                      └──▶ SharedState (what it keeps once a model, over all adapters)

What a layer computes from what its `AdapterLayer`s give is in `adapters/attention.py`:

    o = softmax([q K_cᵀ·s ; q K'ᵀ·s + M]) [V_c ; V']  +  Σ term(q)        K_c, V_c: columns();  K', V': attended(K, V)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from transfix.adapters import architecture
from transfix.adapters.architecture import KeysValues, Layer, UnsupportedModelError
from transfix.adapters.methods.part import Layers, Part
from transfix.adapters.start_values import StartValues, root_mean_square
from transfix.adapters.state import AdapterState
from transfix.errors import TransfixError

Shared = TypeVar("Shared", bound="SharedState")


@dataclass(frozen=True, slots=True)
class Group:
    """Tensors that share a learning rate.

    Attributes:
        parameters: the tensors.
        learning_rate: their own; `None` means the trainer's.
        factor: multiplies whichever rate applies.
    """

    parameters: tuple[nn.Parameter, ...]
    learning_rate: float | None
    factor: float = 1.0


class AdapterLayer(nn.Module):
    """What one part of one adapter has on one attention layer. Its parameters are what is learned there.

    Attributes:
        in_positions: how many of its columns are tokens with positions before the row's own: a sliding window leaves them
            behind, as it would if they stood in the input.
        kept: what it keeps between forwards that a recorded forward reads, if anything.
    """

    in_positions: int = 0
    kept: object = None

    def columns(self, dtype: torch.dtype, decoding: bool) -> KeysValues | None:
        """K_c and V_c (G, P, h) in `dtype`, which stand before the layer's own under its one softmax; `None`: none.

        With `decoding` the forward is over single tokens: what was computed for the one before may be used again.
        """
        return None

    def attended(
        self, key: Float[Tensor, "batch kv_heads keys head"], value: Float[Tensor, "batch kv_heads keys head"]
    ) -> tuple[Float[Tensor, "batch kv_heads keys head"], Float[Tensor, "batch kv_heads keys head"]]:
        """K' and V', which the layer attends to in place of its rotated K and of V. The cache keeps K and V."""
        return key, value

    def term(
        self, query: Float[Tensor, "batch heads tokens head"], scaling: float | None
    ) -> Float[Tensor, "batch tokens heads head"] | None:
        """What is added to the layer's output for the rotated q and the layer's scaling s; `None`: nothing."""
        return None


class SharedState:
    """What a method keeps once a model, over all its adapters: PEFT's layers, the pass of soft prompts.

    Attributes:
        model: the model.
        state: which adapters are on, as each thread sees it: what is computed in a forward asks it then.
        outside_attention: whether it has something in the layers outside the attention function, so that layers which are
            computed again must know what their forward ran with.
    """

    outside_attention: ClassVar[bool] = False

    def __init__(self, model: PreTrainedModel, state: AdapterState) -> None:
        self.model = model
        self.state = state

    def using(self, rows: Sequence[str | None]) -> AbstractContextManager[None]:
        """The named adapters are on for the time of the block: one for every row, or one a row (`None`: the base)."""
        return nullcontext()

    def activate(self, name: str | None) -> None:
        """One adapter is on until another choice is made."""

    def placed(self, module: nn.Module) -> bool:
        """Whether a module of another library is on the model by this object's doing."""
        return False

    def named(self, name: str) -> bool:
        """Whether another library knows what this object has put on the model by this name."""
        return False

    def changed(self) -> str:
        """What another tool has done to this object's modules, and what to do; empty if nothing."""
        return ""

    def before_forward(self, device: torch.device, decoding: bool) -> None:
        """Called before the body runs with an adapter on; see `AdapterLayer.columns` for `decoding`."""

    def shift(self, batch: int, device: torch.device) -> Int[Tensor, "rows 1"] | None:
        """How many positions the tokens of each row move to the right, (B or 1, 1); `None` if none."""
        return None

    def after_forward(self) -> None:
        """Called after the body has run, or failed."""


class Site(ABC):
    """Where a part goes: one adapter on one model.

    Attributes:
        model: the base model.
        name: the adapter's name.
        state: which adapters are on.
    """

    def __init__(self, model: PreTrainedModel, name: str, state: AdapterState) -> None:
        self.model = model
        self.name = name
        self.state = state

    @abstractmethod
    def shared(self, kind: type[Shared]) -> Shared:
        """The model's one object of this kind, made at the first use."""

    @abstractmethod
    def place(self, layer: Layer, method: str, module: AdapterLayer) -> None:
        """Puts a module on an attention layer, through which it learns, moves and is saved.

        Raises:
            UnsupportedModelError: if the model cannot take our attention function.
        """

    @abstractmethod
    def take_off(self, method: str) -> None:
        """Takes the adapter's modules of a method off all layers."""


class Method:
    """One part of one adapter on one model. As it is it learns nothing: the base model.

    Making one makes its tensors and changes nothing on the model; `place` puts them there, and `remove` takes them off again,
    also if `place` failed on the way.

    Attributes:
        part: the method's settings.
        site: where it goes.
        places: the module and attribute of each learned tensor, by a name that stays the same in saved files.
    """

    def __init__(self, part: Part, site: Site) -> None:
        self.part = part
        self.site = site
        self.places: dict[str, tuple[nn.Module, str]] = {}
        self._sizes: dict[str, float] = {}

    def place(self) -> None:
        """Puts the part on the model."""

    def remove(self) -> None:
        """Takes the part off the model."""

    def initialise(self, starts: StartValues, generator: torch.Generator) -> None:
        """Fills the tensors with their start values, on the base model with every adapter off."""

    @property
    def tensors(self) -> dict[str, nn.Parameter]:
        """What is learned, looked up each time: sharding and `load_state_dict(assign=True)` put new parameters in place."""
        return {name: getattr(module, attribute) for name, (module, attribute) in self.places.items()}

    def remember(self) -> None:
        """Takes the present values as the start values, to whose size relative learning rates refer."""
        if self.part.relative_rate:
            self._sizes = {name: root_mean_square(tensor.detach()) for name, tensor in self.tensors.items()}

    def groups(self) -> list[Group]:
        """The tensors by learning rate: one group, or one a tensor where the rate is relative to its start value."""
        rate, tensors = self.part.learning_rate, self.tensors
        if self.part.relative_rate:
            return [Group((tensor,), rate, factor=self._sizes.get(name, 1.0)) for name, tensor in tensors.items()]
        return [Group(tuple(tensors.values()), rate)] if tensors else []


class LayerMethod(Method):
    """A method that has a module on every adapted layer and nothing else: it says only how a layer's is made."""

    def __init__(self, part: Part, site: Site) -> None:
        super().__init__(part, site)
        self.layers = chosen_layers(site.model, part.adapted_layers)
        self.modules = [self.make(layer) for layer in self.layers]
        for layer, module in self.pairs():
            self.places |= {f"{layer.index}.{name}": place for name, place in _tensors(module).items()}

    def make(self, layer: Layer) -> Any:
        """The `AdapterLayer` of a layer, its parameters float32 on the layer's device.

        Raises:
            UnsupportedModelError: if the layer cannot have one.
        """
        raise NotImplementedError(f"{type(self).__name__}.make: say what a layer has.")

    def pairs(self) -> Iterator[tuple[Layer, Any]]:
        """Each adapted layer with its module."""
        yield from zip(self.layers, self.modules, strict=True)

    def place(self) -> None:
        """Puts each module on its layer."""
        for layer, module in self.pairs():
            self.site.place(layer, self.part.method, module)

    def remove(self) -> None:
        """Takes the modules off their layers."""
        self.site.take_off(self.part.method)


def _tensors(module: nn.Module) -> dict[str, tuple[nn.Module, str]]:
    """The places of a module's parameters by their own name, or by their path where two have the same; inner ones first."""
    paths = sorted((path for path, _ in module.named_parameters()), key=lambda path: -path.count("."))
    places = {path: place_of(module, path) for path in paths}
    names = [attribute for _, attribute in places.values()]
    return {place[1] if names.count(place[1]) == 1 else path: place for path, place in places.items()}


def place_of(model: nn.Module, path: str) -> tuple[nn.Module, str]:
    """The module that holds a parameter, and the parameter's name there."""
    parent, _, attribute = path.rpartition(".")
    return model.get_submodule(parent), attribute


def chosen_layers(model: PreTrainedModel, wanted: Layers) -> tuple[Layer, ...]:
    """The layers that `wanted` names: all, the top L, or those with the given indices.

    Raises:
        TransfixError: if the model has fewer layers, or one of them has no attention.
    """
    by_index = {layer.index: layer for layer in architecture.layers(model)}
    total = max(by_index) + 1
    if wanted == "all":
        return tuple(by_index.values())
    if isinstance(wanted, int):
        if wanted > total:
            raise TransfixError(f"layers: {wanted} layers are to be adapted, but {_name(model)} has {total}.")
        indices: tuple[int, ...] = tuple(range(total - wanted, total))
    else:
        indices = tuple(dict.fromkeys(wanted))
        if not indices or max(indices) >= total:
            raise TransfixError(f"layers: {list(indices)}: {_name(model)} has layers 0 to {total - 1}.")
    missing = [index for index in indices if index not in by_index]
    if missing:
        raise TransfixError(
            f"layers: {missing} of {_name(model)} have no attention. With attention: {sorted(by_index)}."
        )
    return tuple(by_index[index] for index in indices)


def require_norm(model: PreTrainedModel, layer: Layer) -> nn.Module:
    """The layer's input norm, for `norm: layer`.

    Raises:
        UnsupportedModelError: if it has none.
    """
    if layer.norm is None:
        raise UnsupportedModelError(
            f"norm: layer: layer {layer.index} of {type(model).__name__} has no norm in front of its "
            "attention. Use norm: none."
        )
    return layer.norm


def _name(model: PreTrainedModel) -> str:
    return str(model.config._name_or_path or type(model).__name__)
