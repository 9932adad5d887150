"""What is in a file, as a short number: rows that changed under the same path are other rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from transfix.data.example import DataError


def files_digest(paths: Iterable[Path]) -> str:
    """16 hexadecimal digits of a SHA-256 over the bytes of files, in the order given. Paths do not count.

    Raises:
        DataError: a file cannot be read.
    """
    whole = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    return whole.hexdigest()[:16]
