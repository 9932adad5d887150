"""Rotary embeddings that depend on the longest row of a forward (LongRoPE, dynamic NTK), for one forward at a time.

transformers keeps what the last forward asked for on the module. Between two threads the one would turn its positions as the
other asked, so here a forward's question and its answer are one piece.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

_KINDS = {"dynamic", "longrope"}


class OneAtATime:
    """Stands in a rotary embedding as its `forward`.

    Attributes:
        module: the rotary embedding.
        forgets: whether each forward depends on its own rows only, where dynamic NTK would remember the longest row before.
    """

    def __init__(self, module: nn.Module, placed: Any = None, forgets: bool = False) -> None:
        self.module = module
        self.forgets = forgets
        self._placed = vars(module).get("forward") if placed is None else placed  # a library's hook
        self._turn = threading.RLock()

    def __reduce__(self) -> tuple[object, ...]:
        return OneAtATime, (self.module, self._placed, self.forgets)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The embedding's own forward, when its turn comes."""
        if torch.compiler.is_compiling():
            return self._turned(*args, **kwargs)
        with self._turn:
            return self._turned(*args, **kwargs)

    def remove(self) -> None:
        """Takes this off the module again."""
        del self.module.forward
        if self._placed is not None:
            self.module.forward = self._placed

    def _turned(self, *args: Any, **kwargs: Any) -> Any:
        if self.forgets:
            _forget(self.module)
        if self._placed is not None:
            return self._placed(*args, **kwargs)
        return type(self.module).forward(self.module, *args, **kwargs)


def one_at_a_time(model: nn.Module) -> Iterator[OneAtATime]:
    """Those of a model, put on where they are not yet."""
    for module in model.modules():
        if not _depends_on_rows(module):
            continue
        place: Any = vars(module).get("forward")
        if not isinstance(place, OneAtATime):
            place = OneAtATime(module)
            module.forward = place
        yield place


def _depends_on_rows(module: nn.Module) -> bool:
    kinds: Any = getattr(module, "rope_type", None)
    found = kinds.values() if isinstance(kinds, Mapping) else [kinds]
    return hasattr(module, "original_max_seq_len") and not _KINDS.isdisjoint(filter(None, found))


def _forget(module: Any) -> None:
    """Puts a rotary embedding back to where it began."""
    for name in [name for name in vars(module) if name.endswith("max_seq_len_cached")]:
        prefix = name.removesuffix("max_seq_len_cached")
        setattr(module, name, module.original_max_seq_len)
        if hasattr(module, f"{prefix}original_inv_freq"):
            setattr(module, f"{prefix}inv_freq", getattr(module, f"{prefix}original_inv_freq"))
