"""Reads a file of rows whatever its form (tsv, csv, jsonl, parquet, gzip) and knows the number of every row."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar, cast

from transfix.data.example import BadRows, DataError
from transfix.data.sources import Format

T = TypeVar("T")

GZIP_MAGIC, PARQUET_MAGIC, UTF8_BOM = b"\x1f\x8b", b"PAR1", b"\xef\xbb\xbf"
UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
LAYOUTS = (
    "tab-separated {columns} without header, tsv or csv with a header, jsonl (one object a line), or parquet; "
    "text files may be gzipped"
)


@dataclass(frozen=True, slots=True)
class Record:
    """A row as the file has it: its line or row number, and its values by column name."""

    number: int
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one file or dataset, read while they are iterated over (once).

    Attributes:
        layout: what the form was found to be, in words.
        columns: the column names (for jsonl: the keys of the first row).
        records: the rows; rows that cannot be parsed are reported to the `BadRows` the table was opened with.
        class_names: what integer labels stand for, where the data says so itself.
        is_typed: the values come from a typed store (hub, parquet), where a label of -1 means "no gold label".
    """

    layout: str
    columns: tuple[str, ...]
    records: Iterator[Record]
    class_names: tuple[str, ...] | None = None
    is_typed: bool = False


def open_table(
    path: Path, format: Format, headerless: tuple[str, ...], known_columns: frozenset[str], bad: BadRows
) -> Table:
    """Open a file of rows.

    Args:
        path: the file.
        format: `auto` decides from the content.
        headerless: the columns of a tab-separated file without header.
        known_columns: names by which a first line is recognised as a header.
        bad: where rows that cannot be parsed are reported.

    Raises:
        DataError: if the file is empty, unreadable, or in no known layout.
    """
    magic, first = _peek(path)
    if format == "auto":
        format = _detect(path, magic, first, known_columns, headerless)
    if format == "parquet":
        bad.unit = "row"
        return _parquet(path)
    if not first.strip():
        raise DataError(f"{path}: the file {'is empty' if not first else 'starts with an empty line'}")
    if format == "jsonl":
        return _jsonl(path, headerless, bad)
    if format == "csv":
        return _csv(path, bad)
    return _tsv(path, first, headerless, known_columns, bad)


def text_lines(path: Path, bad: BadRows) -> Iterator[tuple[int, str]]:
    """The lines of a text file, numbered from 1, without their line ends (LF or CR LF and nothing else).

    Lines that are not UTF-8 are reported and left out; empty lines are reported unless nothing follows them.
    """
    return _without_blank(_decoded(path, bad), lambda line: not line.strip(), bad)


def json_object(text: str) -> dict[str, object] | str:
    """The JSON object in `text`, or what is wrong with it."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        return f"not valid JSON: {error.msg} at column {error.colno}"
    except (ValueError, RecursionError) as error:
        return f"not usable JSON: {error}"
    return value if isinstance(value, dict) else f"a JSON {type(value).__name__}, not an object"


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        zipped = file.read(2) == GZIP_MAGIC
    return cast(IO[bytes], gzip.open(path, "rb")) if zipped else path.open("rb")


def _peek(path: Path) -> tuple[bytes, str]:
    """The first four bytes and the first line (decoding errors are found when rows are read)."""
    try:
        with _open(path) as file:
            line = file.readline(1 << 24)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if line.startswith(UTF16_BOMS):
        raise DataError(f"{path}: is UTF-16 text; save it as UTF-8")
    return line[:4], line.removeprefix(UTF8_BOM).decode("utf-8", errors="replace").rstrip("\r\n")


def _detect(path: Path, magic: bytes, first: str, known_columns: frozenset[str], headerless: tuple[str, ...]) -> Format:
    if magic == PARQUET_MAGIC or path.suffix == ".parquet":
        return "parquet"
    if first.lstrip().startswith("{") and ("\t" not in first or isinstance(json_object(first), dict)):
        return "jsonl"
    if "\t" in first:
        return "tsv"
    if len(known_columns.intersection(next(csv.reader([first]), []))) > 0 or not first.strip():
        return "csv"
    layouts = LAYOUTS.format(columns=", ".join(headerless))
    hint = " (a JSON array: write one object a line)" if first.startswith("[") else ""
    raise DataError(f"{path}:1: in no known layout{hint}: {_shortened(first)!r}; expected {layouts}")


def _decoded(path: Path, bad: BadRows) -> Iterator[tuple[int, str]]:
    try:
        with _open(path) as file:
            for number, raw in enumerate(file, start=1):
                line = raw.removeprefix(UTF8_BOM) if number == 1 else raw
                try:
                    yield number, line.decode("utf-8").removesuffix("\n").removesuffix("\r")
                except UnicodeDecodeError as error:
                    bad.add(number, f"not UTF-8: byte 0x{line[error.start]:02x} at column {error.start + 1}")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read to its end: {error}") from error


def _without_blank(
    items: Iterable[tuple[int, T]], is_blank: Callable[[T], bool], bad: BadRows
) -> Iterator[tuple[int, T]]:
    blanks: list[int] = []
    for number, item in items:
        if is_blank(item):
            blanks.append(number)
            continue
        for blank in blanks:
            bad.add(blank, "empty line")
        blanks.clear()
        yield number, item


def _layout(form: str, columns: Iterable[str]) -> str:
    official = {"gold_label", "sentence1", "sentence2"} <= set(columns)
    return f"{form}, official XNLI/MNLI columns (gold_label, sentence1, sentence2)" if official else form


def _tsv(path: Path, first: str, headerless: tuple[str, ...], known_columns: frozenset[str], bad: BadRows) -> Table:
    # Without quoting: quotation marks in these files are part of the text.
    header = tuple(first.split("\t"))
    has_header = len(known_columns.intersection(header)) >= 2
    columns = header if has_header else headerless

    def records() -> Iterator[Record]:
        for number, line in text_lines(path, bad):
            if has_header and number == 1:
                continue
            cells = line.split("\t")
            if len(cells) == len(columns):
                yield Record(number, dict(zip(columns, cells, strict=True)))
            else:
                names = "" if has_header else f" ({', '.join(columns)})"
                bad.add(number, f"{len(cells)} tab-separated columns, expected {len(columns)}{names}")

    form = "tsv with header" if has_header else f"tsv without header ({', '.join(columns)})"
    return Table(_layout(form, columns), columns, records())


def _csv(path: Path, bad: BadRows) -> Table:
    starts: list[int] = []

    def lines() -> Iterator[str]:
        for number, line in _decoded(path, bad):
            starts.append(number)
            yield line + "\n"

    def rows() -> Iterator[tuple[int, list[str]]]:
        reader = csv.reader(lines(), strict=True)
        begin = 0  # lines read before this row: a quoted text may span lines
        try:
            for row in reader:
                yield starts[begin], row
                begin = len(starts)
        except csv.Error as error:
            bad.add(starts[min(begin, len(starts) - 1)], f"not valid csv from here: {error}")

    numbered = _without_blank(rows(), lambda row: not row, bad)
    columns = tuple(next(numbered, (1, []))[1])

    def records() -> Iterator[Record]:
        for number, cells in numbered:
            if len(cells) == len(columns):
                yield Record(number, dict(zip(columns, cells, strict=True)))
            else:
                bad.add(number, f"{len(cells)} comma-separated columns, expected {len(columns)} as in the header")

    return Table(_layout("csv with header", columns), columns, records())


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


def _parquet(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: not a readable parquet file (truncated?): {error}") from error
    schema = file.schema_arrow

    def records() -> Iterator[Record]:
        number = 0
        try:
            for batch in file.iter_batches(batch_size=4096):
                for values in batch.to_pylist():
                    yield Record(number, values)
                    number += 1
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path}: cannot be read beyond row {number}: {error}") from error

    names = _class_names(schema.metadata or {})
    return Table("parquet", tuple(schema.names), records(), class_names=names, is_typed=True)


def _class_names(metadata: Mapping[bytes, bytes]) -> tuple[str, ...] | None:
    """The class names that `datasets` records in a parquet file for its label column."""
    info = json_object(metadata.get(b"huggingface", b"{}").decode("utf-8", errors="replace"))
    feature: object = info
    for key in ("info", "features", "label"):
        feature = feature.get(key) if isinstance(feature, dict) else None
    names = feature.get("names") if isinstance(feature, dict) else None
    return tuple(map(str, names)) if isinstance(names, list) else None


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
