"""Trees: every row is in exactly one, what rows share is a prefix of each, and sharing never costs tokens."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from transfix.batches import TokenSequence, Tree, grow

Family = Callable[..., list[TokenSequence]]


def some(seed: int) -> list[TokenSequence]:
    """Many rows over three tokens, so that beginnings, whole rows and rows inside others repeat by chance."""
    draw = random.Random(seed)
    texts = [tuple(draw.randrange(3) for _ in range(draw.randint(1, 14))) for _ in range(60)]
    return [TokenSequence(index, tokens) for index, tokens in enumerate([*texts, *texts[:5]])]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("largest", [8, 20, 1000])
def test_any_rows(seed: int, largest: int) -> None:
    rows = some(seed)
    trees = grow(rows, largest)
    assert sorted((s for tree in trees for s in tree.sequences), key=lambda s: s.index) == rows
    for tree in trees:
        assert len({s.tokens[: tree.shared] for s in tree.sequences}) == 1
        assert tree.size == tree.shared + sum(len(s.tokens[tree.shared :]) for s in tree.sequences)
        assert tree.size <= largest or len(tree.sequences) == 1
        assert tree.depth == max(len(s.tokens) for s in tree.sequences)
        assert tree.alone == (tree.size > largest)
        apart = sum(len(s.tokens) for s in tree.sequences)
        assert tree.size < apart if len(tree.sequences) > 1 else tree.size == apart
    shuffled = random.Random(seed).sample(rows, len(rows))
    assert grow(shuffled, largest) == trees, "the order of the rows matters"


def test_rows_of_one_premise(family: Family) -> None:
    rows = [*family(1, 20, [5, 6, 7]), *family(2, 20, [5, 6, 7], 3)]
    trees = grow(rows, 1000)
    assert sorted(sorted(s.index for s in tree.sequences) for tree in trees) == [[0, 1, 2], [3, 4, 5]]
    assert [tree.shared for tree in trees] == [20, 20]
    assert sum(tree.size for tree in trees) == 2 * (20 + 5 + 6 + 7)


def test_a_row_that_begins_another() -> None:
    (tree,) = grow([TokenSequence(0, (1, 2, 3, 4)), TokenSequence(1, (1, 2))], 100)
    assert tree == Tree((TokenSequence(1, (1, 2)), TokenSequence(0, (1, 2, 3, 4))), 2)
    assert tree.size == 4


def test_equal_rows() -> None:
    (tree,) = grow([TokenSequence(index, (1, 2, 3)) for index in (2, 0, 1)], 100)
    assert [s.index for s in tree.sequences] == [0, 1, 2]
    assert (tree.shared, tree.size) == (3, 3)


def test_a_short_beginning_is_not_worth_it(family: Family) -> None:
    assert [len(tree.sequences) for tree in grow(family(1, 4, [20, 20]), 1000)] == [1, 1]
    assert [len(tree.sequences) for tree in grow(family(1, 8, [20, 20]), 1000)] == [2]


def test_no_wider_than_wanted(family: Family) -> None:
    rows = family(1, 20, [3] * 7)
    assert [len(tree.sequences) for tree in grow(rows, 1000, widest=3)] == [3, 3, 1]
    assert [len(tree.sequences) for tree in grow(rows, 1000, widest=1)] == [1] * 7
    assert [len(tree.sequences) for tree in grow(rows, 26)] == [2, 2, 2, 1]


def test_nothing() -> None:
    assert grow([], 10) == []
