"""What a transformers model is made of, as the adapters need to know it: its layers, and where its keys and values are.

The only module that knows the attribute names of architectures. Everything else asks for a `Layer`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from transfix.errors import TransfixError

# How each architecture names its separate key and value projections, and the norms on top of them.
_SEPARATE = (("k_proj", "v_proj"), ("key", "value"), ("k", "v"), ("key_proj", "value_proj"))
_FUSED = ("c_attn", "query_key_value", "Wqkv")
_KEY_NORMS = ("k_norm", "k_layernorm", "key_norm", "key_layernorm")
_VALUE_NORMS = ("v_norm", "value_norm")
_INPUT_NORMS = (
    "input_layernorm",
    "ln_1",
    "layernorm_before",
    "attention_norm",
    "norm1",
    "self_attn_layer_norm",
    "attn_norm",
)
_ROLES = {
    "q": ("q_proj", "query", "q", "query_proj", "qkv_proj", *_FUSED),
    "k": ("k_proj", "key", "k", "key_proj", "qkv_proj", *_FUSED),
    "v": ("v_proj", "value", "v", "value_proj", "qkv_proj", *_FUSED),
    "o": ("o_proj", "out_proj", "dense", "c_proj", "o", "Wo"),
}
_FURTHER_HEADS = ("multiple_choice_head", "qa_outputs")  # beside a language-model head (GPT-2), on a body itself (T5)
_LAYER_LISTS = ("layers", "h", "blocks", "layer", "block")


KeysValues = tuple[Float[Tensor, "kv_heads prefix head"], Float[Tensor, "kv_heads prefix head"]]
"""Keys and values (G, P, h) that stand before a layer's own."""


class UnsupportedModelError(TransfixError):
    """The model's architecture cannot take this method; the message says which can."""


@dataclass(frozen=True, slots=True)
class KeyValueSource:
    """The frozen map from an attention layer's input to its keys and values, before any rotation: x W_k and x W_v.

    Attributes:
        attention: the attention module that owns the projections.
        form: the name of the projections (`k_proj/v_proj`, `c_attn`, ...).
        heads: G, the number of key/value heads.
        head_size: h.
    """

    attention: nn.Module
    form: str
    heads: int
    head_size: int

    def weights(self) -> list[Tensor]:
        """The frozen tensors the map depends on (their change must void anything computed with them)."""
        names = [*self.form.split("/"), *_KEY_NORMS, *_VALUE_NORMS]
        modules = [_unwrapped(getattr(self.attention, name)) for name in names if _has(self.attention, name)]
        return [parameter for module in modules for parameter in module.parameters()]

    def __call__(self, states: Float[Tensor, "prefix hidden"]) -> KeysValues:
        """K and V (G, P, h) of `states` (P, d): projected, normed where the layer norms keys or values, not rotated."""
        keys, values = self._project(states[None])
        keys = _normed(self.attention, _KEY_NORMS, keys, self.head_size)
        values = _normed(self.attention, _VALUE_NORMS, values, self.head_size)
        return keys.transpose(0, 1), values.transpose(0, 1)

    def _project(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """(P, G·h) -> two of (P, G, h)."""
        width, size = self.heads * self.head_size, (states.shape[1], self.heads, self.head_size)
        if "/" in self.form:
            key_name, value_name = self.form.split("/")
            keys = _unwrapped(getattr(self.attention, key_name))(states)[0]
            values = _unwrapped(getattr(self.attention, value_name))(states)[0]
            return keys.view(size), values.view(size)
        fused = _unwrapped(getattr(self.attention, self.form))(states)[0]
        if self.form == "query_key_value":  # GPT-NeoX interleaves: (heads, [q k v], head size)
            _, keys, values = fused.view(states.shape[1], self.heads, 3 * self.head_size).chunk(3, dim=-1)
            return keys, values
        keys, values = fused[:, -2 * width : -width], fused[:, -width:]  # [Q | K | V]
        return keys.reshape(size), values.reshape(size)


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a decoder.

    Attributes:
        index: its number, 0 at the bottom.
        path: the attention module's dotted name in the model.
        attention: the attention module.
        source: where keys and values come from; `None` if the architecture's projections are not known.
        norm: the norm in front of the attention; `None` where there is none.
    """

    index: int
    path: str
    attention: nn.Module
    source: KeyValueSource | None
    norm: nn.Module | None

    @property
    def device(self) -> torch.device:
        """Where the layer runs."""
        return device_of(self.attention)

    @property
    def query_heads(self) -> int:
        """H."""
        config: Any = getattr(self.attention, "config", self.attention)
        return int(config.num_attention_heads)

    @property
    def key_value_shape(self) -> tuple[int, int]:
        """(G, h), from the projections or, where they are unknown, from the configuration."""
        if self.source is not None:
            return self.source.heads, self.source.head_size
        config: Any = self.attention.config
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return int(heads), int(size)


@dataclass(frozen=True, slots=True)
class Support:
    """Whether a model can take the prefix methods.

    Attributes:
        supported: True if every prefix method works.
        reason: why not, and what still works; empty if supported.
        key_value: the names of the key and value projections, or `unknown`.
        free_prefixes: True if prefixes that need no projections work: the model's attention function can be chosen, and the
            projections of some of its layers are known.
    """

    supported: bool
    reason: str
    key_value: str
    free_prefixes: bool = True


def body(model: PreTrainedModel) -> PreTrainedModel:
    """The module that runs the layers: the model without its head."""
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None
    found = decoder if isinstance(decoder, PreTrainedModel) else model.base_model
    return cast(PreTrainedModel, found)


def own_head(model: PreTrainedModel) -> list[str]:
    """The names of the modules that give a model's answers in place of, or beside, a language-model head; none for a body."""
    base = model.base_model
    if base is model or model.get_output_embeddings() is not None:
        return [name for name in _FURTHER_HEADS if _has(model, name)]
    beside = [(name, module) for name, module in model.named_children() if module is not base]
    return [name for name, module in beside if next(module.parameters(), None) is not None]


def device_of(module: nn.Module) -> torch.device:
    """Where a module runs: where its weights are, or where accelerate brings them when they are offloaded."""
    first = next(module.parameters(), torch.empty(0))
    if not first.is_meta:
        return first.device
    hooks = (getattr(part, "_hf_hook", None) for part in module.modules())
    device = next((hook.execution_device for hook in hooks if hook is not None), first.device)
    return torch.device(device)


def offloaded(model: PreTrainedModel) -> bool:
    """Whether accelerate brings weights of the model to the device when they are needed, and takes them away again."""
    return any(parameter.is_meta for parameter in model.parameters()) and not embedding_table(model).is_meta


def embedding_table(model: PreTrainedModel) -> Tensor:
    """The token embeddings' weights (vocabulary, d), on any device and in any dtype."""
    return cast(Tensor, model.get_input_embeddings().weight)


def stack(model: PreTrainedModel) -> nn.ModuleList:
    """All layers of `model`, bottom first, whatever is in them.

    Raises:
        UnsupportedModelError: if no list of layers is found.
    """
    inner = body(model)
    places = (inner, getattr(inner, "encoder", None))  # BERT and its kin keep their layers one module deeper
    lists = (
        found for at in places for name in _LAYER_LISTS if isinstance(found := getattr(at, name, None), nn.ModuleList)
    )
    if (first := next(lists, None)) is None:
        raise UnsupportedModelError(
            f"{type(model).__name__}: no list of layers was found under {' or '.join(_LAYER_LISTS)}. "
            "Prefix methods need a decoder of transformers 5; full fine-tuning and prompting still work."
        )
    return first


def layers(model: PreTrainedModel) -> tuple[Layer, ...]:
    """The decoder layers of `model`, bottom first.

    Raises:
        UnsupportedModelError: if no layer with an attention module is found.
    """
    blocks = stack(model)
    paths = {id(module): path for path, module in model.named_modules()}
    found = []
    for index, block in enumerate(blocks):
        attention = _with_projections([*_attentions(block)])
        if attention is None:  # a layer without attention (state space, convolution)
            continue
        norm = next((getattr(block, n) for n in _INPUT_NORMS if isinstance(getattr(block, n, None), nn.Module)), None)
        found.append(Layer(index, paths[id(attention)], attention, _source(attention), norm))
    if not found:
        raise UnsupportedModelError(
            f"{type(model).__name__}: no attention module was found in its {len(blocks)} layers. "
            "Full fine-tuning and prompting still work."
        )
    return tuple(found)


def depth(model: PreTrainedModel) -> int:
    """The number of layers, counting those without attention."""
    return layers(model)[-1].index + 1


def support(model: PreTrainedModel) -> Support:
    """Whether `model` can take the prefix methods, and if not, what still works."""
    try:
        found = layers(model)
    except UnsupportedModelError as error:
        return Support(False, str(error), "unknown", free_prefixes=False)
    forms = sorted({layer.source.form if layer.source else "unknown" for layer in found})
    lora = _lora(found)
    if not type(body(model))._can_set_attn_implementation():
        name = type(model).__name__
        reason = f"{name} does not use transformers' attention registry; {lora} and full fine-tuning still work."
        return Support(False, reason, "+".join(forms), free_prefixes=False)
    if "unknown" in forms:
        names = sorted({type(layer.attention).__name__ for layer in found if layer.source is None})
        known = [layer.index for layer in found if layer.source is not None]
        others = f"`layers: {known}`, `projection: none` with `init: zero`, soft prompts, " if known else ""
        reason = (
            f"the key and value projections of {', '.join(names)} are not known; {others}{lora} and full fine-tuning still "
            "work."
        )
        return Support(False, reason, "+".join(forms), free_prefixes=bool(known))
    return Support(True, "", "+".join(forms))


def _lora(found: tuple[Layer, ...]) -> str:
    """How LoRA goes on the layers."""
    try:
        for layer in found:
            projections(layer, ("q", "k", "v"))
    except UnsupportedModelError:
        return "LoRA with `targets: all_linear`"
    return "LoRA"


def projections(layer: Layer, roles: tuple[str, ...]) -> list[str]:
    """The dotted names of `layer`'s projections in the given roles (`q`, `k`, `v`, `o`); a fused one counts once.

    Raises:
        UnsupportedModelError: if a role has no module of a known name.
    """
    names = []
    for role in roles:
        name = next((n for n in _ROLES[role] if _has(layer.attention, n)), None)
        if name is None:
            raise UnsupportedModelError(
                f"layer {layer.index} ({type(layer.attention).__name__}) has no projection for the role {role!r} "
                f"(looked for {', '.join(_ROLES[role])}). `targets: all_linear` still works."
            )
        names.append(f"{layer.path}.{name}")
    return list(dict.fromkeys(names))


def _attentions(block: nn.Module) -> Iterator[nn.Module]:
    """The self-attention modules of a layer: children whose class is an attention with its own key projection."""
    for module in block.modules():
        crosses = getattr(module, "is_cross_attention", False) or "Cross" in type(module).__name__
        own = hasattr(module, "config") or any(_has(module, key) for key, _ in _SEPARATE)  # DeBERTa's has no config
        if "Attention" in type(module).__name__ and not crosses and own:
            yield module


def _with_projections(attentions: list[nn.Module]) -> nn.Module | None:
    """The outermost attention; of DeBERTa, whose outer one has nothing but another attention, that one."""
    keys = [name for names in (_ROLES["k"], _ROLES["q"]) for name in names]
    first = next(iter(attentions), None)
    inner = (found for found in attentions if any(_has(found, name) for name in keys))
    return next(inner, first)


def _source(attention: nn.Module) -> KeyValueSource | None:
    sizes = (getattr(attention, name, None) for name in ("head_dim", "head_size", "attention_head_size"))
    head_size = next((size for size in sizes if size), None)
    if not isinstance(head_size, int):
        return None
    for key_name, value_name in _SEPARATE:
        if _has(attention, key_name) and _has(attention, value_name):
            heads = _width(_unwrapped(getattr(attention, key_name))) // head_size
            return KeyValueSource(attention, f"{key_name}/{value_name}", heads, head_size)
    config: Any = attention.config
    if _has(attention, "qkv_proj"):
        return KeyValueSource(attention, "qkv_proj", config.num_key_value_heads, head_size)
    for fused in _FUSED:
        if _has(attention, fused) and _width(_unwrapped(getattr(attention, fused))) == 3 * config.hidden_size:
            return KeyValueSource(attention, fused, config.num_attention_heads, head_size)
    return None


def _has(module: nn.Module, name: str) -> bool:
    return isinstance(getattr(module, name, None), nn.Module)


def _unwrapped(module: nn.Module) -> nn.Module:
    """The frozen projection itself, under a LoRA layer if there is one: W_k means the base model's."""
    base = getattr(module, "base_layer", module)
    return cast(nn.Module, base)


def _width(module: nn.Module) -> int:
    return int(module.nf if isinstance(module, Conv1D) else cast(Any, module).out_features)


def _normed(attention: nn.Module, names: tuple[str, ...], states: Tensor, head_size: int) -> Tensor:
    """`states` (P, G, h) through the attention's own norm for them, per head or over the whole width, if it has one."""
    norm = next((getattr(attention, name) for name in names if _has(attention, name)), None)
    if norm is None:
        return states
    weight = next(norm.parameters(), None)
    if weight is None or weight.numel() == head_size:
        return cast(Tensor, norm(states))
    return cast(Tensor, norm(states.flatten(1))).view(states.shape)
