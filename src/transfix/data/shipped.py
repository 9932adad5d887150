"""Reads the snapshot: the rows shipped inside the package, described by `snapshot/manifest.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from transfix.config import validation
from transfix.data.benchmarks import ENGLISH, IDENTIFIER, LABEL, Benchmark, Values
from transfix.data.example import DataError, Example, Rows
from transfix.data.pairs import TARGET, pair
from transfix.errors import Problem

DIRECTORY = Path(__file__).parent / "snapshot"
MANIFEST = "manifest.json"
ROW, ANSWERS, TEXT = "row", "answers", "text"


class Shipped(BaseModel):
    """One shipped set: a parquet file with a row an example.

    Its columns are `id`, or `row`, the row's number in the split it is from; `label`, or `answers` as a list of texts;
    and the fields. A column that differs by language is there once for each, as `FIELD_OWNCODE`. Translation has
    `text_OWNCODE` for both of its sides.

    Attributes:
        benchmark, split: what the rows are served as.
        file: its name in the snapshot directory.
        description: what the rows are, for reports.
        id_prefix: the split the rows are from; with the row number there, an example's id.
        languages: the benchmark's own codes.
        rows: rows a language.
        licence: its terms; the texts stand in the snapshot directory.
    """

    model_config = ConfigDict(frozen=True)
    benchmark: str
    split: str
    file: str
    description: str
    id_prefix: str
    languages: tuple[str, ...]
    rows: int
    licence: str


class _Manifest(BaseModel):
    sets: tuple[Shipped, ...]


@cache
def contents() -> dict[tuple[str, str], Shipped]:
    """The shipped sets by benchmark and split.

    Raises:
        DataError: if the installed package is incomplete.
    """
    path = DIRECTORY / MANIFEST
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: the shipped snapshot is not readable ({error}); install transfix again") from error
    problems: list[Problem] = []
    manifest = validation.checked(_Manifest, content, problems)
    if manifest is None:
        raise DataError(f"{path}: the shipped snapshot is damaged; install transfix again", problems)
    return {(entry.benchmark, entry.split): entry for entry in manifest.sets}


def shipped(benchmark: Benchmark, split: str, language: str) -> Shipped:
    """The shipped set for a benchmark, split and language.

    Raises:
        DataError: if the snapshot has none; what it has is named.
    """
    splits = {name: found for (of, name), found in contents().items() if of == benchmark.name}
    if not splits:
        known = ", ".join(dict.fromkeys(of for of, _ in contents()))
        raise DataError(f"the snapshot has no {benchmark.name} rows (allowed: {known}); use files or the hub")
    if split not in splits:
        held = "; ".join(f"{name}: {found.description}" for name, found in splits.items())
        raise DataError(f"the snapshot has no {benchmark.name} split {split!r} (allowed: {held}); use files or the hub")
    found = splits[split]
    if benchmark.own_code(language) not in found.languages:
        codes = ", ".join(code for code in benchmark.languages if benchmark.own_code(code) in found.languages)
        raise DataError(f"the snapshot has no {benchmark.name} {split} rows in {language} (allowed: {codes})")
    return found


def read_shipped(benchmark: Benchmark, language: str, split: str, limit: int | None) -> Rows:
    """The shipped rows of one language and split; the first rows of a shuffled set are a fair sample of it.

    Raises:
        DataError: if the snapshot has no such rows, or the installed file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = shipped(benchmark, split, language)
    path = DIRECTORY / found.file
    try:
        with pq.ParquetFile(path) as file:
            places = _places(benchmark, language, file.schema_arrow.names)
            table = file.read(columns=list(places.values()), use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: the shipped file is not readable ({error}); install transfix again") from error
    columns = table.slice(0, limit).to_pydict()
    texts = zip(*(columns[column] for column in places.values()), strict=True)
    rows = (dict(zip(places, values, strict=True)) for values in texts)
    examples = list(_examples(rows, benchmark, language, found.id_prefix))
    return Rows(examples, f"snapshot: {found.description}", "snapshot parquet")


def _places(benchmark: Benchmark, language: str, columns: Sequence[str]) -> dict[str, str]:
    """What the file has for a language -> its column."""
    fields = (*benchmark.fields, *benchmark.optional)
    own_code = benchmark.own_code(language)
    names = {name: [f"{name}_{own_code}", name] for name in (ROW, IDENTIFIER, LABEL, ANSWERS, *fields)}
    if benchmark.parallel is not None:
        names |= {ENGLISH: [f"{TEXT}_{benchmark.own_code(ENGLISH)}"], TEXT: [f"{TEXT}_{own_code}"]}
    return {
        name: next(column for column in usual if column in columns)
        for name, usual in names.items()
        if any(column in columns for column in usual)
    }


def _examples(rows: Iterator[Values], benchmark: Benchmark, language: str, id_prefix: str) -> Iterator[Example]:
    fields = (*benchmark.fields, *benchmark.optional)
    for stored in rows:
        row: dict[str, Any] = dict(stored)
        if benchmark.parallel is not None:
            row.update(pair(benchmark, language, row[ENGLISH], row[TEXT]))
            row[ANSWERS] = [row[TARGET]]
        elif benchmark.reference == "number":
            row[ANSWERS] = [row[LABEL]]
        answers = tuple(row.get(ANSWERS, ()))
        yield Example(
            id=row[IDENTIFIER] if IDENTIFIER in row else f"{id_prefix}-{row[ROW]:05d}",
            language=language,
            fields={field: row[field] for field in fields if row.get(field) is not None},
            label=row[LABEL] if LABEL in row else answers[0],
            answers=answers,
        )
