"""Tables on disk: parquet files that hold a record of what they are and a checksum over all of their bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfix.config import limits
from transfix.storage import atomic, checksums

if TYPE_CHECKING:
    import pyarrow as pa

METADATA_KEY = b"transfix"
_CHECKSUM_KEY = b"transfix.checksum"


def write(path: Path, table: pa.Table, record: str) -> None:
    """Writes a table.

    Args:
        path: where; its directory must exist.
        table: its metadata are replaced.
        record: what it is, kept under `METADATA_KEY`.

    Raises:
        StorageError: the disk is full, or the place cannot be written to.
    """
    import pyarrow.parquet as pq

    marked = table.replace_schema_metadata({METADATA_KEY: record.encode(), _CHECKSUM_KEY: checksums.UNSEALED})

    def fill(temporary: Path) -> None:
        pq.write_table(marked, temporary, compression="zstd")
        checksums.seal(temporary)

    atomic.write_file(path, fill)


def opened(path: Path) -> Any:
    """A parquet file, open; one that `write` wrote is the same to the byte.

    Raises:
        OSError, ValueError, pyarrow.ArrowException: it cannot be read, or is not what was written.
    """
    import base64

    import pyarrow as pa
    import pyarrow.parquet as pq

    content = path.read_bytes()
    sealed = checksums.is_sealed(content)
    file = pq.ParquetFile(pa.BufferReader(content))
    # Arrow keeps the metadata a second time: a file whose checksum is gone is not taken for one that never had any
    if not sealed and _CHECKSUM_KEY in base64.b64decode((file.metadata.metadata or {}).get(b"ARROW:schema", b"")):
        raise checksums.ChecksumError("its checksum is damaged")
    if (rows := file.metadata.num_rows) > limits.PREDICTIONS:
        raise ValueError(f"it says that it has {rows:,} rows; no predictions are more than {limits.PREDICTIONS:,}")
    return file
