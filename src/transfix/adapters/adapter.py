"""Putting an adapter on a model: `attach`, `load_adapter`, `use`, and the `Adapter` that comes back.

model = AutoModelForCausalLM.from_pretrained(...)
adapter = attach(model, PrefixTuning(tokens=10, layers=30), tokenizer=tokenizer)
... train adapter.parameters() any way you like; generate, Trainer and pipelines work as before ...
adapter.save("my-adapter")
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from transfix.adapters import architecture, encoders, files, guests
from transfix.adapters.files import AdapterFileError
from transfix.adapters.host import Host, HostSite, require_base_weights, set_trained
from transfix.adapters.methods.base import Group, Method
from transfix.adapters.methods.part import Part
from transfix.adapters.methods.registry import METHODS, implementation, unregistered
from transfix.adapters.pretrained import tensors_of
from transfix.adapters.start_values import StartValues
from transfix.errors import TransfixError


class Adapter:
    """A list of parts on a model.

    Attributes:
        name: its name among the adapters of this model.
        parts: the settings of its parts.
        model: the model it is on.
        methods: what was put on the model, one a part.
    """

    def __init__(self, name: str, methods: Sequence[Method], host: Host) -> None:
        self.name = name
        self.methods = tuple(methods)
        self.parts: tuple[Part, ...] = tuple(method.part for method in methods)
        self.model = host.model
        self._host = host

    def tensors(self) -> dict[str, nn.Parameter]:
        """The learned tensors by the name they have in a saved file (`prefix.3.embedding`)."""
        return tensors_of(self.methods)

    def parameters(self) -> Iterator[nn.Parameter]:
        """The learned tensors."""
        yield from self.tensors().values()

    def groups(self) -> list[Group]:
        """The learned tensors with the learning rates of their parts."""
        return [group for method in self.methods for group in method.groups()]

    @property
    def trainable(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.numel() for parameter in self.parameters())

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """What a torch optimiser takes: groups with `params` and `lr`, per part and, where asked for, per layer."""
        return [
            {"params": list(group.parameters), "lr": (group.learning_rate or learning_rate) * group.factor}
            for group in self.groups()
        ]

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """The base model, for the time of the block.

        Raises:
            TransfixError: for full fine-tuning, which has no base left to go back to.
        """
        require_base_weights(self.methods, "disabled()")
        with use(self.model, None):
            yield

    @contextmanager
    def active(self) -> Iterator[None]:
        """This adapter and no other, for the time of the block."""
        with use(self.model, self.name):
            yield

    def save(self, directory: str | Path) -> Path:
        """Writes `adapter.json` and `adapter.safetensors` into `directory`; returns it.

        Raises:
            AdapterFileError: if the directory cannot be written.
            TransfixError: if another tool has changed what is learned.
        """
        self._host.require_own("save()")
        self._host.tell_of_others(self.name)
        return files.save(self.model, self.name, self.parts, self.tensors(), directory)

    def fill(self, tensors: dict[str, torch.Tensor], source: Path) -> None:
        """Writes saved tensors into the adapter.

        Raises:
            AdapterFileError: if names or shapes differ.
        """
        files.fill(self.tensors(), tensors, source)

    def on_by_default(self) -> None:
        """Leaves this adapter on wherever no other choice is made."""
        self._host.activate(self.name)

    def detach(self) -> None:
        """Takes the adapter off; after the last one the model is exactly what it was.

        Raises:
            TransfixError: for full fine-tuning.
        """
        require_base_weights(self.methods, "detach()")
        self.take_off()

    def take_off(self) -> None:
        """`detach` without the question whether the base weights are still its own."""
        self._host.remove(self.name)


def attach(
    model: PreTrainedModel,
    *parts: Part,
    name: str = "default",
    tokenizer: Callable[..., Any] | None = None,
    seed: int = 0,
) -> Adapter:
    """Puts an adapter on `model` and freezes everything else. The newest adapter is the active one.

    Args:
        model: a transformers model with a language-model head, or its body.
        parts: one or more of `PrefixTuning`, `LlamaAdapter`, `SoftPrompt`, `LoRA`, `FullFineTuning`, `Base`, or of the
            methods that other packages bring.
        name: tells several adapters of one model apart (see `use`).
        tokenizer: the model's tokenizer: prefixes start from the model's states on a text, which learns faster than without.
        seed: of the start values; the same seed gives the same adapter, on any device.

    Returns:
        the adapter; its `parameters()` are float32 and the only ones that require gradients.

    Raises:
        TransfixError: if `model` is no model or carries another tool's adapter, the name is taken, the parts do not go
            together or ask for more layers than there are; if another thread is running the model.
        UnsupportedModelError: if the architecture cannot take a part; the message says which methods still work. If a
            decoder has a classification head, which no adapter trains; an encoder's is part of the adapter.
    """
    model = guests.unwrapped(model)
    with Host.changing(model, "attach", create=True):
        adapter = _put(model, parts, name, tokenizer, seed)
        adapter.on_by_default()
    return adapter


def _put(
    model: PreTrainedModel, parts: tuple[Part, ...], name: str, tokenizer: Callable[..., Any] | None, seed: int
) -> Adapter:
    """`attach`, the adapter not on yet."""
    host = Host.of(model)
    methods: list[Method] = []
    shared = list(host.shared)
    flags = {parameter: parameter.requires_grad for parameter in model.parameters()}
    try:
        _check(host, parts, name)
        parts = _with_head(model, parts)
        parts = tuple(part.settled(lambda: _normed(model), tokenizer is not None) for part in parts)
        site = HostSite(host, name)
        for part in parts:
            methods.append(implementation(part)(part, site))
            methods[-1].place()
        adapter = Adapter(name, methods, host)
        if not architecture.embedding_table(model).is_meta:  # a model without numbers; offloaded layers have some
            _initialise(host, methods, tokenizer, seed)
    except BaseException:
        host.undo(methods, shared)
        for parameter, flag in flags.items():
            set_trained(parameter, flag)
        raise
    for parameter in flags:
        parameter.requires_grad_(False)
    host.add(name, adapter.methods)
    for tensor in (tensor for attached in host.adapters.values() for m in attached for tensor in m.tensors.values()):
        set_trained(tensor, True)
    return adapter


def _with_head(model: PreTrainedModel, parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The parts, and the head of an encoder where something is learned that its answers go through."""
    if any(part.trains_head or part.trains_base for part in parts) or not any(part.learns for part in parts):
        return parts
    heads = (kind for kind in METHODS.values() if kind.trains_head)
    return (*parts, next(heads)()) if encoders.head_modules(model) else parts


def _normed(model: PreTrainedModel) -> bool:
    """Whether every attention layer has a norm in front of it."""
    return all(layer.norm is not None for layer in architecture.layers(model))


def load_adapter(
    model: PreTrainedModel,
    directory: str | Path,
    name: str | None = None,
    tokenizer: Callable[..., Any] | None = None,
) -> Adapter:
    """Puts a saved adapter on `model`.

    Args:
        model: the base model that it was trained on.
        directory: what `Adapter.save` wrote.
        name: a name other than the saved one.
        tokenizer: not needed; accepted so that a call can look like `attach`.

    Raises:
        AdapterFileError: if a file is missing, torn or not an adapter's, the adapter belongs to another base, or the
            model has one of that name already.
    """
    source, model = Path(directory), guests.unwrapped(model)
    saved, tensors = files.read(source, model)
    with Host.changing(model, "load_adapter", create=True):
        try:
            adapter = _put(model, tuple(part.without_text() for part in saved.parts), name or saved.name, None, 0)
        except TransfixError as error:
            raise AdapterFileError(f"{source}: {error}") from error
        for method, part in zip(adapter.methods, saved.parts, strict=True):
            method.part = part
        adapter.parts = tuple(saved.parts)
        try:
            adapter.fill(tensors, source)
        except AdapterFileError:
            adapter.take_off()
            raise
        for method in adapter.methods:
            method.remember()
        adapter.on_by_default()
    return adapter


@contextmanager
def use(model: PreTrainedModel, adapters: str | Sequence[str | None] | None) -> Iterator[None]:
    """Chooses adapters for the time of the block: one for every row, or one for each row of the batch.

    The choice is the caller's, in its thread or task of asyncio: others may run the model at the same time with adapters of
    their own. A thread begins without a choice, also inside a block: the adapter attached last is on there. What activation
    checkpointing computes again has the adapters of its forward, wherever `backward` is called.

    Args:
        model: a model with adapters.
        adapters: a name, `None` (the base model), or a sequence with a name or `None` for each row. Beams and several
            returned sequences follow their row.

    Raises:
        TransfixError: if a name is not attached, or the sequence is empty.
    """
    rows: Sequence[str | None] = [adapters] if adapters is None or isinstance(adapters, str) else adapters
    if not rows:
        raise TransfixError(
            "use: no adapter is named: give a name or None for each row of the batch, or None for the base model in all."
        )
    with Host.of(model).using(rows):
        yield


def _check(host: Host, parts: tuple[Part, ...], name: str) -> None:
    if not parts:
        raise TransfixError("attach: name at least one part, e.g. attach(model, PrefixTuning(tokens=10)).")
    if name in host.adapters:
        raise TransfixError(
            f"an adapter named {name!r} is already attached: "
            + (
                "full fine-tuning has changed the base for good. Load the base model again."
                if any(method.part.trains_base for method in host.adapters[name])
                else f"give this one another name (name={host.free_name(name)!r}), or take that one off first (its detach())."
            )
        )
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise TransfixError(f"adapter name {name!r}: use letters, digits, - and _ only.")
    if hasattr(nn.ModuleDict(), name):
        raise TransfixError(f"adapter name {name!r}: torch's module containers keep this name for themselves.")
    given: tuple[object, ...] = parts
    for part in given:
        why = unregistered(part) if isinstance(part, Part) else f"{part!r} is no adapter part"
        if why:
            known = ", ".join(kind.__name__ for kind in METHODS.values())
            raise TransfixError(f"attach: {why}. Parts: {known}.")
    guests.require_bare(host.model, host.placed)
    if any(part.learns and not part.trains_base for part in parts):
        guests.require_no_head(host.model)
    methods = [part.method for part in parts]
    twice = sorted({method for method in methods if methods.count(method) > 1})
    if twice:
        raise TransfixError(f"an adapter can have each method once; twice: {', '.join(twice)}.")
    if len(parts) > 1 and (alone := [part for part in parts if part.stands_alone]):
        why = "; ".join(f"{part.method} stands alone ({part.stands_alone})" for part in alone)
        raise TransfixError(f"{' + '.join(methods)} cannot be combined: {why}.")
    if host.adapters and any(part.trains_base for part in parts):
        trained = any(method.part.trains_base for methods in host.adapters.values() for method in methods)
        raise TransfixError(
            "full fine-tuning changes the weights under the adapters already attached; "
            + ("one of them has changed them already: load the base model again." if trained else "detach them first.")
        )


def _initialise(host: Host, methods: Sequence[Method], tokenizer: Callable[..., Any] | None, seed: int) -> None:
    """Start values, computed on the base model with every adapter off."""
    starts = StartValues(host.model, tokenizer)
    with host.using([None]):
        for number, method in enumerate(methods):
            generator = torch.Generator().manual_seed(seed * 1000 + number)
            method.initialise(starts, generator)
            method.remember()
