"""How each method is put on a model and taken off again: one small class a method, all with the same face.

A binding owns the tensors of one part of one adapter. What the tensors mean is in `prefix.py` and `prompt.py`; where
they act is in `seam.py`; what they start from is in `initialise.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import PreTrainedModel

from transfix.adapters import architecture, initialise
from transfix.adapters.architecture import Layer, UnsupportedModelError
from transfix.adapters.methods import Base, FullFineTuning, Layers, LlamaAdapter, LoRA, Part, PrefixTuning, SoftPrompt
from transfix.adapters.prefix import FreePrefix, GatedPrefix, ProjectedPrefix
from transfix.adapters.prompt import PromptEmbedding
from transfix.adapters.seam import LayerSeam, Seam
from transfix.errors import TransfixError

if TYPE_CHECKING:
    from transfix.adapters.lora import LoraHost


@dataclass(frozen=True, slots=True)
class Site:
    """Where a binding goes.

    Attributes:
        model: the base model.
        seam: the model's seam.
        lora: the model's LoRA host.
        name: the adapter's name.
    """

    model: PreTrainedModel
    seam: Seam
    lora: LoraHost
    name: str


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


class Binding:
    """One part of one adapter on one model.

    Attributes:
        part: the method's settings.
        places: the module and attribute of each learned tensor, by a name that stays the same in saved files.
    """

    def __init__(self, part: Part, site: Site) -> None:
        self.part = part
        self.site = site
        self.places: dict[str, tuple[nn.Module, str]] = {}
        self._sizes: dict[str, float] = {}

    @property
    def tensors(self) -> dict[str, nn.Parameter]:
        """What is learned, looked up each time: sharding and `load_state_dict(assign=True)` put new parameters in place."""
        return {name: getattr(module, attribute) for name, (module, attribute) in self.places.items()}

    def initialise(self, starts: initialise.Starts, generator: torch.Generator) -> None:
        """Fills the tensors with their start values."""

    def remember(self) -> None:
        """Takes the present values as the start values, to whose size relative learning rates refer."""
        if getattr(self.part, "learning_rate_scale", "absolute") == "relative":
            self._sizes = {name: initialise.root_mean_square(tensor.detach()) for name, tensor in self.tensors.items()}

    def groups(self) -> list[Group]:
        """The tensors by learning rate: one group, or one a tensor where the rate is relative to its start value."""
        rate, tensors = self.part.learning_rate, self.tensors
        if getattr(self.part, "learning_rate_scale", "absolute") == "relative":
            return [Group((tensor,), rate, factor=self._sizes.get(name, 1.0)) for name, tensor in tensors.items()]
        return [Group(tuple(tensors.values()), rate)] if tensors else []

    def remove(self) -> None:
        """Takes the part off the model."""


class BaseBinding(Binding):
    """Nothing."""


class FullBinding(Binding):
    """Every weight of the model."""

    def __init__(self, part: FullFineTuning, site: Site) -> None:
        super().__init__(part, site)
        if any(not parameter.is_floating_point() for parameter in site.model.parameters()):
            raise UnsupportedModelError(
                "full cannot train a quantised base: its weights are integers. Use another method."
            )
        if architecture.offloaded(site.model):
            raise TransfixError(
                "full fine-tuning trains every weight, but the layers of this model are offloaded: load it without offload."
            )
        self.places = {path: _place(site.model, path) for path, _ in site.model.named_parameters()}


class _LayerwiseBinding(Binding):
    """Shared by the methods that learn something a layer, on the seam."""

    part: PrefixTuning | LlamaAdapter

    def __init__(self, part: PrefixTuning | LlamaAdapter, site: Site) -> None:
        super().__init__(part, site)
        self.layers = chosen_layers(site.model, part.layers)

    def seam_of(self, layer: Layer) -> LayerSeam:
        return layer_seam(self.site.seam, layer)

    def projected(self, layer: Layer) -> ProjectedPrefix:
        """An empty prefix for `layer`.

        Raises:
            UnsupportedModelError: if the layer's projections or, with `norm: layer`, its norm are unknown.
        """
        if layer.source is None:
            raise UnsupportedModelError(architecture.support(self.site.model).reason)
        if self.part.norm == "layer" and layer.norm is None:
            raise UnsupportedModelError(
                f"norm: layer: layer {layer.index} of {type(self.site.model).__name__} has no norm in front of its "
                "attention. Use norm: none."
            )
        hidden = architecture.embedding_table(self.site.model).shape[1]
        norm = layer.norm if self.part.norm == "layer" else None
        return ProjectedPrefix(self.part.tokens, hidden, layer.source, norm, layer.device)


class PrefixBinding(_LayerwiseBinding):
    """`prefix`: E, or the keys and values themselves, on every adapted layer."""

    part: PrefixTuning

    def __init__(self, part: PrefixTuning, site: Site) -> None:
        super().__init__(part, site)
        make = self.projected if part.projection == "base" else self._free
        self.prefixes: list[ProjectedPrefix | FreePrefix] = [make(layer) for layer in self.layers]
        site.seam.open()
        for layer, prefix in zip(self.layers, self.prefixes, strict=True):
            self.seam_of(layer).joint[site.name] = prefix
            self.places |= {f"{layer.index}.{name}": (prefix, name) for name, _ in prefix.named_parameters()}

    def _free(self, layer: Layer) -> FreePrefix:
        heads, size = key_value_shape(self.site.model, layer)
        return FreePrefix(self.part.tokens, heads, size, layer.device)

    def initialise(self, starts: initialise.Starts, generator: torch.Generator) -> None:
        """Start values of E, or of the keys and values that such an E would give."""
        for layer, prefix in zip(self.layers, self.prefixes, strict=True):
            if isinstance(prefix, ProjectedPrefix):
                initialise.fill(prefix.embedding, starts.states(layer, self.part, generator))
            else:
                keys, values = starts.keys_values(layer, self.part, generator)
                initialise.fill(prefix.keys, keys)
                initialise.fill(prefix.values, values)

    def remove(self) -> None:
        """Takes the prefixes off their layers."""
        for layer in self.layers:
            del self.seam_of(layer).joint[self.site.name]


class LlamaAdapterBinding(_LayerwiseBinding):
    """`llama_adapter`: E and a gate on every adapted layer."""

    part: LlamaAdapter

    def __init__(self, part: LlamaAdapter, site: Site) -> None:
        super().__init__(part, site)
        self.gated = [GatedPrefix(self.projected(layer), self._gates(layer), part.tanh) for layer in self.layers]
        site.seam.open()
        for layer, gated in zip(self.layers, self.gated, strict=True):
            self.seam_of(layer).added[site.name] = gated
            self.places[f"{layer.index}.embedding"] = gated.prefix, "embedding"
            self.places[f"{layer.index}.gate"] = gated, "gate"

    def _gates(self, layer: Layer) -> int:
        config: Any = layer.attention.config
        return int(config.num_attention_heads) if self.part.gate == "per_head" else 1

    def initialise(self, starts: initialise.Starts, generator: torch.Generator) -> None:
        """Start values of E; the gates stay at zero."""
        for layer, gated in zip(self.layers, self.gated, strict=True):
            initialise.fill(gated.prefix.embedding, starts.states(layer, self.part, generator))

    def groups(self) -> list[Group]:
        """E as for every prefix, and the gates with a learning rate of their own."""
        gates = {id(gated.gate) for gated in self.gated}
        found = []
        for group in super().groups():
            prefixes = tuple(p for p in group.parameters if id(p) not in gates)
            found += [replace(group, parameters=prefixes)] if prefixes else []
        rate = self.part.gate_learning_rate or self.part.learning_rate
        return [*found, Group(tuple(gated.gate for gated in self.gated), rate)]

    def remove(self) -> None:
        """Takes the gated prefixes off their layers."""
        for layer in self.layers:
            del self.seam_of(layer).added[self.site.name]


class SoftPromptBinding(Binding):
    """`soft_prompt`: E once, in front of the input."""

    part: SoftPrompt

    def __init__(self, part: SoftPrompt, site: Site) -> None:
        super().__init__(part, site)
        every = architecture.layers(site.model)
        if not all(getattr(layer.attention, "is_causal", True) for layer in every):
            raise UnsupportedModelError(
                f"soft_prompt needs a causal decoder; {type(site.model).__name__} attends in both directions. "
                "Use prefix or llama_adapter."
            )
        site.seam.open()
        for layer in every:
            layer_seam(site.seam, layer)
        table = architecture.embedding_table(site.model)
        self.prompt = PromptEmbedding(part.tokens, table.shape[1], table.device)
        site.seam.prompts.embeddings[site.name] = self.prompt
        prompts = getattr(site.seam.body, "transfix", None)
        if not isinstance(prompts, nn.ModuleDict):
            prompts = nn.ModuleDict()
            site.seam.body.add_module("transfix", prompts)
        prompts[site.name] = self.prompt
        self.places = {"embedding": (self.prompt, "embedding")}

    def initialise(self, starts: initialise.Starts, generator: torch.Generator) -> None:
        """Start values of E."""
        initialise.fill(self.prompt.embedding, starts.embeddings(self.part, generator))

    def remove(self) -> None:
        """Takes the prompt off the model."""
        self.site.seam.prompts.remove(self.site.name)
        prompts = self.site.seam.body.get_submodule("transfix")
        assert isinstance(prompts, nn.ModuleDict)
        del prompts[self.site.name]


class LoraBinding(Binding):
    """`lora`: PEFT's A and B on the chosen projections."""

    part: LoRA

    def __init__(self, part: LoRA, site: Site) -> None:
        super().__init__(part, site)
        chosen = chosen_layers(site.model, part.layers)
        paths = site.lora.add(site.name, part, chosen)
        self.places = {name: _place(site.model, path) for name, path in paths.items()}

    def initialise(self, starts: initialise.Starts, generator: torch.Generator) -> None:
        """A as PEFT starts it, B zero."""
        self.site.lora.reset(self.site.name, generator)

    def remove(self) -> None:
        """Takes A and B off the projections."""
        self.site.lora.remove(self.site.name)


BINDINGS: dict[type[Part], type[Any]] = {
    PrefixTuning: PrefixBinding,
    LlamaAdapter: LlamaAdapterBinding,
    SoftPrompt: SoftPromptBinding,
    LoRA: LoraBinding,
    FullFineTuning: FullBinding,
    Base: BaseBinding,
}


def _place(model: nn.Module, path: str) -> tuple[nn.Module, str]:
    """The module that holds a parameter, and the parameter's name there."""
    parent, _, attribute = path.rpartition(".")
    return model.get_submodule(parent), attribute


def layer_seam(seam: Seam, layer: Layer) -> LayerSeam:
    """The layer's own holder of prefixes, made at the first use."""
    held = getattr(layer.attention, "transfix", None)
    if not isinstance(held, LayerSeam):
        held = LayerSeam(seam, layer)
        layer.attention.transfix = held
    return held


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


def key_value_shape(model: PreTrainedModel, layer: Layer) -> tuple[int, int]:
    """(G, h) of a layer, from its projections or, where they are unknown, from the configuration."""
    if layer.source is not None:
        return layer.source.heads, layer.source.head_size
    config: Any = layer.attention.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(heads), int(size)


def _name(model: PreTrainedModel) -> str:
    return str(model.config._name_or_path or type(model).__name__)
