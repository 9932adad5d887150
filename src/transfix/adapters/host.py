"""All adapters of one model: what is attached, what is on, and how the last one leaves no trace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from threading import Lock
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import PreTrainedModel

from transfix.adapters.architecture import Layer
from transfix.adapters.attention import AdaptedAttention, LayerAdapters
from transfix.adapters.methods.base import AdapterLayer, Method, SharedState, Site
from transfix.adapters.state import AdapterState
from transfix.errors import TransfixError

Shared = TypeVar("Shared", bound=SharedState)


_CREATING = Lock()


class Host:
    """All adapters of one model. Kept on the model as `_transfix`.

    Attributes:
        state: which adapters are on.
        attention: our attention function on the model.
        shared: what methods keep once a model.
        adapters: the parts of each adapter, by its name.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.state = AdapterState()
        self.shared: list[SharedState] = []
        self.adapters: dict[str, tuple[Method, ...]] = {}
        self.attention = AdaptedAttention(model, self.state, self.shared, self.adapters)
        self._held: dict[int, tuple[Layer, LayerAdapters]] = {}
        self._trained_before = {name: p.requires_grad for name, p in model.named_parameters()}
        head = model.get_output_embeddings()
        self._hook = head.register_forward_pre_hook(_contiguous) if isinstance(head, nn.Module) else None

    @classmethod
    def of(cls, model: PreTrainedModel, create: bool = False) -> Host:
        """The model's host.

        Raises:
            TransfixError: if the model has no adapters and `create` is off.
        """
        with _CREATING:
            host = getattr(model, "_transfix", None)
            if isinstance(host, cls):
                return host
            if not create:
                raise TransfixError(f"{type(model).__name__} has no transfix adapter: call attach(model, ...) first.")
            host = cls(model)
            model._transfix = host  # type: ignore[assignment]
        return host

    @contextmanager
    def changing(self, what: str) -> Iterator[None]:
        """Adapters are put on or taken off meanwhile, by one thread at a time.

        Raises:
            TransfixError: if another thread is running the model.
        """
        with self.state.changes:
            if self.state.runs_elsewhere:
                raise TransfixError(f"{what}: another thread is running the model; wait until its forward has ended.")
            yield

    def place(self, name: str, layer: Layer, method: str, module: AdapterLayer) -> None:
        """Puts a module of an adapter on a layer, and our attention function on the model.

        Raises:
            UnsupportedModelError: if the model cannot take our attention function.
        """
        self.attention.open()
        if layer.index not in self._held:
            held = layer.attention.transfix = LayerAdapters(self.state, layer.index)
            self._held[layer.index] = layer, held
        self._held[layer.index][1].place(name, method, module)

    def take_off(self, name: str, method: str) -> None:
        """Takes an adapter's modules of a method off all layers; with the last one our attention function goes."""
        for index, (layer, held) in list(self._held.items()):
            held.take_off(name, method)
            if not len(held.adapters):
                del layer.attention.transfix
                del self._held[index]
        if not self._held:
            self.attention.close()

    def remove(self, name: str) -> None:
        """Takes an adapter off, all of it even if a part fails; the one attached before it becomes the active one.

        Raises:
            TransfixError: if another thread is running the model.
        """
        with self.changing("detach"), ExitStack() as rest:
            rest.callback(self._without, name)
            for method in reversed(self.adapters[name]):
                rest.callback(method.remove)

    def _without(self, name: str) -> None:
        for method in self.adapters.pop(name):
            self.take_off(name, method.part.method)
        if self.adapters:
            self.activate(next(reversed(self.adapters)))
            return
        self.leave()
        for path, parameter in self.model.named_parameters():
            parameter.requires_grad_(self._trained_before.get(path, parameter.requires_grad))

    def undo(self, methods: Sequence[Method], shared: Sequence[SharedState]) -> None:
        """Takes off what a failed `attach` had put on, and leaves only what methods kept before it, `shared`.

        What cannot be taken off does not hide why `attach` failed, and keeps nothing else on.
        """
        for method in reversed(methods):
            with suppress(Exception):
                method.remove()
            self.take_off(method.site.name, method.part.method)
        self.shared[:] = shared
        if not self.adapters:
            self.leave()

    def leave(self) -> None:
        """Takes the last traces off the model."""
        if self._hook is not None:
            self._hook.remove()
        self.attention.leave()
        del self.model._transfix

    def activate(self, name: str) -> None:
        """Leaves one adapter on, for every row, until another choice is made."""
        self.state.default = (name,), None
        for shared in self.shared:
            shared.activate(name)

    @contextmanager
    def using(self, rows: Sequence[str | None]) -> Iterator[None]:
        """Adapters for the time of the block: one name (`None`: the base model) for every row, or one for each.

        Raises:
            TransfixError: if a name is not attached, or rows differ of which one is full fine-tuning.
        """
        for name in rows:
            if name is not None and name not in self.adapters:
                raise TransfixError(
                    f"no adapter {name!r} on this model. Attached: {', '.join(self.adapters) or 'none'}."
                )
        names = tuple(dict.fromkeys(name for name in rows if name is not None))
        index = tuple(-1 if name is None else names.index(name) for name in rows)
        uniform = len(set(rows)) <= 1
        if not uniform:
            for name in names:
                require_base_weights(self.adapters[name], "choosing adapters per row")
        with ExitStack() as stack:
            stack.enter_context(self.state.using(names, None if uniform else index))
            for shared in self.shared:
                stack.enter_context(shared.using(rows))
            yield

    def free_name(self, name: str) -> str:
        """The first name like `name` that no adapter of this model has."""
        return next(other for number in count(2) if (other := f"{name}-{number}") not in self.adapters)

    def tokens_ahead(self, device: torch.device) -> int:
        """How many positions the active adapter stands in front of every row (a soft prompt).

        Raises:
            TransfixError: if adapters are chosen row by row: rows differ in it.
        """
        if self.state.rows is not None:
            raise TransfixError("generate: adapters are chosen row by row here; generate with one adapter at a time.")
        shift = self.attention.shift(1, device)
        return 0 if shift is None else int(shift)


class HostSite(Site):
    """A name among the adapters of a host."""

    def __init__(self, host: Host, name: str) -> None:
        super().__init__(host.model, name, host.state)
        self.host = host

    def shared(self, kind: type[Shared]) -> Shared:  # noqa: D102
        for held in self.host.shared:
            if type(held) is kind:
                return held
        made = kind(self.model, self.state)
        self.host.shared.append(made)
        return made

    def place(self, layer: Layer, method: str, module: AdapterLayer) -> None:  # noqa: D102
        self.host.place(self.name, layer, method, module)

    def take_off(self, method: str) -> None:  # noqa: D102
        self.host.take_off(self.name, method)


def require_base_weights(methods: Sequence[Method], what: str) -> None:
    """Refuses `what` where the base's own weights were trained.

    Raises:
        TransfixError: if they were.
    """
    if any(method.part.trains_base for method in methods):
        raise TransfixError(f"{what}: full fine-tuning has changed the base weights; load the base model again.")


def _contiguous(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a frozen head gets, in one piece.

    Of a slice of the positions (`logits_to_keep`, as in generate) torch 2.13 makes a batched product and copies the whole
    matrix once a row: seconds and gigabytes on a CPU, where the product takes milliseconds.
    """
    return tuple(arg.contiguous() if isinstance(arg, torch.Tensor) else arg for arg in args)
