"""Reads a user's unlabelled rows of several languages: a file each, by `{lang}` in the path, or one with a column."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from transfix import languages
from transfix.config import places
from transfix.data.benchmarks import LANGUAGE, Benchmark
from transfix.data.example import SHOWN, DataError, OnBadRows
from transfix.data.language_files import LANG, file_of, named_files
from transfix.data.rows import is_empty
from transfix.data.unlabelled import Check, OwnRows, read_own_rows
from transfix.errors import Problem, TransfixError, shortened
from transfix.languages.spellings import conflicts, spelling


@dataclass(slots=True)
class OwnRow:
    """A row, and where it stands, in words."""

    values: Mapping[str, object]
    name: str


@dataclass(slots=True)
class RowsByLanguage:
    """A user's rows by language.

    Attributes:
        rows: FLORES-style code -> its rows, in their order.
        problems: of the rows that were skipped.
        no_language: files that the pattern matches and that are called after no language.
    """

    rows: dict[str, list[OwnRow]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    no_language: list[Path] = field(default_factory=list)


def read_by_language(
    source: str | Path,
    benchmark: Benchmark,
    fields: Collection[str],
    optional: Collection[str] = (),
    wanted: Collection[str] | None = None,
    on_bad_rows: OnBadRows = "error",
) -> RowsByLanguage:
    """The rows of each language.

    Args:
        source: a path with `{lang}`, which stands for a language's code or name, or a file whose rows have a column
            `language`. A file without it is of the one language that is wanted.
        benchmark: a file called by its own code of a language is that language's.
        fields: columns that every row must have, with a text that is not empty.
        optional: columns that hold a text or nothing.
        wanted: FLORES-style codes; None is all that are there. One that is not there has no entry.
        on_bad_rows: `skip` leaves bad rows out.

    Raises:
        DataError: nothing can be read, rows are bad, or it is not clear which language is meant.
    """
    try:
        path = places.expanded(source)
        if LANG in str(path) and places.kind(path) == "missing":
            return _of_files(path, benchmark, fields, optional, wanted, on_bad_rows)
        if places.kind(path) != "file":
            raise DataError(f"{path}: {places.missing(path)} ({{lang}} in the path stands for a language's code)")
        return _of_file(path, fields, optional, wanted, on_bad_rows)
    except places.UnusableFileError as error:
        raise DataError(str(error).rstrip(".")) from error


def _of_files(
    pattern: Path,
    benchmark: Benchmark,
    fields: Collection[str],
    optional: Collection[str],
    wanted: Collection[str] | None,
    on_bad_rows: OnBadRows,
) -> RowsByLanguage:
    found = RowsByLanguage()
    there: dict[str, list[Path]] = {}
    for path, text in named_files(str(pattern)).items():
        if (meant := spelling(text)) is None:
            found.no_language.append(path)
        else:
            there.setdefault(meant.language.code, []).append(path)
    if not there and not wanted:
        raise DataError(f"{pattern}: no file is there with a language's code or name for {LANG} (in {places.here()})")
    for code in there if wanted is None else wanted:
        file = file_of(str(pattern), benchmark, code)
        if file is None:
            continue
        if others := [path for path in there.get(code, ()) if not path.samefile(file)]:
            same = " and ".join(map(str, [file, *others]))
            raise DataError(f"{same} are all files of {code}: rename or move away all but the one that is meant")
        own = read_own_rows(file, tuple(fields), tuple(optional), _speaks(code), on_bad_rows)
        found.rows[code] = list(_rows(own))
        found.problems += own.problems
    return found


def _of_file(
    path: Path,
    fields: Collection[str],
    optional: Collection[str],
    wanted: Collection[str] | None,
    on_bad_rows: OnBadRows,
) -> RowsByLanguage:
    own = read_own_rows(path, tuple(fields), tuple(optional), _speaks(None), on_bad_rows)
    found = RowsByLanguage(problems=list(own.problems))
    said = {str(row[LANGUAGE]) for row in own.rows if not is_empty(row.get(LANGUAGE))}
    if not said:
        if wanted is None or len(wanted) != 1:
            raise DataError(
                f"{path}: its rows do not say their language: give them a column `language`, write {LANG} in the path of a "
                "file for each language, or name the one language that all are in with --languages"
            )
        found.rows = {code: list(_rows(own)) for code in wanted}
        return found
    if doubts := conflicts(sorted(said)):
        raise DataError(f"{path}: its rows' languages: {doubts[0]}: write one code")
    silent: list[Problem] = []
    for row in _rows(own):
        spoken = row.values.get(LANGUAGE)
        if is_empty(spoken):
            silent.append(Problem(row.name, "`language` is empty, and other rows say theirs"))
            continue
        code = languages.get(str(spoken)).code
        if wanted is None or code in wanted:
            found.rows.setdefault(code, []).append(row)
    if silent and on_bad_rows == "error":
        raise DataError(f"{path}: rows do not say their language", silent[:SHOWN], len(silent))
    found.problems += silent
    return found


def _rows(own: OwnRows) -> Iterator[OwnRow]:
    for values, name in zip(own.rows, own.names, strict=True):
        yield OwnRow(values, name)


def _speaks(code: str | None) -> Check:
    """Says what is wrong with the language that a row says it is in; `code` is that of its file."""

    def check(row: Mapping[str, object]) -> Iterator[str]:
        said = row.get(LANGUAGE)
        if is_empty(said):
            return
        try:
            spoken = languages.get(str(said)).code
        except TransfixError as error:
            yield "; ".join(str(error).splitlines())
            return
        if code is not None and spoken != code:
            yield f"its `language` is {shortened(repr(said))}, and its file is called after {code}"

    return check
