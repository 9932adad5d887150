"""What the corpus metrics count in every row, kept beside the predictions: counting takes longer than all else of a report.

The counts of `predictions/TASK/LANGUAGE.parquet` are in the hidden file `.LANGUAGE.counts`, a table of its own. It is used
as long as everything stays the same that was counted in, may be deleted at any time, and need not be writable.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from transfix.errors import TransfixError
from transfix.runs.store import tables
from transfix.statistics.metrics import Counted


def kept(predictions: Path, name: str, key: object, count: Callable[[], Counted]) -> Counted:
    """The counts of a metric, from the file or, where they are not in it, counted and kept.

    Args:
        predictions: the file they are of.
        name: of the metric.
        key: everything that decides what is counted, as JSON can hold it; the same for all metrics.
        count: counts.
    """
    file = predictions.with_name(f".{predictions.stem}.counts")
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()
    found = _read(file, digest)
    if name not in found:
        found[name] = count()
        if len(found[name].values):
            _write(file, digest, found)
    return found[name]


def _read(file: Path, digest: str) -> dict[str, Counted]:
    """By the metrics' names; empty where the file is not there, torn, or of something else."""
    import pyarrow as pa

    try:
        with tables.opened(file) as parquet:
            table = parquet.read()
        about = json.loads(table.schema.metadata[tables.METADATA_KEY])
        if about["digest"] != digest:
            return {}
        arrays = {name: table.column(name).combine_chunks().flatten().to_numpy() for name in table.column_names}
        return {
            name: Counted(array.reshape(table.num_rows, -1), str(about["signatures"][name]))
            for name, array in arrays.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException):
        return {}


def _write(file: Path, digest: str, found: Mapping[str, Counted]) -> None:
    import pyarrow as pa

    about = {"digest": digest, "signatures": {name: counted.signature for name, counted in found.items()}}
    columns = {
        name: pa.FixedSizeListArray.from_arrays(np.ravel(counted.values), counted.values.shape[1])
        for name, counted in found.items()
    }
    try:
        tables.write(file, pa.table(columns), json.dumps(about))
    except TransfixError:
        return  # a folder that cannot be written to is counted in again the next time
