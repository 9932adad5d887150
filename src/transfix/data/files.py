"""Reads examples from local files: finds the file of a language and split by its pattern."""

from __future__ import annotations

from pathlib import Path

from transfix.config import places
from transfix.data.benchmarks import ENGLISH, LANGUAGE, Benchmark
from transfix.data.documents import open_document
from transfix.data.example import BadRows, DataError, Rows
from transfix.data.language_files import LANG, file_of
from transfix.data.lines import peek
from transfix.data.opening import open_rows
from transfix.data.pairs import check_side, open_pairs
from transfix.data.rows import Places, Reading, read_table
from transfix.data.sources import FilesSource
from transfix.data.tables import Table


def read_files(source: FilesSource, reading: Reading) -> Rows:
    """The rows of one language and split.

    Raises:
        DataError: if no file matches, or with everything wrong in the file that does.
    """
    path, *english = find_all(source, reading.benchmark, reading.language, reading.split)
    reading.check(str(path))
    bad = BadRows(str(path))
    if english:
        table = open_pairs(path, english[0], reading.benchmark, reading.language)
    else:
        table = _open(path, source, reading.benchmark, reading.known_columns(), bad)
    return read_table(table, reading, bad)


def find_all(source: FilesSource, benchmark: Benchmark, language: str, split: str) -> tuple[Path, ...]:
    """All files that the rows of a language and split are read from: for translation the English one too.

    Raises:
        DataError: if one does not exist, naming all paths that were tried; if both sides of a pair are one file.
    """
    path = find(source, benchmark, language, split)
    if benchmark.parallel is None:
        return (path,)
    check_side(benchmark, language)
    english = find(source, benchmark, ENGLISH, split)
    if path == english:
        raise DataError(f"{path}: is the English file too; write `{{lang}}` in the path, for the two files of a pair")
    return path, english


def find(source: FilesSource, benchmark: Benchmark, language: str, split: str) -> Path:
    """The first existing file among the pattern's forms for a language and split.

    Raises:
        DataError: naming all paths that were tried.
    """
    patterns = _patterns(source, benchmark, split)
    codes = [code for code in benchmark.codes(language) if "/" not in code]
    paths = list(dict.fromkeys(pattern.replace(LANG, code) for pattern in patterns for code in codes))
    try:
        for pattern in patterns:
            if (path := file_of(str(places.expanded(pattern)), benchmark, language)) is not None:
                return path
        kind = places.missing(places.expanded(paths[0]))
    except places.UnusableFileError as error:
        raise DataError(str(error).rstrip(".")) from error
    if len(paths) == 1:
        file = ", where a file is needed: name the one in it that holds the rows" * (kind == "is a directory")
        raise DataError(f"{paths[0]}: {kind} (looked for in {places.here()}){file}")
    tried = ", ".join(paths[:20]) + (f" and {len(paths) - 20} more" if len(paths) > 20 else "")
    raise DataError(f"no file for {language} ({split}) matches {source.files!r}; tried, in {places.here()}: {tried}")


def _patterns(source: FilesSource, benchmark: Benchmark, split: str) -> list[str]:
    """The pattern's forms for a split, the likeliest first; `{lang}` is left in them."""
    patterns = [source.files]
    companion = benchmark.companions.get(split)
    if companion is not None and Path(source.files).name != companion:
        # A pattern that does not say which split it is would give the rows of another one.
        patterns = patterns if "{split}" in source.files else []
        patterns.append(str(Path(source.files).with_name(companion)))
    names = benchmark.split_names(split)
    return list(dict.fromkeys(pattern.replace("{split}", name) for pattern in patterns for name in names))


def has_language_column(path: Path, source: FilesSource, benchmark: Benchmark) -> bool:
    """Whether the rows of a file say their language, so that one file can serve several."""
    known = frozenset(name for names in benchmark.columns.values() for name in names) | set(source.columns.values())
    table = _open(path, source, benchmark, known | {LANGUAGE}, BadRows(str(path)))
    usual = benchmark.columns.get(LANGUAGE, (LANGUAGE,))
    names = (source.columns[LANGUAGE],) if LANGUAGE in source.columns else usual
    if any(name in table.columns for name in names):
        return True
    if benchmark.language_of is None:
        return False
    reading = Reading(benchmark, benchmark.languages[0], benchmark.splits[0], source.columns, source.labels)
    places = Places(table, reading, str(path))
    first = next(table.records, None)
    return first is not None and places.language(places.values(first)) is not None


def _open(path: Path, source: FilesSource, benchmark: Benchmark, known_columns: frozenset[str], bad: BadRows) -> Table:
    format = source.format
    if benchmark.document is not None and format in ("auto", "json"):
        _, first = peek(path)
        if format == "json" or first.lstrip().startswith(("{", "[")):
            row_columns = known_columns & {name for names in benchmark.columns.values() for name in names}
            table = open_document(path, benchmark.document, row_columns, bad, is_sure=format == "json")
            if table is not None:
                return table
    quoting = benchmark.quoted_tsv if source.quoting is None else source.quoting
    return open_rows(path, format, benchmark.tsv_columns, known_columns, bad, quoting, source.delimiter)
