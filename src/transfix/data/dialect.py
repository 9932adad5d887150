"""How the cells of a delimited text file are separated and quoted, as far as the file itself shows it."""

from __future__ import annotations

import csv
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from transfix.config import limits
from transfix.data.example import BadRows
from transfix.data.lines import decoded_lines

DELIMITERS = (",", ";", "|")
"""What may separate the cells of a csv file, the first that makes the first line a header."""

_CSV_LIMIT = threading.Lock()


_RETURN = "\udc0d"
"""Stands for a CR while a csv reader reads, which takes it for the end of a line. No UTF-8 text holds it."""


def hidden_returns(line: str) -> str:
    """A line whose CRs are letters to a csv reader: pandas does not quote cells for them."""
    return line.replace("\r", _RETURN) if "\r" in line else line


def shown_returns(row: list[str]) -> list[str]:
    """The cells of a row that was read from such lines."""
    return [cell.replace(_RETURN, "\r") if _RETURN in cell else cell for cell in row]


def csv_rows(lines: Iterable[str], delimiter: str, strict: bool = False) -> Iterator[list[str]]:
    """`csv.reader` whose cells may be longer than its own limit: that is the process's, so it is raised for each row only."""
    reader = csv.reader(lines, delimiter=delimiter, strict=strict)
    while True:
        with _CSV_LIMIT:
            before = csv.field_size_limit(limits.LINE_BYTES)
            try:
                row = next(reader, None)
            finally:
                csv.field_size_limit(before)
        if row is None:
            return
        yield row


def cells(line: str, delimiter: str) -> list[str]:
    """The cells of a line as csv has them; as they stand where it is no csv."""
    try:
        return next(csv_rows([line], delimiter, strict=True), [])
    except csv.Error:
        return line.split(delimiter)


def looks_quoted(path: Path, delimiter: str) -> bool:
    """Whether quotation marks in a file belong to its form and not to its texts.

    They do if the file is, to the letter, what a program writes that quotes: those cells that could not be read otherwise
    (pandas' `to_csv`), or all that are no number. Else a cell may well be a text in quotation marks.
    """
    consumed: list[str] = []
    seen = False

    def lines() -> Iterator[str]:
        for _, line in decoded_lines(path, BadRows(str(path))):
            consumed.append(hidden_returns(line) + "\n")
            yield consumed[-1]

    ways = [_where_needed, _every_text]
    try:
        for row in csv_rows(lines(), delimiter, strict=True):
            text = "".join(consumed).removesuffix("\n")
            consumed.clear()
            seen = seen or '"' in text
            ways = [written for written in ways if not row or written(row, delimiter, text)]
            if not ways:
                return False
    except csv.Error:
        return False
    return seen


def _where_needed(row: Sequence[str], delimiter: str, text: str) -> bool:
    """Whether a row is written so that only those cells are quoted that must be."""
    special = (delimiter, '"', "\n")
    written: list[str] = []
    start = 0
    for cell in row:
        quoted = '"' + cell.replace('"', '""') + '"'
        needed = any(mark in cell for mark in special) or list(row) == [""]
        # programs differ about a CR
        is_quoted = needed or (_RETURN in cell and text.startswith(quoted, start))
        written.append(quoted if is_quoted else cell)
        start += len(written[-1]) + len(delimiter)
    return delimiter.join(written) == text


def _every_text(row: Sequence[str], delimiter: str, text: str) -> bool:
    """Whether a row is written so that every cell is quoted, but perhaps for numbers and empty ones."""
    written = []
    for cell in row:
        quoted = '"' + cell.replace('"', '""') + '"'
        bare = not text.startswith(quoted) and (not cell or _is_number(cell))
        written.append(cell if bare else quoted)
        text = text.removeprefix(written[-1]).removeprefix(delimiter)
    return not text


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
