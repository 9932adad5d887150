"""Which adapters are on, for which rows of the batch: what the attention function and the methods ask during a forward."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from transfix.adapters.architecture import KeysValues
from transfix.errors import TransfixError


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one forward runs with.

    Travels with it through the layers where activations will be recomputed: by then other adapters may be in use, or
    another batch may have been seen.
    """

    active: tuple[str, ...]
    rows: tuple[int, ...] | None
    positions: Int[Tensor, "batch tokens"] | None
    recorded: dict[tuple[str, int], KeysValues]
    recording: str | None


class AdapterState:
    """The state of a model's adapters.

    Attributes:
        active: the names of the adapters in use.
        rows: for each row of the batch its index into `active` (-1: the base model); `None` if all rows use the first.
        positions: of the tokens of the forward that runs, (B, T), where they are known.
        recording: the adapter whose soft prompt is being run, if any.
        recorded: keys and values (G, P, h) of the soft prompts that were run, by adapter and layer.
    """

    def __init__(self) -> None:
        self.active: tuple[str, ...] = ()
        self.rows: tuple[int, ...] | None = None
        self.positions: Int[Tensor, "batch tokens"] | None = None
        self.recording: str | None = None
        self.recorded: dict[tuple[str, int], KeysValues] = {}

    @contextmanager
    def using(self, active: tuple[str, ...], rows: tuple[int, ...] | None) -> Iterator[None]:
        """`active` and `rows` for the time of the block."""
        before = self.active, self.rows
        self.active, self.rows = active, rows
        try:
            yield
        finally:
            self.active, self.rows = before

    def snapshot(self) -> Snapshot:
        """The state as it is now."""
        return Snapshot(self.active, self.rows, self.positions, self.recorded, self.recording)

    @contextmanager
    def as_in(self, past: Snapshot) -> Iterator[None]:
        """The state of an earlier forward, for the time of the block."""
        now = self.positions, self.recorded, self.recording
        self.positions, self.recorded, self.recording = past.positions, past.recorded, past.recording
        try:
            with self.using(past.active, past.rows):
                yield
        finally:
            self.positions, self.recorded, self.recording = now

    def record(self, layer: int, key: Tensor, value: Tensor) -> None:
        """Keeps a layer's rotated keys and values (1, G, P, h) while a prompt runs; not again when it is recomputed."""
        if self.recording is not None:
            self.recorded.setdefault((self.recording, layer), (key[0], value[0]))

    def row_indices(self, batch: int) -> list[int] | None:
        """For each row of a batch its index into `active`; beams and several returned sequences repeat their row's.

        Raises:
            TransfixError: if the batch is no multiple of the rows that were named.
        """
        if self.rows is None:
            return None
        if batch % len(self.rows):
            raise TransfixError(f"adapters were chosen for {len(self.rows)} rows, but the batch has {batch}.")
        return [number for number in self.rows for _ in range(batch // len(self.rows))]

    def row_index(self, batch: int, device: torch.device) -> Int[Tensor, " batch"] | None:
        """`row_indices` as a tensor."""
        index = self.row_indices(batch)
        return None if index is None else torch.tensor(index, device=device)

    def row_names(self, batch: int) -> list[str | None]:
        """For each row of a batch the name of its adapter; `None` for the base model.

        Raises:
            TransfixError: if the batch is no multiple of the rows that were named.
        """
        index = self.row_indices(batch)
        if index is None:
            return [self.active[0] if self.active else None] * batch
        return [None if number < 0 else self.active[number] for number in index]
