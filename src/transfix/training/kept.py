"""Frozen layers below the lowest adapted one see the same input in every epoch: what they give is computed once and kept.

    epoch 1        tokens ─▶ layers 0 … k-1 ─▶ kept ─▶ layers k …     ─▶ loss
    epoch 2, 3 …                               kept ─▶ layers k …     ─▶ loss

What is kept of a row is what its batch in the first epoch gave, also when a killed training goes on in a later one: the batch
is run again as it was. So the numbers do not depend on when a process died.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from transfix import batches
from transfix.adapters import Adapter, architecture
from transfix.batches import Batch, Tree
from transfix.storage import atomic

MEMORY = 4 * 2**30
"""Bytes that are kept in memory; what is larger is kept in a file."""

DISK = 64 * 2**30
"""Bytes that are kept in a file; what is larger is not kept."""

Key = tuple[int, ...]


class _Reached(Exception):  # noqa: N818 (no error: the way out)
    """The layers below have run: what is above is not needed."""


class KeptLayers:
    """The output of the frozen lower layers, for every tree of a training.

    Attributes:
        below: how many layers are skipped.
        model: the model.
    """

    def __init__(
        self, adapter: Adapter, below: int, homes: dict[Key, list[Tree]], pad: int, directory: Path | None
    ) -> None:
        self.model = adapter.model
        self.below = below
        self._pad = pad
        self._homes = homes
        self._stack: list[Any] = list(architecture.stack(self.model))
        self._tuples = False  # how this architecture's layers return their states: as they are, or in a tuple
        sizes = {key: next(tree.size for tree in home if _key(tree) == key) for key, home in homes.items()}
        starts = np.cumsum([0, *sizes.values()])
        self._places = {key: slice(int(a), int(b)) for key, a, b in zip(sizes, starts, starts[1:], strict=False)}
        self._have: set[Key] = set()
        width = architecture.embedding_table(self.model).shape[1]
        self._states = _room((int(starts[-1]), width), self.model.dtype, directory)

    @classmethod
    def of(
        cls, adapter: Adapter, steps: Sequence[list[list[Tree]]], epochs: int, pad: int, directory: Path
    ) -> KeptLayers | None:
        """What can be kept in a training; None where it brings nothing or would change a result.

        That is: with one epoch; if the lowest layer is adapted, or something outside the layers; if lower layers drop out
        at random; if the states would be larger than `DISK`.

        Args:
            adapter: what is trained.
            steps: all optimiser steps; the first `1 / epochs` of them are the first epoch.
            epochs: passes over the rows.
            pad: the padding token.
            directory: where a file may go.
        """
        below = lowest_trained(adapter)
        if epochs < 2 or not below or _drops_out(list(architecture.stack(adapter.model))[:below]):
            return None
        homes: dict[Key, list[Tree]] = {}
        for step in steps:
            for forward in step:
                for tree in forward:
                    homes.setdefault(_key(tree), forward)
        width = architecture.embedding_table(adapter.model).shape[1]
        tokens = sum(next(t.size for t in home if _key(t) == key) for key, home in homes.items())
        size = tokens * width * adapter.model.dtype.itemsize
        if size > DISK:
            return None
        return cls(adapter, below, homes, pad, directory if size > MEMORY else None)

    @contextmanager
    def skipping(self, trees: Sequence[Tree], batch: Batch) -> Iterator[None]:
        """For the time of the block the model's forward over these trees begins above the lower layers."""
        for tree in trees:
            if _key(tree) not in self._have:
                self._compute(self._homes[_key(tree)])
        states = self._gather(trees, batch).to(self.model.device)
        skipped = self._stack[: self.below]
        replaced = [layer.__dict__.get("forward") for layer in skipped]  # by accelerate, where weights are offloaded

        def passed(hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
            return (hidden,) if self._tuples else hidden

        def kept(hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
            return (states,) if self._tuples else states

        try:
            for layer in skipped[:-1]:
                layer.forward = passed
            skipped[-1].forward = kept
            yield
        finally:
            for layer, forward in zip(skipped, replaced, strict=True):
                layer.__dict__.pop("forward", None)
                if forward is not None:
                    layer.forward = forward

    def _compute(self, trees: Sequence[Tree]) -> None:
        """Runs the lower layers on one batch of the first epoch."""
        batch = batches.collate(trees, self._pad)
        found: list[Tensor] = []

        def caught(module: nn.Module, args: Any, output: Any) -> None:
            self._tuples = isinstance(output, tuple)
            found.append(output[0] if isinstance(output, tuple) else output)
            raise _Reached

        hook = self._stack[self.below - 1].register_forward_hook(caught)
        try:
            with torch.no_grad(), suppress(_Reached):
                inputs = batch.inputs(self.model.device, batches.mask_dtype(self.model))
                architecture.body(self.model)(**inputs, use_cache=False)
        finally:
            hook.remove()
        states = found[0].detach().cpu()
        for row, tree in enumerate(trees):
            self._states[self._places[_key(tree)]] = states[row, _columns(trees, tree, states.shape[1])]
            self._have.add(_key(tree))

    def _gather(self, trees: Sequence[Tree], batch: Batch) -> Float[Tensor, "batch tokens hidden"]:
        rows, width = batch.input_ids.shape
        states = torch.zeros(rows, width, self._states.shape[1], dtype=self._states.dtype)
        for row, tree in enumerate(trees):
            states[row, _columns(trees, tree, width)] = self._states[self._places[_key(tree)]]
        return states


def lowest_trained(adapter: Adapter) -> int:
    """The lowest layer in which something is learned; 0 also if something is learned outside the layers."""
    stack = architecture.stack(adapter.model)
    owners = {id(parameter): index for index, layer in enumerate(stack) for parameter in layer.parameters()}
    return min((owners.get(id(parameter), 0) for parameter in adapter.parameters()), default=0)


def _key(tree: Tree) -> Key:
    return tuple(sequence.index for sequence in tree.sequences)


def _columns(trees: Sequence[Tree], tree: Tree, width: int) -> slice:
    """Where `collate` puts a tree in its row: on the left, or on the right if no tree has branches."""
    if all(len(other.sequences) == 1 for other in trees):
        return slice(width - tree.size, width)
    return slice(0, tree.size)


def _drops_out(layers: Sequence[nn.Module]) -> bool:
    return any(
        (isinstance(module, nn.Dropout) and module.p > 0) or getattr(module, "attention_dropout", 0) > 0
        for layer in layers
        for module in layer.modules()
    )


def _room(shape: tuple[int, int], dtype: torch.dtype, directory: Path | None) -> Float[Tensor, "tokens hidden"]:
    """Room for states, in memory or in a file that is gone when the process is."""
    if directory is None:
        return torch.empty(shape, dtype=dtype)
    path = directory / ".kept-layers"
    size = math.prod(shape) * dtype.itemsize
    with atomic.reported(path):
        directory.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:  # all of it now: a disk that is full later would kill the process without a word
            os.posix_fallocate(file.fileno(), 0, size) if hasattr(os, "posix_fallocate") else file.truncate(size)
        room = np.memmap(path, dtype=np.uint8, mode="r+", shape=(size,))
        path.unlink()
    return torch.from_numpy(room).view(dtype).view(shape)
