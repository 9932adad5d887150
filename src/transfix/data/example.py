"""One labelled row, the rows of one language, and the error for data a user can put right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from transfix.errors import Problem, ProblemsError

SHOWN = 20
"""How many bad rows a message lists; the others are counted."""

OnBadRows = Literal["error", "skip"]
"""What happens to bad rows: all are reported and none is read, or they are left out and counted."""


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a benchmark in one language.

    Attributes:
        id: unique within benchmark, language and split; row-parallel benchmarks give parallel rows the same id.
        language: FLORES-style code, `deu_Latn`.
        fields: the row's texts by name, for natural language inference `premise` and `hypothesis`.
        label: the reference answer: the class name where classes are chosen from, the first of `answers` where texts are
            written, the number (`1000`, `3.50`) where one is computed; `None` for an unlabelled row.
        answers: every accepted reference text, without repetition; empty where classes are chosen from.
    """

    id: str
    language: str
    fields: dict[str, str]
    label: str | None
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rows:
    """The examples of one benchmark, language and split, and where they came from.

    Attributes:
        examples: in the source's own order.
        origin: the file, hub dataset or snapshot part that was read.
        layout: the layout it was read in.
        dropped: rows left out because their annotators agreed on no label (`-`, or -1 on the hub).
        skipped: bad rows left out because the caller asked for it (`on_bad_rows="skip"`).
        problems: what was wrong with the first `SHOWN` of them.
    """

    examples: list[Example]
    origin: str
    layout: str
    dropped: int = 0
    skipped: int = 0
    problems: tuple[Problem, ...] = ()


class DataError(ProblemsError):
    """Rows that cannot be read, or are not what the benchmark needs.

    Args:
        title: what was being read and what is wrong with it.
        problems: the bad rows, of which the first `SHOWN` are listed.
        count: how many bad rows there are, where `problems` does not hold them all.
    """

    def __init__(self, title: str, problems: Sequence[Problem] = (), count: int | None = None) -> None:
        shown = problems[:SHOWN]
        super().__init__(title, shown)
        self.count = len(problems) if count is None else count
        if self.count > len(shown) > 0:
            self.args = (f"{self.args[0]}\n  ... and {self.count - len(shown):,} more",)


class BadRowError(ValueError):
    """What is wrong with one row; caught where rows are read, and reported with the row's place."""


class BadRows:
    """Collects the bad rows of one source, so that all of them are reported at once.

    Args:
        name: the file or dataset, put before each row's place.
        unit: `line` for text (a location editors understand: `path:17`), `row` for tables.
        shown: how many problems are kept, the others being counted; None: all.
    """

    def __init__(self, name: str, unit: str = "line", shown: int | None = SHOWN) -> None:
        self._limit = shown
        self.name = name
        self.unit = unit
        self.count = 0
        """Problems; a row may have several."""
        self.advice = ""
        """What to do about a kind of them, said once."""
        self.rows = 0
        """Rows with at least one problem."""
        self._is_broken = False
        self._last: int | str | None = None
        self._shown: list[Problem] = []

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The first problems."""
        return tuple(self._shown)

    def add(self, where: int | str, what: str, allowed: str | None = None, ends_reading: bool = False) -> None:
        """Record that a row is bad.

        Args:
            where: its number, or its path in a JSON document (`data[3].paragraphs[1].qas[0]`).
            what: what is wrong with it.
            allowed: what would be right.
            ends_reading: the rows after it cannot be found, so that it cannot be skipped.
        """
        self.count += 1
        self.rows += where != self._last
        self._last = where
        self._is_broken |= ends_reading
        if self._limit is None or len(self._shown) < self._limit:
            self._shown.append(Problem(self.named(where), what, allowed))

    def named(self, where: int | str) -> str:
        """A row's place with the file's name: `rows.csv:7`, `rows.parquet, row 7`."""
        is_line = isinstance(where, int) and self.unit == "line"
        separator = ":" if is_line else ": " if isinstance(where, str) else ", "
        return f"{self.name}{separator}{where if is_line else self.place(where)}"

    def place(self, where: int | str) -> str:
        """A row's place in words: `line 7`, `row 7`, or its path in a JSON document."""
        return where if isinstance(where, str) else f"{self.unit} {where}"

    def raise_if_any(self, expected: str, but_skip: bool = False) -> None:
        """Raise `DataError` with all collected rows, unless they may be skipped and can be.

        Args:
            expected: what the rows should have been.
            but_skip: bad rows are left out.
        """
        if self.count and not (but_skip and not self._is_broken):
            rows = f"{self.count:,} bad {self.unit}{'' if self.count == 1 else 's'}"
            advice = f". {self.advice[0].upper()}{self.advice[1:]}" if self.advice else ""
            raise DataError(f"{self.name}: {rows}; expected {expected}{advice}", self._shown, self.count)
