"""Reads examples from local files: finds the file of a language and split by its pattern."""

from __future__ import annotations

from pathlib import Path

from transfix.data.benchmarks import Benchmark
from transfix.data.example import BadRows, DataError, Rows
from transfix.data.rows import LANGUAGE, Reading, examples
from transfix.data.sources import FilesSource
from transfix.data.tables import open_table


def read_files(source: FilesSource, reading: Reading) -> Rows:
    """The rows of one language and split.

    Raises:
        DataError: if no file matches, or with everything wrong in the file that does.
    """
    path = find(source, reading.benchmark, reading.language, reading.split)
    reading.check(str(path))
    bad = BadRows(str(path))
    headerless = tuple(reading.benchmark.columns)
    table = open_table(path, source.format, headerless, reading.known_columns(), bad)
    found, dropped = examples(table, reading, bad)
    return Rows(found, str(path), table.layout, dropped)


def find(source: FilesSource, benchmark: Benchmark, language: str, split: str) -> Path:
    """The first existing file among the pattern's forms for a language and split.

    Raises:
        DataError: naming all paths that were tried.
    """
    codes = [code for code in benchmark.codes(language) if "/" not in code]
    paths = list(
        dict.fromkeys(
            source.files.replace("{split}", split_name).replace("{lang}", code)
            for split_name in benchmark.split_names(split)
            for code in codes
        )
    )
    for path in paths:
        if Path(path).expanduser().is_file():
            return Path(path).expanduser()
    if len(paths) == 1:
        kind = "is a directory" if Path(paths[0]).expanduser().is_dir() else "does not exist"
        raise DataError(f"{paths[0]}: {kind} (looked for in {Path.cwd()})")
    tried = ", ".join(paths[:20]) + (f" and {len(paths) - 20} more" if len(paths) > 20 else "")
    raise DataError(f"no file for {language} ({split}) matches {source.files!r}; tried, in {Path.cwd()}: {tried}")


def has_language_column(path: Path, source: FilesSource, benchmark: Benchmark) -> bool:
    """Whether the rows of a file say their language, so that one file can serve several."""
    known = frozenset(name for names in benchmark.columns.values() for name in names) | set(source.columns.values())
    table = open_table(path, source.format, tuple(benchmark.columns), known | {LANGUAGE}, BadRows(str(path)))
    return source.columns.get(LANGUAGE, LANGUAGE) in table.columns
