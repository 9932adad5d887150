"""One labelled row, the rows of one language, and the error for data a user can put right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transfix.errors import Problem, ProblemsError

SHOWN = 20
"""How many bad rows a message lists; the others are counted."""


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a benchmark in one language.

    Attributes:
        id: unique within benchmark, language and split; row-parallel benchmarks give parallel rows the same id.
        language: FLORES-style code, `deu_Latn`.
        fields: the row's texts by name, for natural language inference `premise` and `hypothesis`.
        label: the gold answer (the class name where classes are chosen from), `None` for an unlabelled row.
    """

    id: str
    language: str
    fields: dict[str, str]
    label: str | None


@dataclass(frozen=True, slots=True)
class Rows:
    """The examples of one benchmark, language and split, and where they came from.

    Attributes:
        examples: in the source's own order.
        origin: the file, hub dataset or snapshot part that was read.
        layout: the layout it was read in.
        dropped: rows left out because their annotators agreed on no label (`-`, or -1 on the hub).
    """

    examples: list[Example]
    origin: str
    layout: str
    dropped: int = 0


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


class BadRows:
    """Collects the bad rows of one source, so that all of them are reported at once.

    Args:
        name: the file or dataset, put before each row's number.
        unit: `line` for text (a location editors understand: `path:17`), `row` for tables.
    """

    def __init__(self, name: str, unit: str = "line") -> None:
        self.name = name
        self.unit = unit
        self.count = 0
        self._shown: list[Problem] = []

    def add(self, number: int, what: str, allowed: str | None = None) -> None:
        """Record that row `number` is bad."""
        self.count += 1
        if len(self._shown) < SHOWN:
            where = f"{self.name}:{number}" if self.unit == "line" else f"{self.name}, row {number}"
            self._shown.append(Problem(where, what, allowed))

    def raise_if_any(self, expected: str) -> None:
        """Raise `DataError` with all collected rows; `expected` says what they should have been."""
        if self.count:
            rows = f"{self.count:,} bad {self.unit}{'' if self.count == 1 else 's'}"
            raise DataError(f"{self.name}: {rows}; expected {expected}", self._shown, self.count)
