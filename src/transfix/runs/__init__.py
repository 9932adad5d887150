"""One run from specification to record: what it is (`RunSpec`), where it is kept (`RunStore`), and how it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transfix._lazy import lazy

if TYPE_CHECKING:
    from transfix.runs.specification import RunSpec as RunSpec
    from transfix.runs.store import Run as Run
    from transfix.runs.store import RunStore as RunStore

_WHERE = {
    "Run": "transfix.runs.store",
    "RunSpec": "transfix.runs.specification",
    "RunStore": "transfix.runs.store",
}
__getattr__, __dir__ = lazy(__name__, _WHERE)
