"""The further metrics of a task as tables show them: a row a method, a column a metric, their average without English."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transfix.report.contents import Method, TaskReport
from transfix.report.lines import UNFINISHED, macro_rows
from transfix.statistics.metrics import Metric


@dataclass(frozen=True, slots=True)
class Column:
    """One further metric.

    Attributes:
        entries: for each method `score`, `interval`, `sd`; None where it has none.
        marks: for each method what stands behind its number.
    """

    metric: Metric
    entries: tuple[Mapping[str, Any] | None, ...]
    marks: tuple[str, ...]


def columns(task: TaskReport) -> list[Column]:
    """The further metrics, averaged over languages as `scope` says."""
    key = _key(task)
    marks = tuple("" if method.complete else UNFINISHED for method in task.methods)
    return [
        Column(metric, tuple(entry(method, metric.name, key) for method in task.methods), marks)
        for metric in task.metrics
    ]


def scope(task: TaskReport) -> str:
    """What the numbers are of: `average without English (14)`, or the one language there is."""
    rows = macro_rows(task)
    name = rows[0][1] if rows else task.languages[0].name
    return f"{name[0].lower()}{name[1:]}" if rows else name


def _key(task: TaskReport) -> str:
    rows = macro_rows(task)
    return rows[0][0] if rows else task.languages[0].code


def entry(method: Method, metric: str, key: str) -> Mapping[str, Any] | None:
    """A further metric of a method in an average (`without_english`, `all`) or a language; None where it has none."""
    summary = method.further.get(metric)
    if summary is None:
        return None
    found: Mapping[str, Any] | None = summary["macro" if key in summary["macro"] else "languages"].get(key)
    return found if found and found["score"] is not None else None


def signatures(task: TaskReport) -> list[tuple[str, str]]:
    """By which others can check that they compute the same: (title of a metric, its signatures)."""
    said = []
    for metric in task.metrics:
        entries = [entry(method, metric.name, lang.code) for method in task.methods for lang in task.languages]
        found = dict.fromkeys(e["signature"] for e in entries if e and "signature" in e)
        if found:
            said.append((metric.title, ", ".join(found)))
    return said
