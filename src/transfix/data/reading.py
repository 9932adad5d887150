"""The one way to rows: `load` gives the examples of a benchmark, language and split from any data source."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from transfix import languages as language_table
from transfix.data import benchmarks
from transfix.data.example import DataError, Example, Rows
from transfix.data.files import find, has_language_column, read_files
from transfix.data.hub import check_languages, read_hub
from transfix.data.rows import Reading
from transfix.data.shipped import read_shipped, shipped
from transfix.data.sources import FilesSource, HubSource, SnapshotSource, parse_source
from transfix.errors import Problem, TransfixError

logger = logging.getLogger(__name__)


def load(benchmark: str, source: object, language: str, split: str, limit: int | None = None) -> list[Example]:
    """The examples of one benchmark, language and split, in the source's order.

    Args:
        benchmark: `mnli`, `xnli` or `afrixnli`.
        source: `"snapshot"`, `{"files": ...}`, `{"hub": ...}`, or one of the source models.
        language: a FLORES-style code or an alias.
        split: the hub's name of the split or a usual alias (`dev`).
        limit: take the first rows only (rows of one premise stand together); all rows of a file are checked even so.

    Raises:
        DataError: with every bad row (the first 20 listed by file and line), or with what is missing.
        UnknownLanguageError: if there is no such language.
    """
    return read(benchmark, source, language, split, limit).examples


def read(benchmark: str, source: object, language: str, split: str, limit: int | None = None) -> Rows:
    """Like `load`, with the rows' origin, the layout that was found, and the number of rows dropped."""
    facts = benchmarks.get(benchmark)
    split = facts.split(split)
    code = language_table.get(language).code
    if limit is not None and limit < 1:
        raise DataError(f"limit is {limit}, expected at least 1 (or none for all rows)")
    parsed = parse_source(source)
    if isinstance(parsed, SnapshotSource):
        rows = read_shipped(facts, code, split, limit)
    elif isinstance(parsed, FilesSource):
        rows = read_files(parsed, Reading(facts, code, split, parsed.columns, parsed.labels, limit))
    else:
        rows = read_hub(parsed, Reading(facts, code, split, parsed.columns, parsed.labels, limit))
    dropped = f", {rows.dropped:,} without a gold label dropped" if rows.dropped else ""
    logger.info("%s %s: %d rows from %s (%s)%s", benchmark, code, len(rows.examples), rows.origin, rows.layout, dropped)
    return rows


def check(benchmark: str, source: object, languages: Sequence[str], split: str) -> None:
    """Find out before hours of work whether a source can serve all languages: files exist, the snapshot has them.

    One file without a language column cannot serve several languages: its rows would count as each of them. Rows are
    not read and nothing is fetched from the hub.

    Raises:
        DataError: with the problems of all languages at once.
    """
    facts = benchmarks.get(benchmark)
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
                if what := check_languages(parsed, facts, code):
                    problems.append(Problem(code, what, ", ".join(facts.languages)))
            else:
                files.setdefault(find(parsed, facts, code, split), []).append(code)
        except TransfixError as error:
            problems.append(Problem(language, str(error)))
    if isinstance(parsed, FilesSource):
        for path, codes in files.items():
            if len(codes) > 1 and not has_language_column(path, parsed, facts):
                what = f"one file for {', '.join(codes)}, and no column says which row is in which language"
                problems.append(Problem(str(path), what, "`{lang}` in the path, or a `language` column"))
    if problems:
        raise DataError(f"{benchmark} ({split}) is not available from {parsed}", problems)
