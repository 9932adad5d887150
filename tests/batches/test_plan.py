"""Batches: within the token budget, every row once, in an order that the seed and nothing else decides."""

from __future__ import annotations

import random

import numpy as np
import pytest

from transfix.batches import TokenSequence, Tree, evaluation_batches, grow, training_steps

BUDGET, ROWS, EPOCHS = 120, 6, 3


@pytest.fixture(scope="module")
def trees() -> list[Tree]:
    """80 premises of one to three rows, of many lengths; two rows are longer than the budget."""
    draw = random.Random(0)
    rows: list[TokenSequence] = []
    for _ in range(80):
        premise = [draw.randrange(1000) for _ in range(draw.randint(4, 40))]
        for _ in range(draw.randint(1, 3)):
            rows.append(
                TokenSequence(len(rows), (*premise, *(draw.randrange(1000) for _ in range(draw.randint(1, 9)))))
            )
    rows += [TokenSequence(len(rows) + more, tuple(range(BUDGET + 1 + more))) for more in range(2)]
    return grow(rows, BUDGET)


def indices(groups: list[list[Tree]]) -> list[int]:
    return sorted(s.index for group in groups for tree in group for s in tree.sequences)


def assert_within_budget(groups: list[list[Tree]]) -> None:
    for group in groups:
        assert len(group) * max(tree.size for tree in group) <= BUDGET or len(group) == 1
        assert len({tree.alone for tree in group}) == 1, "rows that share beside rows that need the model's own mask"


def test_evaluation(trees: list[Tree]) -> None:
    groups = evaluation_batches(trees, BUDGET)
    assert indices(groups) == indices([trees])
    assert_within_budget(groups)
    sizes = [tree.size for group in groups for tree in group]
    assert sizes == sorted(sizes, reverse=True)
    assert evaluation_batches(random.Random(1).sample(trees, len(trees)), BUDGET) == groups
    padded = sum(len(group) * max(tree.size for tree in group) for group in groups)
    assert padded < 1.1 * sum(sizes), "rows of similar length go together"


def test_training(trees: list[Tree]) -> None:
    steps = training_steps(trees, EPOCHS, ROWS, BUDGET, seed=3)
    once = indices([trees])
    forwards = [forward for step in steps for forward in step]
    assert_within_budget(forwards)
    epochs: list[list[list[list[Tree]]]] = [[]]
    for step in steps:
        if len(indices([f for s in epochs[-1] for f in s])) == len(once):
            epochs.append([])
        epochs[-1].append(step)
    assert [indices([f for step in epoch for f in step]) for epoch in epochs] == [once] * EPOCHS
    sizes = [len(indices(step)) for step in steps]
    assert max(sizes) < ROWS + 3  # no tree has more than three rows
    assert sum(size < ROWS for size in sizes) <= EPOCHS * (len(once) // (16 * ROWS) + 1)


def test_the_order_is_the_seeds(trees: list[Tree]) -> None:
    random.seed(1)
    first = training_steps(trees, EPOCHS, ROWS, BUDGET, seed=3)
    random.seed(2)
    assert training_steps(trees, EPOCHS, ROWS, BUDGET, seed=3) == first
    assert training_steps(trees, EPOCHS, ROWS, BUDGET, seed=4) != first
    shorter = training_steps(trees, 1, ROWS, BUDGET, seed=3)
    assert first[: len(shorter)] == shorter, "an epoch depends on how many follow"
    assert first[len(shorter) : 2 * len(shorter)] != shorter, "every epoch has the same order"


def test_steps_follow_neither_the_file_nor_the_length_of_rows(trees: list[Tree]) -> None:
    """Neighbours in a file are alike, and so are rows of one length: a course through either would be learned."""
    place = {tree.sequences[0].index: number for number, tree in enumerate(trees)}
    steps = training_steps(trees, 1, ROWS, 10**6, seed=3)
    places = [np.mean([place[tree.sequences[0].index] for forward in step for tree in forward]) for step in steps]
    sizes = [max(tree.size for forward in step for tree in forward) for step in steps]
    for course in (places, sizes, sizes[:16]):  # lengths are sorted within 16 steps
        assert abs(np.corrcoef(np.arange(len(course)), course)[0, 1]) < 0.5


def test_the_budget_does_not_change_the_steps(trees: list[Tree]) -> None:
    wide = training_steps(trees, 2, ROWS, 10**6, seed=3)
    narrow = training_steps(trees, 2, ROWS, BUDGET, seed=3)
    assert [indices(step) for step in wide] == [indices(step) for step in narrow]
    assert max(len(step) for step in narrow) > max(len(step) for step in wide)


def test_nothing() -> None:
    assert training_steps([], 3, 4, 100, seed=0) == []
    assert evaluation_batches([], 100) == []
