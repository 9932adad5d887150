"""A module's forward replaced in the thread that asks for it: others that run the model at the same time keep its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

_CHANGING = threading.Lock()


class _Replacements(threading.local):
    """What one thread has put in a module's place, the newest last."""

    def __init__(self) -> None:
        self.forwards: list[Callable[..., Any]] = []


class _PerThread:
    """Stands in a module as its `forward` while a thread has replaced it.

    Attributes:
        whole: the module's own forward, as it is called without this.
        placed: what stood in the module itself before, a library's hook for example.
        users: how many replacements there are, of all threads.
    """

    def __init__(self, module: nn.Module) -> None:
        self.whole: Callable[..., Any] = module.forward
        self.placed = vars(module).get("forward")
        self.users = 0
        self.here = _Replacements()

    @property
    def now(self) -> Callable[..., Any]:
        """What this thread calls."""
        return self.here.forwards[-1] if self.here.forwards else self.whole

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.now(*args, **kwargs)


@contextmanager
def instead_of_forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """While the block runs, a module's forward is `forward`, in this thread; what was there before comes back."""
    with _CHANGING:
        place: Any = module.forward
        if not isinstance(place, _PerThread):
            place = _PerThread(module)
            module.forward = place
        place.users += 1
    place.here.forwards.append(forward)
    try:
        yield
    finally:
        place.here.forwards.pop()
        with _CHANGING:
            place.users -= 1
            if not place.users:
                del module.forward
                if place.placed is not None:
                    module.forward = place.placed


def forward_of(module: nn.Module) -> Callable[..., Any]:
    """What a call of the module would run in this thread."""
    place: Any = module.forward
    return place.now if isinstance(place, _PerThread) else place
