"""All adapters of one model: what is attached, what is on, and how the last one leaves no trace."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from itertools import count
from types import FrameType
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import PreTrainedModel

from transfix.adapters import guests
from transfix.adapters.architecture import Layer, UnsupportedModelError
from transfix.adapters.attention import AdaptedAttention, LayerAdapters
from transfix.adapters.methods.base import AdapterLayer, Method, SharedState, Site
from transfix.adapters.pretrained import PretrainedFiles
from transfix.adapters.state import AdapterState
from transfix.errors import TransfixError

Shared = TypeVar("Shared", bound=SharedState)


_CREATING = threading.Lock()


class Host:
    """All adapters of one model. Kept on the model as `_transfix`.

    Attributes:
        state: which adapters are on.
        attention: our attention function on the model.
        shared: what methods keep once a model.
        adapters: the parts of each adapter, by its name.
        files: what the model saves.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.state = AdapterState()
        self.shared: list[SharedState] = []
        self.adapters: dict[str, tuple[Method, ...]] = {}
        self.attention = AdaptedAttention(model, self.state, self.shared, self.adapters)
        self.files = PretrainedFiles(model, self.adapters)
        self._held: dict[int, tuple[Layer, LayerAdapters]] = {}
        self._trained_before = {name: p.requires_grad for name, p in model.named_parameters()}
        head = model.get_output_embeddings()
        self._hooks = [head.register_forward_pre_hook(_contiguous)] if isinstance(head, nn.Module) else []
        self._own_generate: Any = None
        self._marked = False
        self._checked = False  # whether gradients were found to pass through the base
        self._said: set[str] = set()

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

    @classmethod
    @contextmanager
    def changing(cls, model: PreTrainedModel, what: str, create: bool = False) -> Iterator[Host]:
        """The model's host, whose adapters are put on or taken off meanwhile, by one thread at a time.

        Raises:
            TransfixError: if another thread is running the model, or the model has no adapters and `create` is off.
        """
        while True:
            host = cls.of(model, create)
            with host.state.changes:
                if getattr(model, "_transfix", None) is not host:
                    continue  # another thread took the last adapter off while this one waited
                if host.state.runs_elsewhere or (not host.adapters and _is_inside(model, host.attention.body)):
                    raise TransfixError(f"{what}: another thread is running the model; wait until it has ended.")
                yield host
                return

    def add(self, name: str, methods: tuple[Method, ...]) -> None:
        """An adapter is on the model. From the first one on the model saves its adapters in place of itself."""
        if not self.adapters:
            self._hooks.append(self.model.register_forward_pre_hook(self._before_forward))
            if hasattr(self.model, "generate"):
                self._own_generate = vars(self.model).get("generate")
                self.model.generate = self._generate  # type: ignore[assignment]
        self.adapters[name] = methods
        self._checked = False
        self.files.open()
        learns = any(method.part.learns and not method.part.trains_base for method in methods)
        if learns and getattr(self.model, "is_quantized", False) and not self._marked:
            # by this mark transformers' Trainer knows that a quantised model has something to train
            self.model._hf_peft_config_loaded = self._marked = True

    def place(self, name: str, layer: Layer, method: str, module: AdapterLayer) -> None:
        """Puts a module of an adapter on a layer, and our attention function on the model.

        Raises:
            UnsupportedModelError: if the model cannot take our attention function, or has one attention module in several
                layers.
        """
        self.attention.open()
        model: Any = self.model
        model.init_continuous_batching = self._refuse_pages
        if layer.index not in self._held:
            if hasattr(layer.attention, "transfix"):
                raise UnsupportedModelError(
                    f"layer {layer.index} of {type(self.model).__name__} has the same attention module as another one, so "
                    "that what they learn would be the same. LoRA works with shared layers."
                )
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
            self.model.__dict__.pop("init_continuous_batching", None)

    def remove(self, name: str) -> None:
        """Takes an adapter off, all of it even if a part fails; the one attached before it becomes the active one.

        Raises:
            TransfixError: if another thread is running the model, or another tool has changed the adapter.
        """
        self.require_own("detach()")
        with self.changing(self.model, "detach"), ExitStack() as rest:
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
            set_trained(parameter, self._trained_before.get(path, parameter.requires_grad))

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
        for hook in self._hooks:
            hook.remove()
        self.files.close()
        self.attention.leave()
        if getattr(vars(self.model).get("generate"), "__self__", None) is self:
            del self.model.generate
            if self._own_generate is not None:
                self.model.generate = self._own_generate
        self.state.default = (), None
        if self._marked:
            del self.model._hf_peft_config_loaded
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
        self.require_own("use()")
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

    def placed(self, module: nn.Module) -> bool:
        """Whether a module that is no part of the base is on the model by this object's doing."""
        if isinstance(module, LayerAdapters):
            return module.state is self.state
        return type(module).__module__.startswith("transfix.") or any(shared.placed(module) for shared in self.shared)

    def require_own(self, what: str) -> None:
        """Refuses `what` where another tool has changed what is attached.

        Raises:
            TransfixError: if one has, with what to do.
        """
        if changed := next(filter(None, (shared.changed() for shared in self.shared)), ""):
            raise TransfixError(f"{what}: {changed}")

    def tell_of_others(self, name: str) -> None:
        """Warns that an adapter of PEFT, put on the model after ours, is not part of what is saved."""
        if others := [
            other
            for other in getattr(self.model, "peft_config", {})
            if not any(shared.named(other) for shared in self.shared)
        ]:
            self._say(
                f"adapter {name!r}: PEFT's {', '.join(map(repr, others))} on the same model is not saved with it, and a base "
                "without it gives other answers: save that too, with PEFT's save_pretrained."
            )

    def _before_forward(self, *_: object) -> None:
        """Tells of what would make a training or an answer go wrong without a word.

        Raises:
            TransfixError: if another tool has switched an adapter off, or no gradient passes through the base.
        """
        if torch.compiler.is_compiling():
            return
        self.require_own("forward")
        if not (torch.is_grad_enabled() and self.model.training):
            return
        learning = [m for name in self.state.chosen[0] for m in self.adapters[name] if m.part.learns]
        if learning and not self._checked and (reason := guests.no_gradients(self.model)):
            raise TransfixError(f"training: {reason}.")
        self._checked = True
        for method in learning:
            module, attribute = next(iter(method.places.values()))  # a look at all of them would take a millisecond
            first = getattr(module, attribute)
            if not first.requires_grad and not any(tensor.requires_grad for tensor in method.tensors.values()):
                self._say(
                    f"{method.part.method} of the adapter {method.site.name!r} is frozen and will not learn: something, as "
                    "PEFT's get_peft_model does, has switched off requires_grad since it was attached. To train it too, "
                    "switch it on again: for p in adapter.parameters(): p.requires_grad_(True)."
                )
            elif first.dtype in (torch.bfloat16, torch.float16) and not method.part.trains_base:
                self._say(
                    f"{method.part.method} of the adapter {method.site.name!r} is in {first.dtype}, in which small steps are "
                    "lost, since the model was converted after it was attached. Put it back before making the optimizer: "
                    "for p in adapter.parameters(): p.data = p.data.float()."
                )

    def _say(self, what: str) -> None:
        """Warns, once."""
        if what not in self._said:
            self._said.add(what)
            warnings.warn(what, stacklevel=2)

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        """The model's `generate`, whose adapters stay on from the first token to the last."""
        kind: Any = type(self.model)
        own = self._own_generate or partial(kind.generate, self.model)
        with self.state.staying():
            return own(*args, **kwargs)

    def _refuse_pages(self, *_: object, **__: object) -> None:
        raise TransfixError(
            "generate_batch: continuous batching keeps keys and values in pages, which adapters in the attention do not "
            "read: use model.generate with the prompts padded on the left. LoRA by itself goes with generate_batch."
        )

    def free_name(self, name: str) -> str:
        """The first name like `name` that no adapter of this model has."""
        return next(other for number in count(2) if (other := f"{name}-{number}") not in self.adapters)

    @property
    def by_row(self) -> bool:
        """Whether adapters are chosen row by row."""
        return self.state.chosen[1] is not None

    def tokens_ahead(self, device: torch.device) -> int:
        """How many positions the active adapter stands in front of every row (a soft prompt).

        Raises:
            TransfixError: if adapters are chosen row by row: rows differ in it.
        """
        if self.by_row:
            raise TransfixError("generate: adapters are chosen row by row here; generate with one adapter at a time.")
        with self.state.within(None):
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


def _is_inside(*modules: nn.Module) -> bool:
    """Whether another thread is inside one of these modules: what it began before the first adapter is counted nowhere."""
    for thread, innermost in sys._current_frames().items():
        frame: FrameType | None = innermost if thread != threading.get_ident() else None
        while frame is not None:
            if any(frame.f_locals.get("self") is module for module in modules):
                return True
            frame = frame.f_back
    return False


def staying(model: PreTrainedModel) -> AbstractContextManager[None]:
    """What is on stays on for the time of the block, over several forwards; other threads put no adapter on or off."""
    host = getattr(model, "_transfix", None)
    return host.state.staying() if isinstance(host, Host) else nullcontext()


def require_base_weights(methods: Sequence[Method], what: str) -> None:
    """Refuses `what` where the base's own weights were trained.

    Raises:
        TransfixError: if they were.
    """
    if any(method.part.trains_base for method in methods):
        raise TransfixError(f"{what}: full fine-tuning has changed the base weights; load the base model again.")


def set_trained(parameter: nn.Parameter, flag: bool) -> None:
    """Whether a parameter requires gradients, which of inference tensors can be said in inference mode only."""
    with torch.inference_mode() if parameter.is_inference() else nullcontext():
        parameter.requires_grad_(flag)


def _contiguous(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a frozen head gets, in one piece.

    Of a slice of the positions (`logits_to_keep`, as in generate) torch 2.13 makes a batched product and copies the whole
    matrix once a row: seconds and gigabytes on a CPU, where the product takes milliseconds.
    """
    return tuple(arg.contiguous() if isinstance(arg, torch.Tensor) else arg for arg in args)
