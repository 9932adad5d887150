"""The base model and the rows that a side gets, by the model's name."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from benchmarks.sides import rows as data_rows
from benchmarks.sides import shapes
from transfix import models


def given(
    model: str, dtype: str, rows: int, layers: int | None = None
) -> tuple[PreTrainedModel, Any, data_rows.Rows | shapes.Rows]:
    """The base model, its tokenizer (random weights have none), and rows: of MultiNLI, or random ones.

    Args:
        model: a packaged model, or a shape that gets random weights.
        dtype: of the weights.
        rows: how many.
        layers: of a shape, where fewer are wanted than it has.
    """
    if model in shapes.SHAPES:
        return shapes.model(model, dtype, layers), None, shapes.rows(rows)
    loaded = models.load(model, dtype=dtype, device="cpu")
    tokenizer: Any = loaded.tokenizer
    return loaded.model, tokenizer, data_rows.mnli(tokenizer, rows)
