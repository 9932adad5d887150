"""Predictions on disk: a parquet file of one task and language, a row an example, that says itself what was asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfix.runs.store import tables
from transfix.runs.store.files import UnreadableError
from transfix.storage import atomic

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("id", "language", "prompt_hash", "answer", "gold", "score", "truncated", "option_scores")
"""What every file has; metrics beside the main one come after them."""


def write(path: Path, frame: pd.DataFrame, meta: Mapping[str, Any]) -> None:
    """Writes predictions; see `Run.write_predictions`.

    Raises:
        ValueError: a column is missing, ids repeat, or a number in `meta` is not finite.
    """
    import pyarrow as pa

    where = f"predictions of {path.parent.name} in {path.stem}"
    if absent := [name for name in COLUMNS if name not in frame.columns]:
        raise ValueError(f"{where} lack {', '.join(absent)}")
    if frame["id"].duplicated().any():
        raise ValueError(f"{where} have an id twice")
    texts = ("id", "language", "prompt_hash", "answer", "gold")
    types: dict[str, Any] = {name: pa.string() for name in texts}
    types |= {"score": pa.float64(), "truncated": pa.bool_(), "option_scores": pa.list_(pa.float64())}
    extra = [name for name in frame.columns if name not in COLUMNS]
    arrays = [pa.array(frame[name], type=types.get(name), from_pandas=True) for name in (*COLUMNS, *extra)]
    table = pa.Table.from_arrays(arrays, names=[*COLUMNS, *extra])
    record = json.dumps(meta, ensure_ascii=False, allow_nan=False)
    atomic.make_directory(path.parent)
    tables.write(path, table, record)


def read(path: Path, needed: Sequence[str], wanted: Callable[[str], bool] | None = None) -> Any:
    """A file of predictions as an Arrow table.

    Args:
        path: the file, which must be there.
        needed: columns that it must have.
        wanted: which columns are read, by their name; None reads all.

    Raises:
        UnreadableError: it is torn or no parquet file, is not what was written, or lacks a column.
    """
    import pyarrow as pa

    try:
        with tables.opened(path) as file:
            names = file.schema_arrow.names
            if absent := [name for name in needed if name not in names]:
                raise UnreadableError(path, f"it has no column {', '.join(absent)}")
            return file.read(columns=None if wanted is None else [name for name in names if wanted(name)])
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UnreadableError(path, error) from error


def meta(path: Path, table: Any) -> dict[str, Any] | None:
    """What was asked and how, as `write` was told; None in a file of another program.

    Args:
        path: the file that the table was read from.
        table: of `read`.

    Raises:
        UnreadableError: it is not what `write` writes.
    """
    record = (table.schema.metadata or {}).get(tables.METADATA_KEY)
    try:
        content = json.loads(record) if record is not None else None
    except ValueError as error:
        raise UnreadableError(path, error) from error
    return content if isinstance(content, dict) else None
