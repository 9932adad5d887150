"""Reads the rows a user wants answers for, whatever their form: the task's fields, and whatever else she keeps with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transfix.config import places
from transfix.data.columnar import is_columnar
from transfix.data.dialect import DELIMITERS, cells
from transfix.data.example import SHOWN, BadRows, DataError, OnBadRows
from transfix.data.lines import json_object, peek, text_lines
from transfix.data.opening import open_rows
from transfix.data.rows import is_empty
from transfix.data.tables import Record
from transfix.errors import Problem, shortened

JSONL = (".jsonl", ".ndjson", ".json")

Check = Callable[[Mapping[str, object]], Iterable[str]]
"""What else is wrong with a row."""


@dataclass(frozen=True, slots=True)
class OwnRows:
    """A user's rows.

    Attributes:
        rows: in their order, each with all its columns.
        places: where each stands: its line, or its row in a file of typed columns.
        names: each place in words, for messages.
        problems: of the rows that were skipped, all of them.
        skipped: how many.
    """

    rows: list[dict[str, object]]
    places: list[int | str]
    names: list[str]
    problems: tuple[Problem, ...] = ()
    skipped: int = 0


def read_unlabelled(path: str | Path, fields: Sequence[str] = ()) -> list[dict[str, object]]:
    """The rows of a file, in order and with all their columns.

    Args:
        path: jsonl, csv, tsv, parquet or Arrow; text may be gzipped.
        fields: columns that every row must have, with a text that is not empty.

    Raises:
        DataError: with all malformed rows by file and line, or if the file does not exist or has no rows.
    """
    return read_own_rows(path, fields).rows


def read_own_rows(
    path: str | Path,
    fields: Sequence[str] = (),
    optional: Sequence[str] = (),
    check: Check | None = None,
    on_bad_rows: OnBadRows = "error",
) -> OwnRows:
    """Like `read_unlabelled`, with the rows' places.

    Args:
        path: as there.
        fields: as there.
        optional: columns that hold a text or nothing.
        check: says what else is wrong with a row.
        on_bad_rows: `skip` leaves bad rows out and says which.

    Raises:
        DataError: as there; if rows are skipped, only if none is left or a file cannot be read to its end.
    """
    try:
        path = places.expanded(path)
        if places.kind(path) != "file":
            raise DataError(f"{path}: {places.missing(path)}")
    except places.UnusableFileError as error:
        raise DataError(str(error).rstrip(".")) from error
    skips = on_bad_rows == "skip"
    bad = BadRows(str(path), shown=None if skips else SHOWN)
    found: list[Record] = []
    for record in _records(path, fields, bad):
        problems = [*_problems(record.values, fields, optional)]
        if not problems and check is not None:
            problems = list(check(record.values))
        if problems:
            bad.add(record.where, "; ".join(problems))
        else:
            found.append(record)
    names = f" with {', '.join(fields)}" if fields else ""
    bad.raise_if_any(f"{'one JSON object a line' if _is_jsonl(path) else 'rows'}{names}", skips)
    if not found:
        what = f"none of its rows can be used; {bad.rows:,} are bad" if bad.rows else "has no rows"
        raise DataError(f"{path}: {what}", bad.problems)
    where = [record.where for record in found]
    rows = [dict(record.values) for record in found]
    return OwnRows(rows, where, [bad.named(place) for place in where], bad.problems, bad.rows)


def _is_jsonl(path: Path) -> bool:
    name = path.with_suffix("") if path.suffix == ".gz" else path
    return name.suffix.lower() in JSONL or peek(path)[1].lstrip().startswith(("{", "["))


def _records(path: Path, fields: Sequence[str], bad: BadRows) -> Iterator[Record]:
    magic, first = peek(path)
    if not is_columnar(path, magic) and (_is_jsonl(path) or not first.strip()):
        yield from _objects(path, bad)
        return
    # a header is needed, and all of its columns are the user's to name
    header = next((found for mark in ("\t", *DELIMITERS) if set(fields) & set(found := cells(first, mark))), [])
    table = open_rows(path, "auto", tuple(fields), frozenset((*fields, *header)), bad, None)
    if missing := [name for name in fields if name not in table.columns]:
        shown = ", ".join(map(shortened, table.columns[:40]))
        raise DataError(
            f"{path}: has no column {' and '.join(map(repr, missing))}, which the task asks; read as {table.layout} with "
            f"the columns {shown}"
        )
    yield from table.records


def _objects(path: Path, bad: BadRows) -> Iterator[Record]:
    for number, line in text_lines(path, bad):
        row = json_object(line)
        if isinstance(row, str):
            bad.add(number, row)
        else:
            yield Record(number, row)


def _problems(row: Mapping[str, object], fields: Sequence[str], optional: Sequence[str]) -> Iterator[str]:
    """What is wrong with the columns that are asked; all others are the user's own."""
    for name in fields:
        if name not in row:
            yield f"{name!r} is missing"
    for name in fields:
        value = row.get(name, "x")
        if not isinstance(value, str) or not value.strip():
            yield f"{name!r} is {shortened(repr(value))}, not a text"
        elif "\0" in value:
            yield f"{name!r} holds a NUL character, which is no text: the file is damaged, or not in UTF-8"
    for name in (*optional, "language"):
        value = row.get(name)
        if not is_empty(value) and not isinstance(value, str):
            yield f"{name!r} is {shortened(repr(value))}, not a text"
