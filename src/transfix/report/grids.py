"""The tables of the page as rows and columns of cells: scores, differences, groups of languages, orders of languages.

Languages run down and methods across, as on paper; where there are many methods the table is turned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from transfix.report import labels, tables
from transfix.report.charts import FEW, Mark, marks, point_average, setting_name, short
from transfix.report.contents import Curve, Method, TaskReport

SHADES = 4
"""Shades of a heat map on either side of nothing."""

ALPHA = 0.05
"""The p below which a difference is marked."""

REFERENCES = {"base": "the base model", "lora": "LoRA"}
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
        sign: ▲ or ▼ where it differs from the reference, `*` where an average lacks languages; `said`: that in words.
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
    return tuple(
        Head(method.label, mark=mark, note=f"{seeds} seeds" if (seeds := method.seeds) > 1 else "")
        for method, mark in zip(methods, marks(methods), strict=True)
    )


def _language_heads(task: TaskReport) -> list[Head]:
    differ = len({task.rows(language.code) for language in task.languages}) > 1
    return [
        Head(lang.name, language=lang, note=f"{task.rows(lang.code)} rows" if differ else "") for lang in task.languages
    ]


def _averages(task: TaskReport) -> list[tuple[str, Head]]:
    return [(which, Head(name, kind="average")) for which, name in tables.macro_rows(task)]


def marked_against(task: TaskReport) -> str | None:
    """What the signs of the scores compare with: `base`, or `lora` where there is no base."""
    return next(iter(task.references), None)


def results(task: TaskReport) -> Grid:
    """Every score with its interval, and signs where it differs from the reference."""
    kind = marked_against(task)
    against = [task.against(method, kind) if kind else None for method in task.methods]
    rows: list[Head] = []
    cells: list[tuple[Cell, ...]] = []
    plots: list[tuple[Mapping[str, Any] | None, ...]] = []
    for which, head in _averages(task):
        entries = tuple(method.macro(which) for method in task.methods)
        found = [(d or {}).get("macro", {}).get(which) for d in against]
        row = [_score(e, f, kind) for e, f in zip(entries, found, strict=True)]
        flagged = [
            cell if method.complete or not entry else replace(cell, sign=cell.sign + "*", said="not all languages yet")
            for cell, method, entry in zip(row, task.methods, entries, strict=True)
        ]
        rows.append(head)
        cells.append(tuple(flagged))
        plots.append(entries)
    for head in _language_heads(task):
        code = head.language.code if head.language else ""
        entries = tuple(method.language(code) for method in task.methods)
        found = [(d or {}).get("languages", {}).get(code) for d in against]
        rows.append(head)
        cells.append(tuple(_score(e, f, kind) for e, f in zip(entries, found, strict=True)))
        plots.append(entries)
    for name, texts in tables.training_rows(task):
        rows.append(Head(name, kind="training"))
        cells.append(tuple(Cell(_amount(t, m), t) for t, m in zip(texts, task.methods, strict=True)))
    rows_of = (tuple(rows), tuple(cells))
    return _fit(Grid("Language", "Method", method_heads(task.methods), *rows_of, tuple(plots)))


def _score(entry: Mapping[str, Any] | None, found: Mapping[str, Any] | None, kind: str | None) -> Cell:
    if entry is None:
        return EMPTY
    cell = Cell(entry["accuracy"], labels.percent(entry["accuracy"]), labels.bracket(entry["interval"]))
    return cell if kind is None else _signed(cell, found, kind)


def _signed(cell: Cell, found: Mapping[str, Any] | None, kind: str) -> Cell:
    if found is None or (p := found.get("holm", found["p"])) is None or p >= ALPHA:
        return cell
    above = found["difference"] > 0
    said = f"significantly {'above' if above else 'below'} {REFERENCES[kind]}"
    return replace(cell, sign="▲" if above else "▼", said=said)


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
    return _signed(Cell(value, _points(value), f"[{interval}]", shade=shade), entry, kind)


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
                    tuple(tuple(_score(entry, None, None) for entry in group.by_method) for group in found),
                )
            ),
        )
        for kind, found in task.groups.items()
        if len(found) > 1
    ]


def _count(number: int) -> str:
    return f"{number} languages" if number != 1 else "1 language"


def orders(task: TaskReport) -> Grid | None:
    """Rank correlation of the order of languages between methods; None where there are too few or too many."""
    if not 1 < len(task.methods) <= 2 * FEW:
        return None
    found = [[task.rank_correlation(first, second) for second in task.methods] for first in task.methods]
    if not any(rho is not None for row, own in zip(found, task.methods, strict=True) for rho in row if own):
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
        tuple(tuple(_score(entries.get(value), None, None) for entries in by_value) for value in values),
    )
