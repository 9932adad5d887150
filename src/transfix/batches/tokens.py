"""Rows of token ids in Arrow's layout: one array of 32-bit integers and where each row begins in it.

A tuple of them takes 36 bytes a token, which for the 393,000 rows of MultiNLI is over half a gigabyte; here a token takes 4,
and a row 150 besides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise
from typing import overload

import numpy as np
from jaxtyping import Int32

ROWS = 1000
"""Rows that are Python objects at a time."""


class Tokens(Sequence[int]):
    """One row's token ids; equal to the tuple of them, and hashed as that is.

    Args:
        ids: a part of a larger array.
    """

    __slots__ = ("_ids",)

    def __init__(self, ids: Int32[np.ndarray, " tokens"]) -> None:
        self._ids = ids

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, place: int) -> int: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[int, ...]: ...

    def __getitem__(self, place: int | slice) -> int | tuple[int, ...]:
        return tuple(self._ids[place].tolist()) if isinstance(place, slice) else int(self._ids[place])

    def __iter__(self) -> Iterator[int]:
        return iter(self._ids.tolist())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tokens | tuple):
            return NotImplemented
        return len(self) == len(other) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Tokens{tuple(self)}"


def rows_of(rows: Iterable[Sequence[int]]) -> list[Tokens]:
    """Rows of token ids, kept as Arrow keeps lists. Takes them from the iterable `ROWS` at a time."""
    import pyarrow as pa

    found: list[Tokens] = []
    source = iter(rows)
    while part := list(islice(source, ROWS)):
        kept = pa.array(part, pa.list_(pa.int32()))
        ids, bounds = kept.values.to_numpy(), kept.offsets.to_numpy().tolist()
        found += [Tokens(ids[start:end]) for start, end in pairwise(bounds)]
    return found


def sortable(tokens: Sequence[int]) -> bytes:
    """Bytes that are ordered as the token ids are (none of which is negative), and take 4 bytes a token."""
    return np.asarray(tokens._ids if isinstance(tokens, Tokens) else tokens, dtype=">u4").tobytes()
