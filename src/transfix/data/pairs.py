"""Pairs line i of a language's file with line i of the English one, for translation from and into English."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from transfix import languages
from transfix.data.benchmarks import ENGLISH, Benchmark, Values
from transfix.data.example import BadRowError, DataError
from transfix.data.lines import decoded, raw_lines
from transfix.data.tables import Record, Table

TARGET = "target"
"""The column of the translation, beside the fields."""


def pair(benchmark: Benchmark, language: str, english: object, other: object) -> Values:
    """A row of a translation benchmark from the two sides of a pair.

    Args:
        benchmark: one with `parallel`.
        language: FLORES-style code of the side that is not English.
        english: the English text.
        other: the text in that language.
    """
    name, english_name = languages.get(language).name, languages.get(ENGLISH).name
    if benchmark.parallel == "from_english":
        return {"source": english, TARGET: other, "source_language": english_name, "target_language": name}
    return {"source": other, TARGET: english, "source_language": name, "target_language": english_name}


def check_side(benchmark: Benchmark, language: str) -> None:
    """Raise `DataError` if `language` cannot be the side that is not English."""
    if language == ENGLISH:
        raise DataError(f"{benchmark.name} pairs English with another language: ask for the other one, not {ENGLISH}")


def open_pairs(path: Path, english: Path, benchmark: Benchmark, language: str) -> Table:
    """The pairs of two line-parallel files.

    Raises:
        DataError: if they have different numbers of lines.
    """
    sides = [list(_texts(english)), list(_texts(path))]
    if len(sides[0]) != len(sides[1]):
        raise DataError(
            f"{path}: has {len(sides[1]):,} lines, but {english} has {len(sides[0]):,}; "
            "line i of one must be the translation of line i of the other"
        )

    def records() -> Iterator[Record]:
        for number, (text, other) in enumerate(zip(*sides, strict=True), start=1):
            problem = next((str(side) for side in (text, other) if isinstance(side, BadRowError)), None)
            yield Record(number, pair(benchmark, language, text, other), problem)

    return Table(f"lines, paired with those of {english.name}", (*benchmark.fields, TARGET), records())


def _texts(path: Path) -> Iterator[str | BadRowError]:
    for _, raw in raw_lines(path):
        try:
            yield decoded(raw)
        except BadRowError as error:
            yield error
