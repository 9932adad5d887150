"""Layers of others that ask which adapter is on: each becomes a subclass of its own kind, which is called like it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from transfix.adapters.state import AdapterState


class Choosing:
    """What such a subclass has beside its kind, which it names first: else Python lets no layer become one.

    Attributes:
        transfix_state: which adapters are on.
        transfix_made: the function that makes the subclass of a kind, and the kind: so it is found again in another process.
    """

    __slots__ = ()
    transfix_state: AdapterState
    transfix_made: ClassVar[tuple[Callable[[Any], Any], Any]]

    def __reduce_ex__(self, protocol: Any) -> tuple[object, ...]:
        return _empty, self.transfix_made, self.__getstate__()


def called_like(chosen: Any, make: Callable[[Any], Any], kind: Any) -> Any:
    """The subclass that `make` makes of `kind`, under the kind's name."""
    chosen.__name__, chosen.__qualname__, chosen.__module__ = kind.__name__, kind.__qualname__, kind.__module__
    chosen.transfix_made = (make, kind)
    return chosen


def _empty(make: Callable[[Any], Any], kind: Any) -> Any:
    chosen = make(kind)
    return chosen.__new__(chosen)
