"""Opens a file that is one JSON document (SQuAD, DREAM, MGSM's exemplars), whose rows have paths instead of lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from transfix.config import limits
from transfix.data.example import BadRowError, BadRows, DataError
from transfix.data.lines import UTF8_BOM, half_character, whole
from transfix.data.tables import Record, Table

Flatten = Callable[[object], Iterator[Record]]


def open_document(
    path: Path, flatten: Flatten, row_columns: frozenset[str], bad: BadRows, is_sure: bool
) -> Table | None:
    """The rows of a JSON document.

    Args:
        path: the file; gzip and a byte order mark are accepted.
        flatten: gives the rows of the benchmark's layout.
        row_columns: keys by which an object is recognised as a row: then the file is no document but jsonl of one line.
        bad: of the file; its rows get paths.
        is_sure: the user says it is a document; what is not one is an error.

    Returns:
        `None` if the file has one JSON value a line instead.

    Raises:
        DataError: if the file cannot be read, is not JSON, or not laid out as the benchmark is.
    """
    raw = whole(path, limits.DOCUMENT_BYTES)
    if raw is None:
        if not is_sure:  # one object a line may be as many as there are
            return None
        raise DataError(
            f"{path}: is a JSON document of more than {limits.DOCUMENT_BYTES:,} bytes; write one row a line (jsonl)"
        )
    try:
        document = json.loads(raw.removeprefix(UTF8_BOM).decode("utf-8"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: not UTF-8: byte 0x{raw[error.start]:02x}") from None
    except json.JSONDecodeError as error:
        if not is_sure and error.msg == "Extra data":
            return None
        raise DataError(f"{path}:{error.lineno}: not valid JSON: {error.msg} at column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not usable JSON: {error}") from None
    if not is_sure and isinstance(document, dict) and row_columns & document.keys():
        return None
    bad.unit = "row"
    try:
        records = list(flatten(document))
    except BadRowError as error:
        raise DataError(f"{path}: in no known layout: {error}; or write one row a line (jsonl)") from None
    if b"\\ud" in raw.lower():
        records = [
            record if record.problem else Record(record.where, record.values, half_character(dict(record.values)))
            for record in records
        ]
    columns = tuple(dict.fromkeys(name for record in records for name in record.values))
    return Table("json document", columns, iter(records))
