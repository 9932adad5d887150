"""Turns the rows of a table into examples of a benchmark: finds its columns, checks its texts, reads its reference answer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from transfix.data.benchmarks import IDENTIFIER, LABEL, LANGUAGE, Benchmark, Values
from transfix.data.example import BadRowError, BadRows, DataError, Example, Rows
from transfix.data.label_names import named
from transfix.data.references import ReferenceReader, reference_reader
from transfix.data.tables import Record, Table
from transfix.errors import Problem, shortened
from transfix.languages.spellings import doubt, means


@dataclass(frozen=True, slots=True)
class Reading:
    """What to make of a table.

    Attributes:
        benchmark, language, split: what is wanted (FLORES-style code, canonical split name).
        columns: the table's name for a field, `label`, `language` or `id`, where it is not a usual one.
        labels: the class for a label of the table, where it is not the class name.
        limit: the number of examples wanted; the rows after them are still checked (but not those of the hub).
        skips_bad_rows: bad rows are left out and counted, instead of none being read.
    """

    benchmark: Benchmark
    language: str
    split: str
    columns: Mapping[str, str]
    labels: Mapping[str, str]
    limit: int | None = None
    skips_bad_rows: bool = False

    def known_columns(self) -> frozenset[str]:
        """All column names that have a meaning here."""
        usual = (name for names in self.benchmark.columns.values() for name in names)
        return frozenset([*usual, *self.columns.values(), LANGUAGE])

    def check(self, name: str) -> None:
        """Raise `DataError` if `columns` or `labels` name what the benchmark does not have."""
        fields = list(dict.fromkeys([*self.benchmark.columns, LANGUAGE, IDENTIFIER]))
        problems = [
            Problem(f"columns.{field}", f"{self.benchmark.name} has no field {field!r}", ", ".join(fields))
            for field in self.columns
            if field not in fields
        ] + [
            Problem(f"labels.{label}", f"{cls!r} is not a class", ", ".join(self.benchmark.classes) or "no labels here")
            for label, cls in self.labels.items()
            if cls not in self.benchmark.classes
        ]
        if problems:
            raise DataError(f"{name}: its columns or labels are not described correctly", problems)


class Spoken:
    """Which rows of a table are in the wanted language, by what each says.

    Attributes:
        others: what the other rows say -> how many.
    """

    def __init__(self, benchmark: Benchmark, language: str) -> None:
        self._codes = frozenset(benchmark.codes(language))
        self._language, self._written = language, benchmark.written.get(language)
        self._wanted: dict[str, bool] = {}
        self.others: dict[str, int] = {}

    def is_wanted(self, said: str) -> bool:
        """Whether a row that says this is in the wanted language."""
        if said not in self._wanted:
            self._wanted[said] = means(said, self._language, self._written) or said in self._codes
        if not self._wanted[said]:
            self.others[said] = self.others.get(said, 0) + 1
        return self._wanted[said]

    def check(self, name: str) -> None:
        """Raise `DataError` if it is not clear which rows are meant."""
        matched = [said for said, wanted in self._wanted.items() if wanted]
        if what := doubt(self._language, matched, self.others, self._written):
            raise DataError(f"{name}: its rows' languages: {what}: write one code for the rows that are wanted")


class Places:
    """Where a table has what the benchmark reads: its column for every field, the label, and more if it is there.

    Raises:
        DataError: if a column is missing that every row needs.
    """

    def __init__(self, table: Table, reading: Reading, name: str) -> None:
        benchmark = reading.benchmark
        self._language_of = benchmark.language_of
        columns = {**benchmark.columns, **{field: (column,) for field, column in reading.columns.items()}}
        self._names = {LANGUAGE: (LANGUAGE,), **columns}
        packed = {
            field
            for column, fields in benchmark.packed.items()
            if any(alias in table.columns for alias in columns.get(column, ()))
            for field in fields
        }
        usual = columns.get(IDENTIFIER, ())
        self.have_ids = IDENTIFIER in packed or any(column in table.columns for column in usual)
        needed = [field for field in (*benchmark.fields, LABEL) if field not in packed]
        required = dict.fromkeys([*needed, *reading.columns])
        self._columns: dict[str, str] = {}
        problems: list[Problem] = []
        for field in required:
            present = [column for column in columns[field] if column in table.columns]
            if present:
                self._columns[field] = present[0]
            else:
                looked_for = " or ".join(map(repr, columns[field]))
                problems.append(Problem(f"column {field}", f"missing, looked for {looked_for}"))
        if problems:
            title = (
                f"{name}: columns are missing. Read as {table.layout} with columns "
                f"{', '.join(map(shortened, table.columns)) or 'none'}. "
                f"Name the file's own columns with `columns: {{{benchmark.fields[0]}: NAME}}`"
            )
            raise DataError(title, problems)
        self._others = [field for field in self._names if field not in self._columns]
        self._taken = frozenset(self._columns.values())
        self._names_of_numbers = self._numbers(table)
        by_class = benchmark.reference == "class"
        self.class_names = self._names_of_numbers.pop(LABEL, None) if by_class else None
        """What the numbers in the label's column stand for."""
        has_language = any(column in table.columns for column in self._names[LANGUAGE])
        self.say_language = has_language or self._language_of is not None

    def _numbers(self, table: Table) -> dict[str, tuple[str, ...]]:
        """Field -> what the numbers in its column stand for."""
        found: dict[str, tuple[str, ...]] = {}
        for field in self._names if table.names else ():
            others = (column for column in self._names[field] if column in table.columns and column not in self._taken)
            column = self._columns.get(field) or next(others, None)
            if column is not None and column in table.names:
                found[field] = table.names[column]
        if LABEL not in found and LABEL not in table.columns and LABEL in table.names:
            found[LABEL] = table.names[LABEL]  # the column was renamed, and not in the metadata
        return found

    def values(self, record: Record) -> Values:
        """A row by the benchmark's own names. A column that is one field's is not read as another's too."""
        values = {field: record.values[column] for field, column in self._columns.items() if column in record.values}
        for field in self._others:
            for column in self._names[field]:
                if column in record.values and column not in self._taken:
                    values[field] = record.values[column]
                    break
        for field, names in self._names_of_numbers.items():
            if field in values:
                values[field] = named(values[field], names)
        return values

    def language(self, values: Values) -> str | None:
        """The language a row says it is in; empty if there is nothing where it should stand."""
        if LANGUAGE in values:
            return "" if is_empty(values[LANGUAGE]) else str(values[LANGUAGE])
        return self._language_of(values) if self._language_of is not None else None

    def column(self, field: str) -> str:
        """The table's name of a field, for messages."""
        return self._columns.get(field, field)


def read_table(table: Table, reading: Reading, bad: BadRows) -> Rows:
    """The table's examples in the wanted language.

    Raises:
        DataError: with all bad rows, unless they are skipped; or if a column is missing, or no row is left.
    """
    places = Places(table, reading, bad.name)
    labels = {} if reading.benchmark.prepare else reading.labels  # else they are applied before `prepare`
    reference_of = reference_reader(reading.benchmark, labels, places.class_names, table.is_typed)
    spoken = Spoken(reading.benchmark, reading.language)
    found: list[Example] = []
    first_with: dict[str, int | str] = {}
    index, dropped = -1, 0
    for record in _numbered(table.records, bad, counts_lost=not places.say_language):
        if isinstance(record, int):
            index += record
            continue
        values = places.values(record)
        language = places.language(values)
        if language == "":
            bad.add(record.where, "empty language")
            continue
        if language is not None and not spoken.is_wanted(language):
            continue
        index += 1  # counts rows of this language, dropped and bad ones too, so that parallel rows share an id
        is_wanted = reading.limit is None or len(found) < reading.limit
        if not is_wanted and table.is_typed:
            break
        example, problems = _example(record, values, index, places, reference_of, reading)
        if example is not None and example.id in first_with:
            problems = [
                f"the id {example.id!r} stands on more than one row (first: {bad.place(first_with[example.id])})"
            ]
        for what in problems:
            bad.add(record.where, what + _header_hint(record, bad, what))
        if problems:
            continue
        if example is None:
            dropped += is_wanted
            continue
        first_with[example.id] = record.where
        if is_wanted:
            found.append(example)
    fields = ", ".join(reading.benchmark.fields)
    expected = f"{fields} (not empty) and label ({reference_of.allowed}), read as {table.layout}"
    bad.raise_if_any(expected, reading.skips_bad_rows)
    spoken.check(bad.name)
    if not found:
        has_language = index >= 0 or not spoken.others
        raise DataError(_nothing_found(bad, reading, dropped, {} if has_language else spoken.others), bad.problems)
    return Rows(found, bad.name, table.layout, dropped, bad.rows, bad.problems)


def _numbered(records: Iterator[Record], bad: BadRows, counts_lost: bool) -> Iterator[Record | int]:
    """The records, and between them how many rows could not even be taken apart (if they are of the wanted language)."""
    known = bad.rows
    for record in records:
        if counts_lost and bad.rows > known:
            yield bad.rows - known
        yield record
        known = bad.rows


def _example(
    record: Record,
    values: Values,
    index: int,
    places: Places,
    reference_of: ReferenceReader,
    reading: Reading,
) -> tuple[Example | None, list[str]]:
    """A row as an example, or everything that is wrong with it; neither if its annotators agreed on no label."""
    benchmark = reading.benchmark
    problems = [] if record.problem is None else [record.problem]
    if not problems and benchmark.prepare is not None:
        label = str(values.get(LABEL))
        try:
            values = benchmark.prepare({**values, LABEL: reading.labels[label]} if label in reading.labels else values)
        except BadRowError as error:
            problems.append(str(error))
    if problems:
        return None, problems
    texts: dict[str, str] = {}
    for field in (*benchmark.fields, *benchmark.optional):
        try:
            text = _text(values, field, places, benchmark)
        except BadRowError as error:
            problems.append(str(error))
        else:
            texts.update({} if text is None else {field: text})
    answer = None
    try:
        answer = reference_of(_present(values, LABEL, places), texts)
    except BadRowError as error:
        problems.append(str(error))
    identifier = f"{reading.split}-{index:05d}"
    if IDENTIFIER in values or places.have_ids:
        try:
            identifier = _identifier(_present(values, IDENTIFIER, places))
        except BadRowError as error:
            problems.append(str(error))
    if problems or answer is None:
        return None, problems
    return Example(identifier, reading.language, texts, *answer), problems


def _text(values: Values, field: str, places: Places, benchmark: Benchmark) -> str | None:
    """The text as it is: not stripped, not normalised; `None` if an optional one is absent."""
    is_absent = is_empty(values.get(field)) or str(values[field]).isspace()
    if is_absent and field in benchmark.optional:
        return None
    value = _present(values, field, places)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and benchmark.reference == "number":
        return str(value)
    if not isinstance(value, str):
        raise BadRowError(f"{field} is {shortened(repr(value))}, not a text")
    if is_absent:
        raise BadRowError(f"empty {field}")
    if "\0" in value:
        raise BadRowError(f"{field} holds a NUL character, which is no text: the file is damaged, or not in UTF-8")
    return value


def _present(values: Values, field: str, places: Places) -> object:
    """The value of a field that must be there."""
    if field not in values:
        raise BadRowError(f"{places.column(field)!r} is missing")
    if is_empty(values[field]):
        raise BadRowError(f"empty {field}")
    return values[field]


def is_empty(value: object) -> bool:
    """Whether a cell holds nothing: no value, an empty text, or the NaN that pandas writes for it."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _identifier(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadRowError(f"id is {shortened(repr(value))}, not a text or a whole number")
    return str(value)


def _header_hint(record: Record, bad: BadRows, what: str) -> str:
    is_likely = record.where == 1 and bad.unit == "line" and what.startswith("label ")
    return " (a header? name its columns with `columns:`)" if is_likely else ""


def _nothing_found(bad: BadRows, reading: Reading, dropped: int, other_languages: Mapping[str, int]) -> str:
    if other_languages:
        counts = ", ".join(f"{value} ({count:,})" for value, count in list(other_languages.items())[:40])
        return f"{bad.name}: no rows in {reading.language}; the languages of its rows: {counts}"
    if bad.rows:
        return f"{bad.name}: none of its rows can be used; {bad.rows:,} are bad"
    if dropped:
        return f"{bad.name}: none of its {dropped:,} rows has a gold label"
    return f"{bad.name}: has no rows"
