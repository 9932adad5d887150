"""The settings of every adaptation method: what a user writes in Python or YAML, and what a saved adapter records.

Nothing here imports torch, so that a specification can be checked and a help page printed at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from transfix.errors import Problem, ProblemsError

Layers = Annotated[
    Literal["all"] | Annotated[int, Field(ge=1)] | tuple[Annotated[int, Field(ge=0)], ...],
    Field(description="all or a whole number L (the top L layers) or a list of layer indices from 0"),
]
"""Which layers are adapted: `all`, a number L (the **top** L layers), or an explicit tuple of layer indices from 0."""

Init = Literal["normal", "text", "zero"]

INIT_TEXT = "Does the first sentence imply the second? Answer yes, no or maybe."


class Part(BaseModel):
    """What every method has in common. An adapter is a list of parts.

    Attributes:
        learning_rate: overrides the trainer's for this part.

    Raises:
        ProblemsError: with every setting that cannot be. (As a field of a specification a part raises pydantic's
            `ValidationError` instead, like every other field.)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    method: str
    learning_rate: Annotated[float, Field(gt=0)] | None = None

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            problems = _problems(type(self), settings, error)
            raise ProblemsError(f"{type(self).__name__} cannot be made like this:", problems) from None

    # without this mark pydantic would call __init__ for the parts of a specification too
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


class _Prefix(Part):
    """A learned prefix of `tokens` positions."""

    tokens: Annotated[int, Field(ge=1)] = 10
    init: Init = "normal"
    init_text: str = INIT_TEXT
    init_scale: Annotated[float, Field(gt=0)] = 1.0
    learning_rate_scale: Literal["absolute", "relative"] = "absolute"


class PrefixTuning(_Prefix):
    """Prefix tuning with one joint softmax over prefix and tokens (Li & Liang 2021; arXiv 2510.24619).

    Attributes:
        tokens: P, the prefix length.
        layers: `all`, L (the top L layers) or explicit layer indices.
        projection: `base` learns E (P, d) and sends it through the layer's frozen W_k, W_v; `none` learns the keys and
            values (G, P, h) themselves.
        norm: `layer` sends E through the layer's own input norm first.
        init: `normal` fits the scale of the layer's real inputs (times `init_scale`), `text` takes the model's own states
            on `init_text`, `zero` is zero.
        learning_rate_scale: `relative` multiplies the learning rate by the root mean square of each tensor's start value.
    """

    method: Literal["prefix"] = "prefix"
    layers: Layers = "all"
    projection: Literal["base", "none"] = "base"
    norm: Literal["none", "layer"] = "none"

    @model_validator(mode="after")
    def _norm_needs_projection(self) -> PrefixTuning:
        if self.norm == "layer" and self.projection == "none":
            raise ValueError("norm: layer needs projection: base (keys and values have no input norm)")
        return self


class LlamaAdapter(_Prefix):
    """LLaMA-Adapter: a second softmax over the prefix, added through a gate that starts at zero (Zhang et al. 2023).

    Attributes:
        gate: one gate per head, or one per layer.
        tanh: pass the gate through tanh, as the published training code does (its inference code and PEFT do not).
    """

    method: Literal["llama_adapter"] = "llama_adapter"
    layers: Layers = "all"
    norm: Literal["none", "layer"] = "none"
    gate: Literal["per_head", "per_layer"] = "per_head"
    tanh: bool = False
    gate_learning_rate: Annotated[float, Field(gt=0)] | None = None


class SoftPrompt(_Prefix):
    """Soft prompt: E (P, d) stands before the token embeddings, at positions 0..P-1 (Lester et al. 2021).

    With activation checkpointing it needs `use_reentrant=False` (transformers' default): all layers share one pass over
    E, and reentrant checkpointing runs backward through each layer's part of it separately. torch raises an error.
    """

    method: Literal["soft_prompt"] = "soft_prompt"


class LoRA(Part):
    """Low-rank adaptation, by PEFT (Hu et al. 2022).

    Attributes:
        rank: r.
        alpha: scaling numerator; `None` means 2 r.
        targets: which projections of the attention are adapted, by role; `all_linear` takes every linear layer of the
            body's adapted layers.
    """

    method: Literal["lora"] = "lora"
    rank: Annotated[int, Field(ge=1)] = 4
    alpha: Annotated[float, Field(gt=0)] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Annotated[
        tuple[Literal["q", "k", "v", "o"], ...] | Literal["all_linear"],
        Field(description="all_linear, or a list of q, k, v or o"),
    ] = ("q", "k", "v")
    layers: Layers = "all"


class FullFineTuning(Part):
    """Ordinary fine-tuning of every weight."""

    method: Literal["full"] = "full"


class Base(Part):
    """Nothing is learned: the base model itself, prompted. The control."""

    method: Literal["base"] = "base"


AnyPart = Annotated[
    PrefixTuning | LlamaAdapter | SoftPrompt | LoRA | FullFineTuning | Base, Field(discriminator="method")
]
METHODS: dict[str, type[Part]] = {
    "prefix": PrefixTuning,
    "llama_adapter": LlamaAdapter,
    "soft_prompt": SoftPrompt,
    "lora": LoRA,
    "full": FullFineTuning,
    "base": Base,
}


def _problems(part: type[Part], given: Mapping[str, Any], error: ValidationError) -> list[Problem]:
    """One problem a setting; each member of a union has reported its own failure."""
    found: dict[str, Problem] = {}
    for detail in error.errors(include_url=False, include_input=False):
        name = str(detail["loc"][0]) if detail["loc"] else ""
        field = part.model_fields.get(name)
        if not name:
            problem = Problem(name, detail["msg"].removeprefix("Value error, "))
        elif field is None:
            allowed = ", ".join(key for key in part.model_fields if key != "method")
            problem = Problem(name, "there is no such setting", allowed)
        elif name not in given:
            problem = Problem(name, "is missing")
        else:
            limit = detail["msg"].removeprefix("Input should be ").partition(", unable to")[0]
            allowed = field.description or limit.replace("greater than or equal to", "at least")
            problem = Problem(name, f"{given[name]!r} is not allowed", allowed)
        found.setdefault(name, problem)
    return list(found.values())
