"""Reads a text file of rows (tsv, csv, jsonl) and knows the number of every row."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from transfix.data.dialect import DELIMITERS, cells, csv_rows, hidden_returns, looks_quoted, shown_returns
from transfix.data.example import BadRows, DataError
from transfix.data.lines import check_expansion, decoded_lines, json_object, peek, readable, text_lines, without_blank
from transfix.data.sources import Format
from transfix.errors import shortened

SEPARATED = {"\t": "tab-separated", ",": "comma-separated", ";": "semicolon-separated", "|": "bar-separated"}
LAYOUTS = (
    "tab-separated {columns} without header, tsv or csv with a header, jsonl (one object a line), or parquet; "
    "text files may be gzipped"
)


@dataclass(frozen=True, slots=True)
class Record:
    """A row as the file has it.

    Attributes:
        where: its line or row number, or its path in a JSON document.
        values: by column name.
        problem: why it cannot be used, if it could not even be taken apart.
    """

    where: int | str
    values: Mapping[str, object]
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one file or dataset, read while they are iterated over (once).

    Attributes:
        layout: what the form was found to be, in words.
        columns: the column names (for jsonl: the keys of the first row).
        records: the rows; rows that cannot be parsed are reported to the `BadRows` the table was opened with.
        names: column -> what its numbers stand for, where the data says so itself.
        is_typed: the values come from a typed store (hub, parquet, arrow), where a label of -1 means "no gold label".
    """

    layout: str
    columns: tuple[str, ...]
    records: Iterator[Record]
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    is_typed: bool = False


def open_table(
    path: Path,
    format: Format,
    headerless: tuple[str, ...],
    known_columns: frozenset[str],
    bad: BadRows,
    quoting: bool | None = False,
    delimiter: str | None = None,
) -> Table:
    """Open a file of rows.

    Args:
        path: the file.
        format: `auto` decides from the content.
        headerless: the columns of a tab-separated file without header.
        known_columns: names by which a first line is recognised as a header.
        bad: where rows that cannot be parsed are reported.
        quoting: whether cells of tab-separated files may be quoted, as in csv; else quotation marks are part of the text.
            None: as the file shows it, see `dialect.looks_quoted`; a csv file then is quoted.
        delimiter: what separates cells; None: as the first line shows it.

    Raises:
        DataError: if the file is empty, unreadable, or in no known layout.
    """
    _, first = peek(path)
    if format == "auto":
        format = _detect(path, first, known_columns, headerless, delimiter)
    _check_line_ends(path, first)
    if not first.strip():
        raise DataError(f"{path}: the file {'is empty' if not first else 'starts with an empty line'}")
    if format == "jsonl":
        return _jsonl(path, tuple(sorted(known_columns)), bad)
    if format == "json":
        raise DataError(f"{path}: `format: json` is for benchmarks whose files are one JSON document")
    if format == "csv":
        return _csv(path, first, known_columns, bad, quoting, delimiter)
    mark = delimiter or "\t"
    has_header = len(known_columns.intersection(_names(first, mark, quoting))) >= 2
    is_quoted = looks_quoted(path, mark) if quoting is None else quoting
    if is_quoted:
        return _quoted(path, None if has_header else headerless, mark, bad)
    return _tsv(path, _names(first, mark, False) if has_header else headerless, has_header, bad, mark)


def _csv(
    path: Path, first: str, known: frozenset[str], bad: BadRows, quoting: bool | None, delimiter: str | None
) -> Table:
    """A file with a header whose cells are quoted, unless it is said that they are not."""
    found = next((mark for mark in DELIMITERS if known.intersection(cells(first, mark))), ",")
    mark = delimiter or found
    if quoting is False and delimiter is not None:
        return _tsv(path, _names(first, mark, False), True, bad, mark)
    return _quoted(path, None, mark, bad)


def _names(first: str, delimiter: str, quoting: bool | None) -> tuple[str, ...]:
    """The cells of the first line."""
    return tuple(first.split(delimiter) if quoting is False else cells(first, delimiter))


def _detect(
    path: Path,
    first: str,
    known_columns: frozenset[str],
    headerless: tuple[str, ...],
    delimiter: str | None,
) -> Format:
    _check_line_ends(path, first)
    if first.lower().startswith("sep=") and len(first.strip()) == len("sep=,"):
        raise DataError(
            f"{path}:1: {first.strip()!r} is a line for Excel: delete it (the delimiter is found without it)"
        )
    if first.lstrip().startswith("{") and ("\t" not in first or isinstance(json_object(first), dict)):
        return "jsonl"
    if delimiter is not None:
        return "tsv" if delimiter == "\t" else "csv"
    if "\t" in first:
        return "tsv"
    if not first.strip() or any(known_columns.intersection(cells(first, mark)) for mark in DELIMITERS):
        return "csv"
    layouts = LAYOUTS.format(columns=", ".join(headerless))
    hint = " (a JSON array: write one object a line)" if first.startswith("[") else ""
    named = "" if hint else ". If the first line names columns, say which is what: `columns: {FIELD: COLUMN}`"
    raise DataError(f"{path}:1: in no known layout{hint}: {shortened(first)!r}; expected {layouts}{named}")


def _check_line_ends(path: Path, first: str) -> None:
    """Raise `DataError` if all lines are one because they end with CR alone. A CR inside a text is left alone."""
    if "\r" not in first:
        return
    with readable(path, " to its end") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            if b"\n" in block:
                return
            check_expansion(path, file)
        raise DataError(f"{path}: its lines end with CR alone, as on old Macintoshs; save it with LF or CR LF")


def check_header(name: str, columns: Iterable[str]) -> None:
    """Raise `DataError` if columns share a name (empty names do not count: nothing is read by them)."""
    names = [column for column in columns if column.strip()]
    repeated = [column for column in dict.fromkeys(names) if names.count(column) > 1]
    if repeated:
        shown = ", ".join(repr(shortened(column)) for column in repeated)
        raise DataError(f"{name}: its header names more than one column {shown}; rename all but one of them")


def _layout(form: str, columns: Iterable[str]) -> str:
    official = {"gold_label", "sentence1", "sentence2"} <= set(columns)
    return f"{form}, official XNLI/MNLI columns (gold_label, sentence1, sentence2)" if official else form


def _tsv(path: Path, columns: tuple[str, ...], has_header: bool, bad: BadRows, delimiter: str = "\t") -> Table:
    # Without quoting: quotation marks in these files are part of the text.
    if has_header:
        check_header(str(path), columns)

    def records() -> Iterator[Record]:
        for number, line in text_lines(path, bad):
            if has_header and number == 1:
                continue
            found = line.split(delimiter)
            if len(found) == len(columns):
                yield Record(number, dict(zip(columns, found, strict=True)))
            else:
                names = "" if has_header else f" ({', '.join(columns)})"
                bad.add(number, f"{len(found)} {SEPARATED[delimiter]} columns, expected {len(columns)}{names}")

    name = "tsv" if delimiter == "\t" else f"{SEPARATED[delimiter]} text"
    form = f"{name} with header" if has_header else f"{name} without header ({', '.join(columns)})"
    return Table(_layout(form, columns), columns, records())


def _quoted(path: Path, headerless: tuple[str, ...] | None, delimiter: str, bad: BadRows) -> Table:
    """A csv file, or a tsv file whose cells are quoted as those of csv; `headerless` names columns that no header does."""
    separated = SEPARATED[delimiter]
    kind = {",": "csv", "\t": "tsv"}.get(delimiter, f"{separated} csv")
    name = f"{kind} with quoted cells" if delimiter == "\t" else kind
    starts: list[int] = []
    has_returns = False

    def lines() -> Iterator[str]:
        nonlocal has_returns
        for number, line in decoded_lines(path, bad):
            starts.append(number)
            has_returns = has_returns or "\r" in line
            yield hidden_returns(line) + "\n"

    def rows() -> Iterator[tuple[int, list[str]]]:
        reader = csv_rows(lines(), delimiter, strict=True)
        begin = 0  # lines read before this row: a quoted text may span lines
        try:
            for row in reader:
                yield starts[begin], shown_returns(row) if has_returns else row
                begin = len(starts)
        except csv.Error as error:
            where = starts[min(begin, len(starts) - 1)]
            bad.add(where, f"not valid {kind} from here: {error}", ends_reading=True)

    numbered = without_blank(rows(), lambda row: not row, bad)
    columns = tuple(next(numbered, (1, []))[1]) if headerless is None else headerless
    if headerless is None:
        check_header(bad.name, columns)

    def records() -> Iterator[Record]:
        for number, found in numbered:
            if len(found) == len(columns):
                yield Record(number, dict(zip(columns, found, strict=True)))
            else:
                expected = f"{len(columns)} as in the header" if headerless is None else f"{len(columns)}"
                bad.add(number, f"{len(found)} {separated} columns, expected {expected}")

    form = f"{name} with header" if headerless is None else f"{name} without header ({', '.join(columns)})"
    return Table(_layout(form, columns), columns, records())


def _jsonl(path: Path, usual_columns: tuple[str, ...], bad: BadRows) -> Table:
    # The keys of the first row that is an object; if there is none, `records` says what is wrong with every line.
    objects = (json_object(line) for _, line in text_lines(path, BadRows(str(path))))
    head = next((row for row in objects if isinstance(row, dict)), None)
    columns = usual_columns if head is None else tuple(head)

    def records() -> Iterator[Record]:
        for number, line in text_lines(path, bad):
            row = json_object(line)
            if isinstance(row, dict):
                yield Record(number, row)
            else:
                bad.add(number, row, "one JSON object a line")

    return Table(_layout("jsonl", columns), columns, records())
