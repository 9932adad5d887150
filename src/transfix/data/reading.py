"""The one way to rows: `load` gives the examples of a benchmark, language and split from any data source."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from transfix import languages as language_table
from transfix.data.benchmarks import Benchmark, facts_of
from transfix.data.example import DataError, Example, OnBadRows, Rows
from transfix.data.files import find_all, has_language_column, read_files
from transfix.data.hub import check_hub, read_hub
from transfix.data.rows import Reading
from transfix.data.shipped import read_shipped, shipped
from transfix.data.sources import FilesSource, HubSource, SnapshotSource, parse_source
from transfix.errors import Problem, TransfixError

logger = logging.getLogger(__name__)


def load(
    benchmark: str | Benchmark,
    source: object,
    language: str,
    split: str,
    limit: int | None = None,
    on_bad_rows: OnBadRows = "error",
) -> list[Example]:
    """The examples of one benchmark, language and split, in the source's order.

    Args:
        benchmark: its name (`benchmarks.names()` lists them), or the facts of a task of one's own.
        source: `"snapshot"`, `{"files": ...}`, `{"hub": ...}`, or one of the source models.
        language: a FLORES-style code or an alias.
        split: the hub's name of the split or a usual alias (`dev`).
        limit: take the first rows only (rows of one premise stand together); all rows of a file are checked even so.
        on_bad_rows: `error` reads nothing if a row is bad; `skip` leaves bad rows out. Files that cannot be read, and
            columns that no row has, are errors always.

    Raises:
        DataError: with every bad row (the first 20 listed by file and line), or with what is missing.
        UnknownLanguageError: if there is no such language.
    """
    return read(benchmark, source, language, split, limit, on_bad_rows).examples


def read(
    benchmark: str | Benchmark,
    source: object,
    language: str,
    split: str,
    limit: int | None = None,
    on_bad_rows: OnBadRows = "error",
) -> Rows:
    """Like `load`, with the rows' origin, the layout that was found, and the numbers of rows dropped and skipped."""
    facts = facts_of(benchmark)
    split = facts.split(split)
    code = language_table.get(language).code
    if limit is not None and limit < 1:
        raise DataError(f"limit is {limit}, expected at least 1 (or none for all rows)")
    if on_bad_rows not in get_args(OnBadRows):
        raise DataError(f"on_bad_rows is {on_bad_rows!r} (allowed: {', '.join(get_args(OnBadRows))})")
    parsed = parse_source(source)
    if isinstance(parsed, SnapshotSource):
        rows = read_shipped(facts, code, split, limit)
    else:
        reading = Reading(facts, code, split, parsed.columns, parsed.labels, limit, on_bad_rows == "skip")
        rows = read_files(parsed, reading) if isinstance(parsed, FilesSource) else read_hub(parsed, reading)
    dropped = f", {rows.dropped:,} without a gold label dropped" if rows.dropped else ""
    logger.info(
        "%s %s: %d rows from %s (%s)%s", facts.name, code, len(rows.examples), rows.origin, rows.layout, dropped
    )
    if rows.skipped:
        logger.warning("%s: %d bad rows skipped, the first: %s", rows.origin, rows.skipped, rows.problems[0])
    return rows


def check(benchmark: str | Benchmark, source: object, languages: Sequence[str], split: str) -> None:
    """Find out before hours of work whether a source can serve all languages: files exist, the snapshot has them.

    One file without a language column cannot serve several languages: its rows would count as each of them. Rows are
    not read and nothing is fetched from the hub.

    Raises:
        DataError: with the problems of all languages at once.
    """
    facts = facts_of(benchmark)
    split = facts.split(split)
    parsed = parse_source(source)
    problems: list[Problem] = []
    files: dict[Path, list[str]] = {}
    for language in languages:
        try:
            code = language_table.get(language).code
            if isinstance(parsed, SnapshotSource):
                shipped(facts, split, code)
            elif isinstance(parsed, HubSource):
                check_hub(parsed, facts, code)
            else:
                path, *_ = find_all(parsed, facts, code, split)
                files.setdefault(path, []).append(code)
        except TransfixError as error:
            problems.append(Problem(language, str(error)))
    if isinstance(parsed, FilesSource):
        for path, codes in files.items():
            if len(codes) > 1 and not has_language_column(path, parsed, facts):
                what = f"one file for {', '.join(codes)}, and no column says which row is in which language"
                problems.append(Problem(str(path), what, "`{lang}` in the path, or a `language` column"))
    if problems:
        raise DataError(f"{facts.name} ({split}) is not available from {parsed}", problems)
