"""The tables of the page as rows and columns of cells: scores, differences, groups of languages, orders of languages.

Languages run down and methods across, as on paper; where there are many methods the table is turned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from transfix.report import further, labels, tables
from transfix.report.charts import FEW, Mark, marks, point_average, setting_name, short
from transfix.report.contents import Curve, Group, Method, TaskReport
from transfix.report.lines import MARKS, UNFINISHED, lines
from transfix.statistics.tests import ALPHA

SHADES = 4
"""Shades of a heat map on either side of nothing."""

SIGNS = {
    MARKS["base"]: "differs from the base model",
    MARKS["lora"]: "differs from LoRA",
    UNFINISHED: "not all languages yet",
}
"""The marks behind numbers, as a screen reader says them."""

GROUPS = {"script": "Script", "family": "Family", "resources": "Resources"}


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a row or column.

    Attributes:
        kind: what it is of; `body` is what is sorted and filtered, the others stay where they are.
        language: what it names, if it is one.
        note: small print below.
    """

    text: str
    kind: Literal["average", "body", "training"] = "body"
    mark: Mark | None = None
    language: labels.Spoken | None = None
    note: str = ""

    @property
    def words(self) -> str:
        """What a reader may filter by."""
        return self.language.words if self.language else self.text.lower()


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    Attributes:
        value: what it is sorted by; None is last.
        sign: marks of significance or of an average that lacks languages, see `lines`; `said`: that in words.
        shade: the class of its colour in a heat map: `up1` to `up4`, `down1` ...
    """

    value: float | None = None
    text: str = "–"
    interval: str = ""
    sign: str = ""
    said: str = ""
    shade: str = ""


EMPTY = Cell()


@dataclass(frozen=True, slots=True)
class Grid:
    """A table.

    Attributes:
        corner: what the heads of the rows are.
        cells: for each row, a cell for each column.
        plots: for each row, the values to draw beside it, one a method; empty for no plot.
    """

    corner: str
    across: str
    columns: tuple[Head, ...]
    rows: tuple[Head, ...]
    cells: tuple[tuple[Cell, ...], ...]
    plots: tuple[tuple[Mapping[str, Any] | None, ...], ...] = ()

    @property
    def parts(self) -> list[tuple[str, list[int]]]:
        """The numbers of the rows of each kind, in the order they are shown."""
        kinds = dict.fromkeys(row.kind for row in self.rows)
        return [(kind, [n for n, row in enumerate(self.rows) if row.kind == kind]) for kind in kinds]

    def turned(self) -> Grid:
        """Rows as columns; a plot needs languages in rows."""
        return Grid(self.across, self.corner, self.rows, self.columns, tuple(zip(*self.cells, strict=True)))


def _fit(grid: Grid) -> Grid:
    """Turned where there are many methods."""
    return grid.turned() if len(grid.columns) > FEW else grid


def method_heads(methods: Sequence[Method]) -> tuple[Head, ...]:
    """The heads of the methods with their marks."""
    return tuple(Head(method.label, mark=mark) for method, mark in zip(methods, marks(methods), strict=True))


def _language_heads(task: TaskReport) -> list[Head]:
    differ = len({task.rows(language.code) for language in task.languages}) > 1
    return [
        Head(lang.name, language=lang, note=f"{task.rows(lang.code)} rows" if differ else "") for lang in task.languages
    ]


def _averages(task: TaskReport) -> list[tuple[str, Head]]:
    return [(which, Head(name, kind="average")) for which, name in tables.macro_rows(task)]


def results(task: TaskReport) -> Grid:
    """Every score with its interval and the marks of significance that all tables have."""
    rows: list[Head] = []
    cells: list[tuple[Cell, ...]] = []
    plots: list[tuple[Mapping[str, Any] | None, ...]] = []
    languages = iter(_language_heads(task))
    for line in lines(task):
        rows.append(next(languages) if line.kind == "language" else Head(line.name, kind="average"))
        cells.append(tuple(_score(e, signs) for e, signs in zip(line.entries, line.marks, strict=True)))
        plots.append(line.entries)
    for name, texts in tables.training_rows(task):
        rows.append(Head(name, kind="training"))
        cells.append(tuple(Cell(_amount(t, m), t) for t, m in zip(texts, task.methods, strict=True)))
    return _fit(Grid("Language", "Method", method_heads(task.methods), tuple(rows), tuple(cells), tuple(plots)))


def _score(entry: Mapping[str, Any] | None, signs: str = "") -> Cell:
    if entry is None:
        return EMPTY
    return _signed(Cell(entry["score"], labels.percent(entry["score"]), labels.bracket(entry["interval"])), signs)


def _signed(cell: Cell, signs: str) -> Cell:
    said = ", ".join(words for sign, words in SIGNS.items() if sign in signs)
    return replace(cell, sign=signs, said=said)


def _amount(text: str, method: Method) -> float | None:
    """The number in `115,272` or `3 min 34 s`."""
    try:
        return float(text.replace(",", ""))
    except ValueError:
        seconds = method.training("seconds")
        return float(seconds) if isinstance(seconds, (int, float)) and text != "–" else None


def differences(task: TaskReport, kind: str) -> Grid | None:
    """A heat map of every method minus its reference; None without one."""
    shown = [
        (m, h, d) for m, h in zip(task.methods, method_heads(task.methods), strict=True) if (d := task.against(m, kind))
    ]
    if not shown:
        return None
    rows: list[Head] = []
    found: list[list[Mapping[str, Any] | None]] = []
    for which, head in _averages(task):
        rows.append(head)
        found.append([d["macro"][which] for _, _, d in shown])
    for head in _language_heads(task):
        rows.append(head)
        found.append([d["languages"].get(head.language.code) if head.language else None for _, _, d in shown])
    largest = max((abs(e["difference"]) for row in found for e in row if e), default=0.0)
    cells = [tuple(_difference(entry, largest, kind) for entry in row) for row in found]
    rows.append(Head("Better, level, worse", kind="training", note="languages"))
    cells.append(tuple(Cell(d["wins"] - d["losses"], f"{d['wins']}, {d['ties']}, {d['losses']}") for _, _, d in shown))
    return _fit(Grid("Language", "Method", tuple(head for _, head, _ in shown), tuple(rows), tuple(cells)))


def _difference(entry: Mapping[str, Any] | None, largest: float, kind: str) -> Cell:
    if entry is None:
        return EMPTY
    value = entry["difference"]
    level = min(SHADES, math.ceil(SHADES * abs(value) / largest - 0.2)) if largest else 0
    shade = f"{'up' if value > 0 else 'down'}{level}" if level > 0 else ""
    interval = ", ".join(_points(bound) for bound in entry["interval"])
    signs = MARKS[kind] if entry.get("holm", entry["p"]) < ALPHA else ""
    return _signed(Cell(value, _points(value), f"[{interval}]", shade=shade), signs)


def reference(task: TaskReport, kind: str) -> str:
    """What methods are compared with: `the base model`, `LoRA (rank 8)`."""
    if kind == "base":
        return "the base model"
    return labels.listing(sorted({found.label for m in task.methods if (found := task.reference(m, kind))}))


def _points(value: float) -> str:
    """0.114 as `+11.4`."""
    text = labels.points(value)
    return text if text == "0.0" else f"{labels.MINUS if value < 0 else '+'}{text}"


def groups(task: TaskReport) -> list[tuple[str, Grid]]:
    """Averages over the languages of a script, family or resource class: those kinds that split the languages."""
    return [
        (
            GROUPS.get(kind, kind),
            _fit(
                Grid(
                    GROUPS.get(kind, kind),
                    "Method",
                    method_heads(task.methods),
                    tuple(Head(group.name, note=_count(len(group.codes))) for group in found),
                    tuple(tuple(_group_score(group, entry) for entry in group.by_method) for group in found),
                )
            ),
        )
        for kind, found in task.groups.items()
        if len(found) > 1
    ]


def _group_score(group: Group, entry: Mapping[str, Any] | None) -> Cell:
    """The average of a method over a group, marked where it has not all the group's languages."""
    return _score(entry, UNFINISHED if entry and entry["languages"] < len(group.codes) else "")


def _count(number: int) -> str:
    return f"{number} languages" if number != 1 else "1 language"


def further_metrics(task: TaskReport) -> Grid | None:
    """The further metrics, averaged: a row a method, a column a metric; None where there are none."""
    found = further.columns(task)
    if not found:
        return None
    cells = [
        tuple(_score(column.entries[number], column.marks[number]) for column in found)
        for number in range(len(task.methods))
    ]
    heads = tuple(Head(column.metric.title) for column in found)
    return Grid("Method", "Metric", heads, method_heads(task.methods), tuple(cells))


def further_by_language(task: TaskReport) -> list[tuple[str, Grid]]:
    """Each further metric by language and method."""
    heads = tuple(_language_heads(task))
    return [
        (
            metric.title,
            _fit(
                Grid(
                    "Language",
                    "Method",
                    method_heads(task.methods),
                    heads,
                    tuple(
                        tuple(_score(further.entry(method, metric.name, lang.code)) for method in task.methods)
                        for lang in task.languages
                    ),
                )
            ),
        )
        for metric in task.metrics
    ]


def orders(task: TaskReport) -> Grid | None:
    """Rank correlation of the order of languages between methods; None where there are too few or too many."""
    if not 1 < len(task.methods) <= 2 * FEW:
        return None
    found = [[task.rank_correlation(first, second) for second in task.methods] for first in task.methods]
    others = (rho for i, row in enumerate(found) for j, rho in enumerate(row) if i != j)
    if all(rho is None for rho in others):
        return None
    heads = method_heads(task.methods)
    cells = [tuple(EMPTY if rho is None else Cell(rho, _rho(rho)) for rho in row) for row in found]
    return Grid("Method", "Method", heads, heads, tuple(cells))


def _rho(value: float) -> str:
    return f"{value:.2f}".replace("-", labels.MINUS)


def curve(found: Curve) -> Grid:
    """The numbers of a curve: values of the setting down, methods across."""
    values = sorted({point.x for series in found.series for point in series.points})
    by_value = [{point.x: point_average(point) for point in series.points} for series in found.series]
    return Grid(
        setting_name(found),
        "Method",
        tuple(Head(series.label) for series in found.series),
        tuple(Head(short(value)) for value in values),
        tuple(tuple(_score(entries.get(value)) for entries in by_value) for value in values),
    )
