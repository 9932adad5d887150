"""The settings of a method, as far as all methods have them: what a user writes in Python or YAML, and what is saved.

A method is a subclass of `Part` (its settings, how tables call it, what memory it takes) and a subclass of
`methods.base.Method` (its tensors and what they compute), which the first names by `implementation`. Nothing here imports
torch, so that a specification can be checked and a help page printed at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from transfix.config.validation import settings_problems
from transfix.errors import ProblemsError, TransfixError

Layers = Annotated[
    Literal["all"] | Annotated[int, Field(ge=1)] | tuple[Annotated[int, Field(ge=0)], ...],
    Field(description="all or a whole number L (the top L layers) or a list of layer indices from 0"),
]
"""Which layers are adapted: `all`, a number L (the **top** L layers), or an explicit tuple of layer indices from 0."""


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What decides how much one layer keeps, a token.

    Attributes:
        hidden: d.
        heads: H.
        head_size: h.
        norms: the widths of all its norms, added up; a norm of single heads counts once for each head.
        inner: f, of the experts a token passes through if there are several.
        gated: whether the MLP multiplies two branches.
    """

    hidden: int
    heads: int
    head_size: int
    norms: int
    inner: int
    gated: bool


class Part(BaseModel):
    """What every method has in common. An adapter is a list of parts.

    A method defines `method` (a `Literal`, its name in YAML), `label`, `implementation` and `kept`; the rest has defaults.

    Attributes:
        learning_rate: overrides the trainer's for this part.
        label: how tables call the method.
        implementation: `module:Class` of its `methods.base.Method`, imported when a part is attached.
        usual_rate: the learning rate where nobody says one: what small models learned best with (docs/results.md).
        learns: whether there is anything to train.
        trains_base: whether the base's own weights are what is trained.
        trains_head: whether the head that gives an encoder's answers is what is trained.
        stands_alone: why it cannot be combined with other parts; empty where it can.
        same_speed: settings that change neither how fast a run is nor its memory: a study tries a few steps once for all
            runs that differ in nothing else. A subclass adds its own to those of the class it is made from.

    Raises:
        ProblemsError: with every setting that cannot be. (As a field of a specification a part raises pydantic's
            `ValidationError` instead, like every other field.)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    label: ClassVar[str]
    implementation: ClassVar[str]
    usual_rate: ClassVar[float] = 1e-2
    learns: ClassVar[bool] = True
    trains_base: ClassVar[bool] = False
    trains_head: ClassVar[bool] = False
    stands_alone: ClassVar[str] = ""
    same_speed: ClassVar[frozenset[str]] = frozenset({"learning_rate"})
    method: str
    learning_rate: Annotated[float, Field(gt=0)] | None = None

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            problems = settings_problems(type(self), settings, error)
            raise ProblemsError(f"{type(self).__name__} cannot be made like this:", problems) from None

    # without this mark pydantic would call __init__ for the parts of a specification too
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def named(cls) -> str:
        """The method's name: the default of the field `method`."""
        return str(cls.model_fields["method"].default)

    @classmethod
    def variants(cls, layers: int) -> dict[str, Part]:
        """What `inspect` counts, by a short text: the method as it is usually set, on the top `layers` layers.

        Raises:
            TransfixError: if a setting has no default: then only the method itself can say what is usual.
        """
        if required := [name for name, field in cls.model_fields.items() if field.is_required()]:
            raise TransfixError(
                f"{', '.join(required)} has no default, so nothing usual can be counted: {cls.__name__} needs `variants` "
                "of its own (docs/extending.md)"
            )
        if "layers" in cls.model_fields:
            return {f"{cls.named()} L={layers}": cls(layers=layers)}
        return {cls.named(): cls()}

    @property
    def adapted_layers(self) -> Layers:
        """The setting `layers` where the method has it, else `all`."""
        layers: Layers = getattr(self, "layers", "all")
        return layers

    @property
    def input_tokens(self) -> int:
        """How many tokens the part puts in front of every row."""
        return 0

    @property
    def relative_rate(self) -> bool:
        """Whether the learning rate is multiplied by the root mean square of each tensor's start value."""
        return bool(getattr(self, "learning_rate_scale", "absolute") == "relative")

    @property
    def title(self) -> str:
        """The method, its size, and every setting that is not the usual one: `LLaMA-Adapter, 10 tokens, tanh`."""
        layers = self.adapted_layers
        where = f"top {layers} layers" if isinstance(layers, int) else f"layers {', '.join(map(str, layers))}"
        return ", ".join([*self.described(), *([where] if layers != "all" else [])])

    def described(self) -> list[str]:
        """What `title` says, the layers left out: first the name."""
        usual = {"method", "learning_rate", "layers"}
        given = dict(self)
        unusual = {
            name: given[name]
            for name, field in type(self).model_fields.items()
            if name not in usual and given[name] != field.get_default(call_default_factory=True, validated_data=given)
        }
        return [self.label, *(f"{name.replace('_', ' ')} {value}" for name, value in unusual.items())]

    def kept(self, shape: LayerShape, width: int, cpu: bool) -> int:
        """Bytes a token that one learning layer keeps for the backward pass, beyond what a frozen layer keeps.

        Args:
            shape: the layer's sizes.
            width: bytes of a base weight, 4 or 2.
            cpu: whether it runs on a CPU.
        """
        raise NotImplementedError(f"{type(self).__name__}.kept: say what a layer keeps for the backward pass.")

    def without_text(self) -> Part:
        """The same part, started without a text: what is loaded or only counted needs no tokenizer."""
        return self

    def settled(self, normed: Callable[[], bool], readable: bool) -> Part:
        """The same part with every `auto` replaced by what fits the model it is attached to; so it is saved.

        Args:
            normed: asks whether every attention layer of the model has a norm in front of it.
            readable: whether the model's tokenizer is at hand.
        """
        return self


INIT_TEXT = "Does the first sentence imply the second? Answer yes, no or maybe."

SMALL_HEAD = 128
"""The largest head for which float32 is faster in training on a CPU: by a tenth to a quarter with 64, not with 256."""


class LearnedPrefix(Part):
    """What the prefix methods share: a learned prefix of `tokens` positions.

    Attributes:
        tokens: P, the prefix length.
        init: `text` takes the model's own states on `init_text`, `normal` fits the scale of the layer's real inputs (times
            `init_scale`), `zero` is zero. `auto` is `text` where a tokenizer is at hand, else `normal`.
        learning_rate_scale: `relative` multiplies the learning rate by the root mean square of each tensor's start value.
    """

    same_speed: ClassVar = Part.same_speed | {"init", "init_text", "init_scale", "learning_rate_scale"}
    tokens: Annotated[int, Field(ge=1)] = 10
    init: Literal["auto", "text", "normal", "zero"] = "auto"
    init_text: str = INIT_TEXT
    init_scale: Annotated[float, Field(gt=0)] = 1.0
    learning_rate_scale: Literal["relative", "absolute"] = "relative"

    def described(self) -> list[str]:
        """Name, length, what a method adds, and the start if it is not the usual one."""
        length = f"{self.tokens} token{'s' * (self.tokens != 1)}"
        return [self.label, length, *self.unusual(), *[f"{self.init} start"] * (self.init in ("normal", "zero"))]

    def unusual(self) -> list[str]:
        """Settings of the method itself that are not the usual ones, in words."""
        return []

    def kept(self, shape: LayerShape, width: int, cpu: bool) -> int:
        """On a CPU attention with small heads is learned in float32: q, k, v and its output."""
        return 4 * shape.heads * shape.head_size * (4 - width) if cpu and shape.head_size <= SMALL_HEAD else 0

    def without_text(self) -> Part:
        """The same part, started at zero."""
        return self.model_copy(update={"init": "zero"})

    def settled(self, normed: Callable[[], bool], readable: bool) -> Part:
        """With `init` decided."""
        return self.model_copy(update={"init": "text" if readable else "normal"}) if self.init == "auto" else self


class LayerPrefix(LearnedPrefix):
    """A learned prefix in every adapted layer.

    Attributes:
        layers: `all`, L (the top L layers) or explicit layer indices.
        norm: `layer` sends E through the layer's own input norm first, as real states are; `none` does not. `auto` is `layer`
            where every layer has such a norm.
    """

    layers: Layers = "all"
    norm: Literal["auto", "layer", "none"] = "auto"

    def settled(self, normed: Callable[[], bool], readable: bool) -> Part:
        """With `init` and `norm` decided: without norms there is no state before or after one to start from."""
        if "auto" not in (self.init, self.norm):
            return self
        has_norms = normed()
        found = super().settled(normed, readable and has_norms)
        norm = "layer" if has_norms else "none"
        return found.model_copy(update={"norm": norm}) if self.norm == "auto" else found
