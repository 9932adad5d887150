"""Opens a file of rows, whatever its form: typed columns (parquet, Arrow), or text."""

from __future__ import annotations

from pathlib import Path

from transfix.data.columnar import is_columnar, open_columnar
from transfix.data.example import BadRows
from transfix.data.lines import peek
from transfix.data.sources import Format
from transfix.data.tables import Table, open_table


def open_rows(
    path: Path,
    format: Format,
    headerless: tuple[str, ...],
    known_columns: frozenset[str],
    bad: BadRows,
    quoting: bool | None = False,
    delimiter: str | None = None,
) -> Table:
    """Open a file of rows; the arguments are those of `tables.open_table`.

    Raises:
        DataError: if the file is empty, unreadable, or in no known layout.
    """
    if format in ("parquet", "arrow") or (format == "auto" and is_columnar(path, peek(path)[0])):
        bad.unit = "row"
        return open_columnar(path)
    return open_table(path, format, headerless, known_columns, bad, quoting, delimiter)
