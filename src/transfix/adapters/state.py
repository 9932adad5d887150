"""Which adapters are on, for which rows of the batch: what the attention function and the methods ask during a forward.

A choice belongs to whoever made it, not to the model: `use` sets it in the context of its caller (`contextvars`: a thread, a
task of asyncio), and where nothing was chosen the adapter that was attached last is on. When the body begins, the choice
becomes the state of that one forward, which its thread keeps until the body ends. So several threads can run one model at
once, each with adapters of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Int
from torch import Tensor

from transfix.adapters.architecture import KeysValues
from transfix.errors import TransfixError

Choice = tuple[tuple[str, ...], tuple[int, ...] | None]
"""The names of the adapters in use, and for each row its index into them; see `Forward`."""


@dataclass(slots=True)
class Forward:
    """What one forward runs with.

    Travels with it through the layers where activations will be recomputed: by then another forward may run in this thread,
    or it is another thread that recomputes.

    Attributes:
        active: the names of the adapters in use.
        rows: for each row of the batch its index into `active` (-1: the base model); `None` if all rows use the first.
        positions: of the tokens, (B, T), where they are known.
        recording: the adapter whose soft prompt is being run, if any.
        recorded: keys and values (G, P, h) of the soft prompts that were run, by adapter and layer.
    """

    active: tuple[str, ...]
    rows: tuple[int, ...] | None
    positions: Int[Tensor, "batch tokens"] | None = None
    recording: str | None = None
    recorded: dict[tuple[str, int], KeysValues] = field(default_factory=dict)


class _Running(threading.local):
    """The forward that runs in this thread."""

    forward: Forward | None = None


class AdapterState:
    """The state of a model's adapters, as whoever asks sees it.

    Attributes:
        default: what is on where nothing was chosen.
        changes: held while adapters are put on the model or taken off; nothing begins meanwhile in another thread.
    """

    def __init__(self) -> None:
        self.default: Choice = ((), None)
        self.changes = threading.RLock()
        self._threads: set[int] = set()
        self._staying: list[int] = []
        self._blocks: list[Choice] = []
        self._learned = False  # whether a forward with gradients had a choice of its own
        self._chosen: ContextVar[Choice | None] = ContextVar("adapters in use", default=None)
        self._running = _Running()

    def __reduce__(self) -> tuple[object, ...]:
        """A copy of a model has the same adapter on, and nothing of what runs."""
        return _with_default, (self.default,)

    @property
    def now(self) -> Forward:
        """The forward that runs here, or what one would begin with."""
        return self._running.forward or Forward(*self.chosen)

    @property
    def chosen(self) -> Choice:
        """What a forward would begin with here.

        Raises:
            TransfixError: in a backward pass that computes something again, if nothing says what it was computed with.
        """
        own = self._chosen.get()
        if own is None and self._learned and torch._C._current_graph_task_id() != -1:
            raise TransfixError(
                "the backward pass computes a part of the model again, by something else than the model's own activation "
                "checkpointing, and cannot know the adapters it had: call model.gradient_checkpointing_enable() instead of "
                "wrapping layers, or train the adapter that is on by default."
            )
        return own or self.default

    @property
    def chosen_elsewhere(self) -> bool:
        """Whether nothing was chosen here, and something in another thread or task."""
        return self._chosen.get() is None and bool(self._blocks)

    @property
    def active(self) -> tuple[str, ...]:
        """See `Forward`."""
        return self.now.active

    @property
    def rows(self) -> tuple[int, ...] | None:
        """See `Forward`."""
        return self.now.rows

    @contextmanager
    def using(self, active: tuple[str, ...], rows: tuple[int, ...] | None) -> Iterator[None]:
        """`active` and `rows` for the time of the block, in this context; also for the forward that runs here, if any."""
        chosen, running = self._chosen.get(), self._running.forward
        self._chosen.set(own := (active, rows))
        self._blocks.append(own)
        if running is not None:
            self._running.forward = replace(running, active=active, rows=rows)
        try:
            yield
        finally:
            self._blocks.remove(own)
            self._chosen.set(chosen)  # not by its token: a generator may be closed in another context
            if running is not None:
                self._running.forward = running

    @contextmanager
    def staying(self) -> Iterator[None]:
        """What is on here stays on for the time of the block, over several forwards; other threads take nothing off."""
        thread = threading.get_ident()
        with self.changes:
            self._staying.append(thread)
            choice = self.chosen
        try:
            with self.using(*choice):
                yield
        finally:
            self._staying.remove(thread)

    def begin(self) -> Forward:
        """The body begins in this thread: what was chosen is the state of its forward until `end`."""
        with self.changes:
            self._threads.add(threading.get_ident())
            self._learned |= torch.is_grad_enabled() and self._chosen.get() is not None
            forward = self._running.forward = Forward(*self.chosen)
        return forward

    def end(self) -> None:
        """The body has ended."""
        self._running.forward = None
        self._threads.discard(threading.get_ident())

    @property
    def runs_elsewhere(self) -> bool:
        """Whether a forward, or a block of several, runs in another thread."""
        alive = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}
        return not alive.isdisjoint([*self._threads, *self._staying])

    @contextmanager
    def within(self, forward: Forward | None) -> Iterator[None]:
        """The state of an earlier forward, of one within the one that runs, or of none, for the time of the block."""
        before = self._running.forward
        self._running.forward = forward
        try:
            yield
        finally:
            self._running.forward = before

    def record(self, layer: int, key: Tensor, value: Tensor) -> None:
        """Keeps a layer's rotated keys and values (1, G, P, h) while a prompt runs; not again when it is recomputed."""
        now = self.now
        if now.recording is not None:
            now.recorded.setdefault((now.recording, layer), (key[0], value[0]))

    def row_indices(self, batch: int) -> list[int] | None:
        """For each row of a batch its index into `active`; beams and several returned sequences repeat their row's.

        Raises:
            TransfixError: if the batch is no multiple of the rows that were named.
        """
        rows = self.now.rows
        if rows is None:
            return None
        if batch % len(rows):
            raise TransfixError(f"adapters were chosen for {len(rows)} rows, but the batch has {batch}.")
        return [number for number in rows for _ in range(batch // len(rows))]

    def row_index(self, batch: int, device: torch.device) -> Int[Tensor, " batch"] | None:
        """`row_indices` as a tensor."""
        index = self.row_indices(batch)
        return None if index is None else torch.tensor(index, device=device)

    def row_names(self, batch: int) -> list[str | None]:
        """For each row of a batch the name of its adapter; `None` for the base model.

        Raises:
            TransfixError: if the batch is no multiple of the rows that were named.
        """
        index, active = self.row_indices(batch), self.now.active
        if index is None:
            return [active[0] if active else None] * batch
        return [None if number < 0 else active[number] for number in index]


def _with_default(default: Choice) -> AdapterState:
    state = AdapterState()
    state.default = default
    return state
