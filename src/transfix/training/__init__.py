"""Training an adapter: the loop on transformers' Trainer, and the plan of one training from its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transfix._lazy import lazy

if TYPE_CHECKING:
    from transfix.training.objectives import Choices as Choices
    from transfix.training.objectives import Objective as Objective
    from transfix.training.objectives import Texts as Texts
    from transfix.training.rows import split as split
    from transfix.training.trainer import AdapterTrainer as AdapterTrainer
    from transfix.training.trainer import Settings as Settings

__getattr__, __dir__ = lazy(
    __name__,
    {
        "split": "transfix.training.rows",
        "AdapterTrainer": "transfix.training.trainer",
        "Choices": "transfix.training.objectives",
        "Objective": "transfix.training.objectives",
        "Texts": "transfix.training.objectives",
        "Settings": "transfix.training.trainer",
    },
)
