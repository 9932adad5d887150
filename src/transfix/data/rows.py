"""Turns the rows of a table into examples of a benchmark: finds its columns, checks its texts, maps its labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from transfix.data.benchmarks import Benchmark
from transfix.data.example import BadRows, DataError, Example
from transfix.data.tables import Record, Table
from transfix.errors import Problem

LANGUAGE, IDENTIFIER = "language", "id"


@dataclass(frozen=True, slots=True)
class Reading:
    """What to make of a table.

    Attributes:
        benchmark, language, split: what is wanted (FLORES-style code, canonical split name).
        columns: the table's name for a field, `label`, `language` or `id`, where it is not a usual one.
        labels: the class for a label of the table, where it is not the class name.
        limit: the number of examples wanted; the rows after them are still checked (but not those of the hub).
    """

    benchmark: Benchmark
    language: str
    split: str
    columns: Mapping[str, str]
    labels: Mapping[str, str]
    limit: int | None = None

    def known_columns(self) -> frozenset[str]:
        """All column names that have a meaning here."""
        usual = (name for names in self.benchmark.columns.values() for name in names)
        return frozenset([*usual, *self.columns.values(), LANGUAGE])

    def check(self, name: str) -> None:
        """Raise `DataError` if `columns` or `labels` name what the benchmark does not have."""
        fields = [*self.benchmark.columns, LANGUAGE, IDENTIFIER]
        problems = [
            Problem(f"columns.{field}", f"{self.benchmark.name} has no field {field!r}", ", ".join(fields))
            for field in self.columns
            if field not in fields
        ] + [
            Problem(f"labels.{label}", f"{cls!r} is not a class", ", ".join(self.benchmark.classes))
            for label, cls in self.labels.items()
            if cls not in self.benchmark.classes
        ]
        if problems:
            raise DataError(f"{name}: its columns or labels are not described correctly", problems)


def examples(table: Table, reading: Reading, bad: BadRows) -> tuple[list[Example], int]:
    """The table's examples in the wanted language, and how many rows without a gold label were dropped.

    Raises:
        DataError: with all bad rows; or if a column is missing, or no row is left.
    """
    places = _places(table, reading, bad.name)
    to_class = _Labels(table, reading)
    codes = frozenset(reading.benchmark.codes(reading.language))
    other_languages: dict[str, int] = {}
    found: list[Example] = []
    index, dropped = -1, 0
    for record in table.records:
        if LANGUAGE in places:
            value = str(record.values.get(places[LANGUAGE]))
            if value not in codes:
                other_languages[value] = other_languages.get(value, 0) + 1
                continue
        index += 1  # counts rows of this language, dropped and bad ones too, so that parallel rows share an id
        is_wanted = reading.limit is None or len(found) < reading.limit
        if not is_wanted and table.is_typed:
            break
        problems = bad.count
        texts = {field: _text(record, places[field], field, bad) for field in reading.benchmark.fields}
        label = to_class(record, places["label"], bad)
        if bad.count > problems or not is_wanted:
            continue
        if label is None:
            dropped += 1
            continue
        identifier = f"{reading.split}-{index:05d}"
        if IDENTIFIER in places:
            identifier = str(record.values.get(places[IDENTIFIER]))
        found.append(Example(identifier, reading.language, texts, label))
    _check_unique(found, bad.name)
    fields = ", ".join(reading.benchmark.fields)
    bad.raise_if_any(f"{fields} (not empty) and label ({to_class.allowed}), read as {table.layout}")
    if not found:
        raise DataError(_nothing_found(bad.name, reading, dropped, other_languages))
    return found, dropped


def _places(table: Table, reading: Reading, name: str) -> dict[str, str]:
    """The table's column for every field, for the label, and for language and id if it has them."""
    places: dict[str, str] = {}
    problems: list[Problem] = []
    for field, usual in reading.benchmark.columns.items():
        names = (reading.columns[field],) if field in reading.columns else usual
        present = [column for column in names if column in table.columns]
        if present:
            places[field] = present[0]
        else:
            problems.append(Problem(f"column {field}", f"missing, looked for {' or '.join(map(repr, names))}"))
    for field in (LANGUAGE, IDENTIFIER):
        column = reading.columns.get(field)
        if column is not None and column not in table.columns:
            problems.append(Problem(f"column {field}", f"missing, looked for {column!r}"))
        elif column is not None:
            places[field] = column
    if LANGUAGE not in places and LANGUAGE in table.columns:
        places[LANGUAGE] = LANGUAGE
    if problems:
        title = (
            f"{name}: columns are missing. Read as {table.layout} with columns {', '.join(table.columns) or 'none'}. "
            "Name the file's own columns with `columns: {premise: NAME}`"
        )
        raise DataError(title, problems)
    return places


def _text(record: Record, column: str, field: str, bad: BadRows) -> str:
    """The text as it is: not stripped, not normalised."""
    value = record.values.get(column)
    if isinstance(value, str) and value.strip():
        return value
    if value is None and column not in record.values:
        bad.add(record.number, f"{column!r} is missing")
    elif value is None or isinstance(value, str):
        bad.add(record.number, f"empty {field}")
    else:
        bad.add(record.number, f"{field} is {value!r}, not a text")
    return ""


class _Labels:
    """Maps a table's labels to classes. A mapping given by the user replaces the usual spellings and integers."""

    def __init__(self, table: Table, reading: Reading) -> None:
        classes = reading.benchmark.classes
        aliases = {} if reading.labels else reading.benchmark.label_aliases
        by_name = {**{cls: cls for cls in classes}, **aliases, **reading.labels}
        by_number: dict[str, str] = {}
        if table.class_names is not None:
            by_number = {str(number): by_name[name] for number, name in enumerate(table.class_names) if name in by_name}
        elif not reading.labels:
            by_number = {str(number): cls for number, cls in enumerate(classes)}
        self._classes = {**by_number, **by_name}
        self._no_gold = {"-", "-1"} if table.is_typed else {"-"}
        self.allowed = ", ".join([*by_name, *by_number])

    def __call__(self, record: Record, column: str, bad: BadRows) -> str | None:
        """The class of a row; `None` if its annotators agreed on none."""
        value = record.values.get(column)
        is_label = isinstance(value, str | int) and not isinstance(value, bool)
        name = str(value)
        if is_label and name in self._classes:
            return self._classes[name]
        if is_label and name in self._no_gold:
            return None
        if value is None:
            bad.add(record.number, f"{column!r} is missing" if column not in record.values else "empty label")
        else:
            hint = " (a header? name its columns with `columns:`)" if record.number == 1 and bad.unit == "line" else ""
            bad.add(record.number, f"label {value!r} is not one of the classes{hint}")
        return None


def _check_unique(found: list[Example], name: str) -> None:
    seen: set[str] = set()
    for example in found:
        if example.id in seen:
            raise DataError(f"{name}: the id {example.id!r} stands on more than one row; ids must be unique")
        seen.add(example.id)


def _nothing_found(name: str, reading: Reading, dropped: int, other_languages: Mapping[str, int]) -> str:
    if other_languages:
        counts = ", ".join(f"{value} ({count:,})" for value, count in list(other_languages.items())[:40])
        return f"{name}: no rows in {reading.language}; the languages of its rows: {counts}"
    if dropped:
        return f"{name}: none of its {dropped:,} rows has a gold label"
    return f"{name}: has no rows"
