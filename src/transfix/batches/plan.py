"""Which trees go together: rows of similar length, by a token budget, in an order fixed by the seed."""

from __future__ import annotations

import random
from collections.abc import Sequence

from transfix.batches.trees import Tree


def evaluation_batches(trees: Sequence[Tree], budget: int) -> list[list[Tree]]:
    """Batches of at most `budget` tokens, padding included, longest first (so that memory is known at once)."""
    return _packed(sorted(trees, key=lambda tree: (-tree.size, tree.sequences[0].index)), budget)


def training_steps(trees: Sequence[Tree], epochs: int, rows: int, budget: int, seed: int) -> list[list[list[Tree]]]:
    """Every optimiser step of a training, each a list of forwards: a pure function of its arguments.

    Trees are shuffled, then sorted by length within windows of 16 steps, so that a step's rows are of similar length; the
    steps of a window are shuffled again.

    Args:
        trees: the training rows.
        epochs: passes over them.
        rows: sequences in a step (a tree is not split, so a step may have a few more).
        budget: tokens in a forward, padding included; a step with more is done in several forwards.
        seed: of the order.
    """
    steps: list[list[list[Tree]]] = []
    for epoch in range(epochs):
        order = random.Random(f"{seed}/{epoch}")
        shuffled = list(trees)
        order.shuffle(shuffled)
        for window in _by_rows(shuffled, 16 * rows):
            batches = _by_rows(sorted(window, key=lambda tree: tree.size), rows)
            order.shuffle(batches)
            steps += [_packed(batch, budget) for batch in batches]
    return steps


def _by_rows(trees: Sequence[Tree], rows: int) -> list[list[Tree]]:
    """Cuts a list of trees where `rows` sequences are reached."""
    groups: list[list[Tree]] = []
    count = rows
    for tree in trees:
        if count >= rows:
            groups.append([])
            count = 0
        groups[-1].append(tree)
        count += len(tree.sequences)
    return groups


def _packed(trees: Sequence[Tree], budget: int) -> list[list[Tree]]:
    """Cuts a list of trees where the padded size would pass the budget, and between rows that may not be in one forward."""
    groups: list[list[Tree]] = []
    widest = 0
    for tree in sorted(trees, key=lambda tree: tree.company):
        widest = max(widest, tree.size)
        apart = bool(groups) and (tree.alone, tree.company) != (groups[-1][-1].alone, groups[-1][-1].company)
        if not groups or apart or widest * (len(groups[-1]) + 1) > budget:
            groups.append([])
            widest = tree.size
        groups[-1].append(tree)
    return groups
