"""Which rows are trained on and which are kept for development. Rows of one context are never torn apart."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from transfix.data import Example


def split(
    examples: Iterable[Example], field: str, rows: int | None, development: int, seed: int
) -> tuple[list[Example], list[Example]]:
    """Training and development rows, drawn with `seed`; no context (premise, paragraph) is in both.

    Args:
        examples: labelled rows.
        field: the name of the context's field.
        rows: how many training rows at the most; `None` is all that are left.
        development: how many development rows at the most. They are drawn first, so that a run with more training rows
            is measured on the same ones.
        seed: of the draw.
    """
    groups: dict[tuple[str, str], list[Example]] = {}
    for example in examples:
        if example.label is not None:
            groups.setdefault((example.language, example.fields[field]), []).append(example)
    order = list(groups.values())
    random.Random(seed).shuffle(order)
    kept: list[Example] = []
    while order and len(kept) < development:
        kept += order.pop(0)
    rest = [example for group in order for example in group]
    return rest[:rows], kept[:development]


def balance(examples: Sequence[Example], classes: Sequence[str]) -> dict[str, int]:
    """How many rows each class has."""
    return {name: sum(example.label == name for example in examples) for name in classes}
