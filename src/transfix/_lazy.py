"""Names that are imported when they are first used: what keeps `import transfix` free of torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping


def lazy(package: str, where: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose public names live in other modules (PEP 562).

    Args:
        package: its name, for the message.
        where: for each public name the module that has it.
    """

    def get(name: str) -> object:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}. It has {', '.join(sorted(where))}.")
        return getattr(importlib.import_module(where[name]), name)

    return get, lambda: sorted(where)
