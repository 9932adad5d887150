"""The lines of a task's table, the same for every form it is printed in: averages, groups on request, languages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from transfix.report import labels
from transfix.report.contents import Kind, Method, TaskReport
from transfix.statistics import one_run
from transfix.statistics.tests import ALPHA

MARKS = {"base": "*", "lora": "°"}
"""What stands behind a number that differs from that of its reference."""

UNFINISHED = "†"
"""What stands behind an average of a method that has not all its languages."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table.

    Attributes:
        kind: an average over languages, a group of languages (see `TaskReport.grouped`), or a language.
        key: `without_english`, `all`; the group's name; the language's code.
        name: what it is called.
        entries: for each method `score`, `interval`, `sd`; None where it has none.
        marks: for each method what stands behind its number.
        over: the codes that an average is over, of a method that has them all.
    """

    kind: Literal["average", "group", "language"]
    key: str
    name: str
    entries: tuple[Mapping[str, Any] | None, ...]
    marks: tuple[str, ...]
    over: frozenset[str] = frozenset()


def lines(task: TaskReport, by: Kind | None = None) -> Iterator[Line]:
    """The lines of a table in their order."""
    for which, name in macro_rows(task):
        entries = tuple(method.macro(which) for method in task.methods)
        marks = tuple(
            significance(task, method, which) + ("" if method.complete else UNFINISHED) for method in task.methods
        )
        over = task.averaged if which == "all" else task.averaged - {one_run.ENGLISH}
        yield Line("average", which, name, entries, marks, over)
    for group in task.grouped(by) if by else ():
        name = f"{group.name[0].upper()}{group.name[1:]} ({len(group.codes)})"
        marks = tuple(UNFINISHED if e and e["languages"] < len(group.codes) else "" for e in group.by_method)
        yield Line("group", group.name, name, group.by_method, marks, frozenset(group.codes))
    for language in task.languages:
        entries = tuple(method.language(language.code) for method in task.methods)
        marks = tuple(significance(task, method, language.code) for method in task.methods)
        yield Line("language", language.code, language.name, entries, marks)


def macro_rows(task: TaskReport) -> list[tuple[str, str]]:
    """The averages a table shows: (`without_english` or `all`, its name). None over a single language."""
    count = len(task.averaged)
    if count < 2:
        return []
    if one_run.ENGLISH not in task.averaged:
        return [("all", f"Average of {count} languages")]
    return [("without_english", f"Average without English ({count - 1})"), ("all", f"Average with English ({count})")]


def against(task: TaskReport, method: Method, kind: str, key: str) -> Mapping[str, Any] | None:
    """The difference of a method to its reference in a language or an average; in a language `holm` is there too."""
    found = task.against(method, kind)
    if not found:
        return None
    entry: Mapping[str, Any] | None = found["macro" if key in found["macro"] else "languages"].get(key)
    return entry


def significance(task: TaskReport, method: Method, key: str) -> str:
    """The marks of a trained method in a language or an average."""
    if method.run.is_base:
        return ""
    entries = {kind: against(task, method, kind, key) for kind in task.references}
    return "".join(MARKS[kind] for kind, e in entries.items() if e and e.get("holm", e["p"]) < ALPHA)


def legend(task: TaskReport) -> str:
    """What the marks mean; empty where there are none to expect."""
    words = []
    for kind in task.references:
        others = {found.label for m in task.methods if not m.run.is_base and (found := task.reference(m, kind))}
        if others:
            what = "the base model" if kind == "base" else labels.listing(sorted(others))
            words.append(f"{MARKS[kind]} differs from {what}")
    if not words:
        return ""
    correction = "averages: p below 0.05; languages: p below 0.05 after Holm's correction over them"
    return f"{', '.join(words)} ({correction})"
