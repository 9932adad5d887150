"""Putting an adapter on a model: `attach`, and the `Adapter` that comes back.

model = AutoModelForCausalLM.from_pretrained(...)
adapter = attach(model, PrefixTuning(tokens=10, layers=30))
... train adapter.parameters() any way you like; generate, Trainer and pipelines work as before ...
adapter.save("my-adapter")
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from transfix.adapters import architecture
from transfix.adapters.bindings import BINDINGS, Binding, FullBinding, Group, Site
from transfix.adapters.initialise import Starts
from transfix.adapters.lora import LoraHost
from transfix.adapters.methods import Base, FullFineTuning, Part
from transfix.adapters.seam import Seam
from transfix.errors import TransfixError


class Adapter:
    """A list of parts on a model.

    Attributes:
        name: its name among the adapters of this model.
        parts: the settings of its parts.
        model: the model it is on.
        bindings: what was put on the model, one a part.
    """

    def __init__(self, name: str, bindings: Sequence[Binding], host: Host) -> None:
        self.name = name
        self.bindings = tuple(bindings)
        self.parts: tuple[Part, ...] = tuple(binding.part for binding in bindings)
        self.model = host.model
        self._host = host

    def tensors(self) -> dict[str, nn.Parameter]:
        """The learned tensors by the name they have in a saved file (`prefix.3.embedding`)."""
        return {f"{b.part.method}.{name}": tensor for b in self.bindings for name, tensor in b.tensors.items()}

    def parameters(self) -> Iterator[nn.Parameter]:
        """The learned tensors."""
        yield from self.tensors().values()

    def groups(self) -> list[Group]:
        """The learned tensors with the learning rates of their parts."""
        return [group for binding in self.bindings for group in binding.groups()]

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
        self._refuse_full("disabled()")
        with use(self.model, None):
            yield

    @contextmanager
    def active(self) -> Iterator[None]:
        """This adapter and no other, for the time of the block."""
        with use(self.model, self.name):
            yield

    def save(self, directory: str | Path) -> Path:
        """Writes `adapter.json` and `adapter.safetensors` into `directory`; returns it."""
        from transfix.adapters.saving import save

        return save(self, directory)

    def detach(self) -> None:
        """Takes the adapter off; after the last one the model is exactly what it was.

        Raises:
            TransfixError: for full fine-tuning.
        """
        self._refuse_full("detach()")
        self.take_off()

    def take_off(self) -> None:
        """`detach` without the question whether the base weights are still its own."""
        self._host.remove(self)

    def _refuse_full(self, what: str) -> None:
        if any(isinstance(binding, FullBinding) for binding in self.bindings):
            raise TransfixError(f"{what}: full fine-tuning has changed the base weights; load the base model again.")


class Host:
    """All adapters of one model. Kept on the model as `_transfix`."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.seam = Seam(model)
        self.lora = LoraHost(model, self.seam)
        self.adapters: dict[str, Adapter] = {}
        self._trained_before = {name: p.requires_grad for name, p in model.named_parameters()}
        head = model.get_output_embeddings()
        self._hook = head.register_forward_pre_hook(_contiguous) if isinstance(head, nn.Module) else None

    @classmethod
    def of(cls, model: PreTrainedModel, create: bool = False) -> Host:
        """The model's host.

        Raises:
            TransfixError: if the model has no adapters and `create` is off.
        """
        host = getattr(model, "_transfix", None)
        if isinstance(host, cls):
            return host
        if not create:
            raise TransfixError(f"{type(model).__name__} has no transfix adapter: call attach(model, ...) first.")
        host = cls(model)
        model._transfix = host  # type: ignore[assignment]
        return host

    def remove(self, adapter: Adapter) -> None:
        """Takes an adapter off; the one attached before it becomes the active one."""
        for binding in adapter.bindings:
            binding.remove()
        del self.adapters[adapter.name]
        if self.adapters:
            self.activate(next(reversed(self.adapters)))
            return
        self.leave()
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(self._trained_before.get(name, parameter.requires_grad))

    def leave(self) -> None:
        """Takes the last traces off the model."""
        self.seam.close()
        if self._hook is not None:
            self._hook.remove()
        for module in self.model.modules():
            if "transfix" in module._modules:
                del module._modules["transfix"]
        del self.model._transfix

    def activate(self, name: str) -> None:
        """Leaves one adapter on, for every row, until another choice is made."""
        self.seam.active, self.seam.rows = (name,), None
        self.lora.activate(name)

    def known(self, name: str | None) -> str | None:
        """The name, if it is attached (or `None`, the base model).

        Raises:
            TransfixError: if it is not.
        """
        if name is not None and name not in self.adapters:
            raise TransfixError(f"no adapter {name!r} on this model. Attached: {', '.join(self.adapters) or 'none'}.")
        return name


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
        parts: one or more of `PrefixTuning`, `LlamaAdapter`, `SoftPrompt`, `LoRA`, `FullFineTuning`, `Base`.
        name: tells several adapters of one model apart (see `use`).
        tokenizer: the model's tokenizer, needed by `init: text`.
        seed: of the start values; the same seed gives the same adapter, on any device.

    Returns:
        the adapter; its `parameters()` are float32 and the only ones that require gradients.

    Raises:
        TransfixError: if `model` is no model, the name is taken, the parts do not go together or ask for more layers than
            there are.
        UnsupportedModelError: if the architecture cannot take a part; the message says which methods still work.
    """
    if not isinstance(model, nn.Module):
        raise TransfixError(
            f"attach: the model is a {type(model).__name__}; load it first, with transformers or with "
            "`from transfix import models; models.load(NAME).model`."
        )
    host = Host.of(model, create=True)
    bindings: list[Binding] = []
    flags = {parameter: parameter.requires_grad for parameter in model.parameters()}
    opened = host.seam.opened
    try:
        _check(host, parts, name)
        site = Site(model, host.seam, host.lora, name)
        others = [p for adapter in host.adapters.values() for p in adapter.parameters()]
        for part in parts:
            bindings.append(BINDINGS[type(part)](part, site))
        adapter = Adapter(name, bindings, host)
        if not architecture.embedding_table(model).is_meta:  # a model without numbers; offloaded layers have some
            _initialise(host, bindings, tokenizer, seed)
    except BaseException:
        _undo(host, bindings, opened)
        for parameter, flag in flags.items():
            parameter.requires_grad_(flag)
        raise
    for parameter in flags:
        parameter.requires_grad_(False)
    for parameter in [*others, *adapter.parameters()]:
        parameter.requires_grad_(True)
    host.adapters[name] = adapter
    host.activate(name)
    return adapter


@contextmanager
def use(model: PreTrainedModel, adapters: str | Sequence[str | None] | None) -> Iterator[None]:
    """Chooses adapters for the time of the block: one for every row, or one for each row of the batch.

    With LoRA and activation checkpointing, `backward` belongs inside the block: PEFT's layers recompute their activations
    with whatever adapter is on by then. Prefix methods remember.

    Args:
        model: a model with adapters.
        adapters: a name, `None` (the base model), or a sequence with a name or `None` for each row. Beams and several
            returned sequences follow their row.

    Raises:
        TransfixError: if a name is not attached.
    """
    host = Host.of(model)
    wanted: Sequence[str | None] = [adapters] if adapters is None or isinstance(adapters, str) else adapters
    rows = [host.known(name) for name in wanted]
    names = tuple(dict.fromkeys(name for name in rows if name is not None))
    index = tuple(-1 if name is None else names.index(name) for name in rows)
    uniform = len(set(rows)) <= 1
    if not uniform:
        for name in names:
            host.adapters[name]._refuse_full("choosing adapters per row")
    with host.seam.using(names, None if uniform else index), host.lora.using(rows):
        yield


def _contiguous(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a frozen head gets, in one piece.

    Of a slice of the positions (`logits_to_keep`, as in generate) torch 2.13 makes a batched product and copies the whole
    matrix once a row: seconds and gigabytes on a CPU, where the product takes milliseconds.
    """
    return tuple(arg.contiguous() if isinstance(arg, torch.Tensor) else arg for arg in args)


def _check(host: Host, parts: tuple[Part, ...], name: str) -> None:
    if not parts:
        raise TransfixError("attach: name at least one part, e.g. attach(model, PrefixTuning(tokens=10)).")
    if name in host.adapters:
        raise TransfixError(
            f"an adapter named {name!r} is already attached: give this one another name (name={_free(host, name)!r}), "
            "or take that one off first (its detach())."
        )
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise TransfixError(f"adapter name {name!r}: use letters, digits, - and _ only.")
    if hasattr(nn.ModuleDict(), name):
        raise TransfixError(f"adapter name {name!r}: torch's module containers keep this name for themselves.")
    for part in parts:
        if type(part) not in BINDINGS:
            raise TransfixError(
                f"attach: {part!r} is no adapter part. Parts: {', '.join(c.__name__ for c in BINDINGS)}."
            )
    methods = [part.method for part in parts]
    twice = sorted({method for method in methods if methods.count(method) > 1})
    if twice:
        raise TransfixError(f"an adapter can have each method once; twice: {', '.join(twice)}.")
    if len(parts) > 1 and any(isinstance(part, FullFineTuning | Base) for part in parts):
        raise TransfixError(f"full and base stand alone, they cannot be combined: {', '.join(methods)}.")
    if host.adapters and any(isinstance(part, FullFineTuning) for part in parts):
        raise TransfixError(
            "full fine-tuning changes the weights under the adapters already attached; detach them first."
        )


def _free(host: Host, name: str) -> str:
    """The first name like `name` that no adapter of this model has."""
    return next(other for number in count(2) if (other := f"{name}-{number}") not in host.adapters)


def _initialise(host: Host, bindings: list[Binding], tokenizer: Callable[..., Any] | None, seed: int) -> None:
    """Start values, computed on the base model with every adapter off."""
    starts = Starts(host.model, tokenizer)
    with host.seam.using((), None), host.lora.using([None]):
        for number, binding in enumerate(bindings):
            generator = torch.Generator().manual_seed(seed * 1000 + number)
            binding.initialise(starts, generator)
            binding.remember()


def _undo(host: Host, bindings: list[Binding], opened: bool) -> None:
    """Takes off what a failed `attach` had already put on; the seam stays open only if it had been `opened` before."""
    for binding in bindings:
        binding.remove()
    if not host.adapters:
        host.leave()
    elif not opened:
        host.seam.close()
