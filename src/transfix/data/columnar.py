"""Opens files of typed columns, parquet and Arrow, with what they say of their numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transfix.config import limits
from transfix.data.example import DataError
from transfix.data.label_names import names_in
from transfix.data.tables import Record, Table, check_header

PARQUET_MAGIC, ARROW_MAGIC = b"PAR1", b"ARROW1"
ARROW_STREAM = b"\xff\xff\xff\xff"
"""With what the files begin that `datasets` keeps on disk (`save_to_disk`)."""

BATCH = 4096


def is_columnar(path: Path, magic: bytes) -> bool:
    """Whether a file is one of these, by its first four bytes or its name."""
    return magic in (PARQUET_MAGIC, ARROW_MAGIC[:4], ARROW_STREAM) or path.suffix in (".parquet", ".arrow", ".feather")


def open_columnar(path: Path) -> Table:
    """A parquet or Arrow file.

    Raises:
        DataError: if it is none, is cut off, or names a column twice.
    """
    import pyarrow as pa

    try:
        with path.open("rb") as file:
            is_parquet = file.read(4) == PARQUET_MAGIC or path.suffix == ".parquet"
        form = "parquet" if is_parquet else "arrow"
        schema, batches = _parquet(path) if is_parquet else _arrow(path)
        names = schema.names
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: a column's name is not UTF-8 ({error.reason}): the file is damaged") from error
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: not a readable {form} file (truncated?): {error}") from error
    check_header(str(path), names)

    def records() -> Iterator[Record]:
        number = 0
        try:
            for batch in batches:
                for values in batch.to_pylist():
                    yield Record(number, values)
                    number += 1
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: a text from row {number} on is not UTF-8 ({error.reason})") from error
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path}: cannot be read beyond row {number}: {error}") from error

    return Table(form, tuple(names), records(), names=names_in(schema.metadata), is_typed=True)


def read_columns(path: Path) -> Any:
    """The whole of such a file as an Arrow table."""
    import pyarrow as pa

    with path.open("rb") as file:
        is_parquet = file.read(4) == PARQUET_MAGIC or path.suffix == ".parquet"
    schema, batches = _parquet(path) if is_parquet else _arrow(path)
    return pa.Table.from_batches(batches, schema=schema)


def _parquet(path: Path) -> tuple[Any, Iterator[Any]]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    if (rows := file.metadata.num_rows) > limits.TYPED_ROWS:  # a repeated value takes no room
        raise DataError(f"{path}: says that it has {rows:,} rows; a file of rows has at most {limits.TYPED_ROWS:,}")
    return file.schema_arrow, file.iter_batches(batch_size=BATCH)


def _arrow(path: Path) -> tuple[Any, Iterator[Any]]:
    import pyarrow as pa

    source = pa.memory_map(str(path))
    if source.read(len(ARROW_MAGIC)) == ARROW_MAGIC:
        reader = pa.ipc.open_file(source)
        return reader.schema, (reader.get_batch(number) for number in range(reader.num_record_batches))
    source.seek(0)
    stream = pa.ipc.open_stream(source)
    return stream.schema, iter(stream)
