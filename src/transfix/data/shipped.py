"""Reads the snapshot: the rows shipped inside the package, described by `snapshot/manifest.json`."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from transfix.data.benchmarks import Benchmark
from transfix.data.example import DataError, Example, Rows

DIRECTORY = Path(__file__).parent / "snapshot"
MANIFEST = "manifest.json"


class Shipped(BaseModel):
    """One shipped set: a parquet file with the columns `row`, `label`, and every text as `FIELD_OWNCODE`.

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
        sets = _Manifest.model_validate_json(path.read_bytes()).sets
    except (OSError, ValidationError) as error:
        raise DataError(f"{path}: the shipped snapshot is not readable ({error}); install transfix again") from error
    return {(entry.benchmark, entry.split): entry for entry in sets}


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
    own_code = benchmark.own_code(language)
    path = DIRECTORY / found.file
    texts = [f"{field}_{own_code}" for field in benchmark.fields]
    try:
        table = pq.read_table(path, columns=["row", "label", *texts])
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: the shipped file is not readable ({error}); install transfix again") from error
    columns = table.slice(0, limit).to_pydict()
    examples = [
        Example(f"{found.id_prefix}-{row:05d}", language, dict(zip(benchmark.fields, values, strict=True)), label)
        for row, label, *values in zip(*(columns[name] for name in ("row", "label", *texts)), strict=True)
    ]
    return Rows(examples, f"snapshot: {found.description}", "snapshot parquet")
