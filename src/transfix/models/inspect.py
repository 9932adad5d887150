"""What can be said about a model from its config.json alone: its shape, what transfix can train in it, and the memory.

Nothing is estimated that can be counted: the model is built on PyTorch's meta device, which holds shapes and no
numbers, and every method is really attached to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel

from transfix.adapters import Support, attach, support
from transfix.adapters.architecture import UnsupportedModelError, body, stack
from transfix.adapters.attention import BACKENDS
from transfix.adapters.encoders import head_modules, is_encoder
from transfix.adapters.methods.part import LayerShape, Part
from transfix.adapters.methods.registry import METHODS, asked
from transfix.errors import TransfixError
from transfix.models import files, hub, loading, reach, registry, text_side, vocabulary
from transfix.models.memory import BaseShape, Load, Memory, estimate, norm_widths
from transfix.models.quantised import quantised_parameters
from transfix.models.skeleton import CLASSES, skeleton_of

STUDY_LAYERS = 30 / 32
"""The share of layers adapted in the study: the top 30 of 32."""

CASES: dict[str, dict[str, Any]] = {
    "float32": {"width": 4},
    "bfloat16": {"width": 2},
    "bfloat16+checkpointing": {"width": 2, "checkpointing": True},
    "int8": {"width": 2, "quantization": "int8"},
    "int4": {"width": 2, "quantization": "int4"},
    "int8+checkpointing": {"width": 2, "checkpointing": True, "quantization": "int8"},
    "int4+checkpointing": {"width": 2, "checkpointing": True, "quantization": "int4"},
}
"""What memory is estimated for: the base's dtype (bfloat16 beside int8 and int4), with and without checkpointing."""


@dataclass(frozen=True, slots=True)
class Forward:
    """The forward that memory is estimated for.

    Attributes:
        rows: in it.
        tokens: of a row.
        targets: target tokens a row; 0 if label words are scored.
    """

    rows: int
    tokens: int
    targets: int


@dataclass(frozen=True, slots=True)
class MethodCount:
    """One method with the study's settings on this model.

    Attributes:
        name: method and settings, short.
        trainable: how many numbers it learns; `None` if it cannot be attached.
        share: `trainable` over all parameters of the base.
        reason: why it cannot be attached, or its memory not be estimated.
        memory: bytes at the highest, by `CASES`; of what learns nothing in evaluation, of the others in training.
    """

    name: str
    trainable: int | None
    share: float | None
    reason: str
    memory: dict[str, Memory]


@dataclass(frozen=True, slots=True)
class Inspection:
    """A model without its weights.

    Attributes:
        kind: `decoder`, `encoder` or `encoder-decoder`.
        hidden: d.
        heads: H.
        kv_heads: G.
        head_size: h.
        sliding_window: tokens a windowed layer sees; `None` if there is no such layer.
        sliding_layers: how many layers are windowed.
        backends: attention implementations the architecture has in transformers.
        adapter_backends: those that prefixes can go through.
        adapted_layers: L, the study's 30 of 32 for this depth.
        works: what transfix can do with the model, in a sentence.
        texts: what its tokenizer puts around texts, and what is wrong with it; empty if there is none here to look at.
        reach: how many tokens it reads and generates, where that is not one number; empty if it is.
        forward: what memory is estimated for.
        weights: what is wrong with the files of its weights; empty if nothing is, or there are none here.
    """

    name: str
    architecture: str
    model_type: str
    kind: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    inner: int
    vocabulary: int
    positions: int | None
    sliding_window: int | None
    sliding_layers: int
    tied_embeddings: bool
    parameters: int
    backends: tuple[str, ...]
    adapter_backends: tuple[str, ...]
    support: Support
    adapted_layers: int
    methods: tuple[MethodCount, ...]
    works: str
    forward: Forward
    texts: str = ""
    reach: str = ""
    weights: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        methods = [
            {**asdict(method), "memory": {name: memory.as_dict() for name, memory in method.memory.items()}}
            for method in self.methods
        ]
        del fields["forward"]
        return {**fields, "support": asdict(self.support), "methods": methods, "memory_batch": asdict(self.forward)}


def inspect(name: str | Path, rows: int = 16, tokens: int = 128, targets: int = 0) -> Inspection:
    """Inspect a model.

    Args:
        name: a packaged model, a directory with at least a config.json, or a hub id (only its config.json is read, and its
            tokenizer if it can be had).
        rows: of the forward that memory is estimated for.
        tokens: of a row.
        targets: target tokens of a row; 0 if label words are scored.

    Raises:
        TransfixError: the configuration cannot be found or read, or describes no model that transformers knows.
    """
    forward = Forward(rows, tokens, targets)
    config = _config(name)
    model = skeleton_of(str(name), config)
    text = config.get_text_config(decoder=True)
    heads = int(text.num_attention_heads)
    head_size = int(getattr(text, "head_dim", None) or text.hidden_size // heads)
    depth = int(text.num_hidden_layers)
    adapted = max(1, round(STUDY_LAYERS * depth))
    able = support(model)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    kind = _kind(config)
    kv_heads = int(getattr(text, "num_key_value_heads", None) or heads)
    shape = _layer_shape(model, text, heads, kv_heads, head_size)
    window, windowed = _sliding(text, depth)
    sizes = _base_shape(model, text, shape, parameters)
    names = [name for name, method in METHODS.items() if not method.trains_head or head_modules(model)]
    methods = tuple(count for name in names for count in _counts(model, name, adapted, sizes, depth, forward))
    return Inspection(
        name=str(name),
        architecture=type(model).__name__,
        model_type=config.model_type,
        kind=kind,
        layers=depth,
        hidden=int(text.hidden_size),
        heads=heads,
        kv_heads=kv_heads,
        head_size=head_size,
        inner=shape.inner,
        vocabulary=int(text.vocab_size),
        positions=getattr(text, "max_position_embeddings", None),
        sliding_window=window,
        sliding_layers=windowed,
        tied_embeddings=bool(getattr(text, "tie_word_embeddings", False)),
        parameters=parameters,
        backends=_backends(model),
        adapter_backends=tuple(name for name in _backends(model) if name in BACKENDS) if able.supported else (),
        support=able,
        adapted_layers=adapted,
        methods=methods,
        works=_works(kind, able, methods),
        forward=forward,
        texts=_texts(name, model.get_input_embeddings()),
        reach=_reach(config),
        weights=_weights(name),
    )


def depth(name: str | Path) -> int:
    """How many layers a model has; see `inspect`."""
    return int(_config(name).get_text_config(decoder=True).num_hidden_layers)


def parameters(name: str | Path) -> int:
    """How many numbers a model has; see `inspect`."""
    return sum(parameter.numel() for parameter in skeleton_of(str(name), _config(name)).parameters())


def trainable(name: str | Path, parts: Sequence[Part], classes: int = 0) -> int:
    """How many numbers an adapter learns on a model; see `inspect`. `classes` are those of an encoder's head.

    Raises:
        TransfixError: the configuration cannot be had, or the parts cannot be attached.
    """
    if not any(part.learns for part in parts):
        return 0
    model = skeleton_of(str(name), _config(name), classes)
    counted = [asked(part, "without_text()", part.without_text) for part in parts]
    count = partial(_attached, model, *counted)
    for part in parts:
        count = partial(asked, part, "attach()", count)
    return count()


def _config(name: str | Path) -> PretrainedConfig:
    found = hub.resolve(name)
    if isinstance(found, registry.PackagedModel):
        return registry.config(found)
    if isinstance(found, Path):
        files.read_config(found)
    config = loading.read_config(str(name), str(found), loading.source_options(str(found)))
    text = config.get_text_config(decoder=True)
    wanted = ("num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size")
    if missing := [field for field in wanted if not isinstance(getattr(text, field, None), int)]:
        raise TransfixError(
            f"model {str(name)!r} ({config.model_type}) has no {', '.join(missing)} in its configuration, so it is no "
            "transformer language model."
        )
    return config


def _texts(name: str | Path, embeddings: Any) -> str:
    """What the model's tokenizer does to texts. A packaged model's does what it was made for."""
    found = hub.resolve(name)
    if isinstance(found, registry.PackagedModel):
        return ""
    if isinstance(found, Path) and not files.has_tokenizer(found):
        return "REFUSED by train and evaluate: no file of a tokenizer is in it" if files.has_weights(found) else ""
    try:
        tokenizer = text_side.load(name, check=False).tokenizer
    except TransfixError as error:
        return f"its tokenizer cannot be read here: {str(error).splitlines()[0]}"
    return vocabulary.described(tokenizer, int(embeddings.weight.shape[0]))


def _weights(name: str | Path) -> str:
    found = hub.resolve(name)
    try:
        if isinstance(found, Path) and files.has_weights(found):
            files.check_weights(found)
    except TransfixError as error:
        return f"REFUSED by train and evaluate: {' '.join(str(error).split())}"
    return ""


def _reach(config: PretrainedConfig) -> str:
    original, most = reach.original_length(config), reach.reads(config)
    if original is None:
        return ""
    said = f"positions are turned otherwise in rows beyond {original:,} tokens: such rows are computed apart from the others"
    return f"{said}; texts are generated, and soft prompts read, within {original:,}" + (
        f" of the {most:,}" if most is not None and most > original else ""
    )


def _kind(config: PretrainedConfig) -> str:
    if config.is_encoder_decoder:
        return "encoder-decoder"
    return "encoder" if is_encoder(config) else "decoder"


def _layer_shape(model: PreTrainedModel, text: Any, heads: int, kv_heads: int, head_size: int) -> LayerShape:
    experts = getattr(text, "num_experts_per_tok", None)
    inner = int(getattr(text, "intermediate_size", None) or 4 * text.hidden_size)
    if experts:
        inner = int(experts) * int(getattr(text, "moe_intermediate_size", None) or inner)
    stacks = (m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == text.num_hidden_layers)
    block = next((stack[0] for stack in stacks), model)
    gates = ("gate_proj", "gate_up_proj", "wi_0", "w3")
    gated = any(path.rpartition(".")[2] in gates for path, _ in block.named_modules())
    norms = norm_widths(block, heads, kv_heads, head_size)
    return LayerShape(int(text.hidden_size), heads, head_size, norms, inner, gated)


def _sliding(text: Any, depth: int) -> tuple[int | None, int]:
    window = getattr(text, "sliding_window", None)
    kinds = getattr(text, "layer_types", None)
    windowed = sum(kind == "sliding_attention" for kind in kinds) if kinds else depth
    return (int(window), windowed) if window and windowed else (None, 0)


def _backends(model: PreTrainedModel) -> tuple[str, ...]:
    inside = body(model)
    flags = {
        "sdpa": "_supports_sdpa",
        "flex_attention": "_supports_flex_attn",
        "flash_attention_2": "_supports_flash_attn",
    }
    return ("eager", *(name for name, flag in flags.items() if getattr(inside, flag, False)))


def _base_shape(model: PreTrainedModel, text: Any, shape: LayerShape, parameters: int) -> BaseShape:
    try:
        quantisable = quantised_parameters(stack(model))
    except UnsupportedModelError:
        quantisable = 0
    largest = max(parameter.numel() for parameter in model.parameters())
    return BaseShape(parameters, quantisable, largest, int(text.vocab_size), shape)


def _counts(
    model: PreTrainedModel, name: str, adapted: int, sizes: BaseShape, depth: int, forward: Forward
) -> list[MethodCount]:
    """A method with the study's settings, prefixes on the top `adapted` layers; or why there is nothing to count."""
    method = METHODS[name]
    try:
        variants = asked(method, "variants()", lambda: {str(of): part for of, part in method.variants(adapted).items()})
    except TransfixError as error:
        return [MethodCount(name, None, None, str(error), {})]
    return [_count(model, method, label, part, sizes, depth, forward) for label, part in variants.items()]


def _count(
    model: PreTrainedModel, method: type[Part], label: str, part: Part, sizes: BaseShape, depth: int, forward: Forward
) -> MethodCount:
    try:
        trainable = asked(method, "attach()", lambda: _attached(model, part))
    except TransfixError as error:
        return MethodCount(label, None, None, str(error), {})
    reason, memory = "", {}
    try:
        memory = asked(method, "kept()", lambda: _memory(part, trainable, sizes, depth, forward))
    except TransfixError as error:
        reason = str(error)
    return MethodCount(label, trainable, trainable / sizes.parameters, reason, memory)


def _attached(model: PreTrainedModel, *parts: Part) -> int:
    """How many numbers an adapter learns, counted on the model, which is left as it was."""
    with torch.device("meta"):
        adapter = attach(model, *parts, name="inspected")
    try:
        return adapter.trainable
    finally:
        adapter.take_off()


def _memory(part: Part, trainable: int, sizes: BaseShape, depth: int, forward: Forward) -> dict[str, Memory]:
    adapted = part.adapted_layers
    learning = adapted if isinstance(adapted, int) else depth
    cpu = loading.choose_device("auto").type == "cpu"
    return {
        case: estimate(part, trainable, learning, sizes, Load(**asdict(forward), **settings, cpu=cpu))
        for case, settings in CASES.items()
        if not (part.trains_base and "quantization" in settings)
    }


def _works(kind: str, able: Support, methods: tuple[MethodCount, ...]) -> str:
    attached = dict.fromkeys(method.name.split()[0] for method in methods if method.trainable)
    if kind == "decoder":
        return "training, evaluation and prediction with " + ("every method" if able.supported else ", ".join(attached))
    if kind == "encoder":
        return (
            f"training, evaluation and prediction on choices among classes with {', '.join(attached)} (the head of "
            f"{CLASSES} classes is trained, saved and counted with each); tasks that are answered with texts need a decoder"
        )
    return (
        f"{', '.join(attached)} can be attached with transfix.attach, for a training loop of your own; "
        f"`transfix train` and `transfix evaluate` need a decoder, this is an {kind}"
    )
