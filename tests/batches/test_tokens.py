"""Rows of token ids in Arrow's layout: what they hold, what they equal, and how little they take."""

import random
import sys

import pytest

from transfix.batches import rows_of, sortable
from transfix.batches.tokens import ROWS, Tokens


def _rows(count: int) -> list[tuple[int, ...]]:
    draw = random.Random(1)
    return [
        tuple(draw.choice((0, 1, 255, 256, 65_536, 262_143)) for _ in range(draw.randrange(6))) for _ in range(count)
    ]


def test_rows_are_the_tuples_they_were_made_of() -> None:
    rows = _rows(2 * ROWS + 3)  # several parts, and empty rows among them
    found = rows_of(iter(rows))
    assert found == rows
    assert rows == found
    assert [hash(row) for row in found] == [hash(row) for row in rows]
    assert [(*row, 7) for row in found] == [(*row, 7) for row in rows]
    assert [row[1:] for row in found] == [row[1:] for row in rows]
    assert [row[-1] for row in found if row] == [row[-1] for row in rows if row]
    assert rows_of([]) == []
    assert found[0] != rows[1][:-1]
    assert found[0] != "text"
    assert type(found[0][0:1]) is tuple
    assert all(type(token) is int for row in found for token in row)


def test_bytes_are_ordered_as_the_rows_are() -> None:
    rows = _rows(500)
    assert sorted(rows, key=sortable) == sorted(rows)
    assert sorted(rows_of(rows), key=sortable) == sorted(rows)


def test_ids_are_in_one_array() -> None:
    """4 bytes a token and 150 a row, where a tuple of 400 takes 3,256 and 28 for each token's number."""
    rows = [tuple(range(1000, 1400))] * 50
    found = rows_of(rows)
    assert len({id(row._ids.base) for row in found}) == 1
    taken = [row._ids.nbytes + sys.getsizeof(row._ids) + sys.getsizeof(row) for row in found]
    assert max(taken) <= 4 * 400 + 200


def test_what_is_no_token_is_refused() -> None:
    with pytest.raises((TypeError, ValueError)):
        rows_of([("a",)])  # type: ignore[list-item]
    assert repr(Tokens(rows_of([(1, 2)])[0]._ids)) == "Tokens(1, 2)"
