"""One run from specification to record: what it is (`RunSpec`), where it is kept (`RunStore`), and how it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transfix._lazy import lazy

if TYPE_CHECKING:
    from transfix.experiments.spec import RunSpec as RunSpec
    from transfix.experiments.store import Run as Run
    from transfix.experiments.store import RunStore as RunStore

_WHERE = {
    "Run": "transfix.experiments.store",
    "RunSpec": "transfix.experiments.spec",
    "RunStore": "transfix.experiments.store",
}
__getattr__, __dir__ = lazy(__name__, _WHERE)
