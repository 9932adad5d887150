"""What a report holds, ready to be drawn as a table or a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transfix.report import labels
from transfix.report.runs import RunRecord


@dataclass(frozen=True, slots=True)
class Method:
    """One column of a table: a run on the task.

    Attributes:
        label: its name, distinct within the report.
        summary: see `metrics.summarise`.
        against_base: this run minus the untrained model, see `metrics.difference`; None for the base or without one.
        complete: whether it has every language that the averages are taken over, so that they can be compared.
    """

    label: str
    run: RunRecord
    summary: Mapping[str, Any]
    against_base: Mapping[str, Any] | None
    complete: bool

    def language(self, code: str) -> Mapping[str, Any] | None:
        """`n`, `accuracy`, `interval` ... of a language; None if it has no row with gold there."""
        found: Mapping[str, Any] | None = self.summary["languages"].get(code)
        return found if found and found["n"] else None

    def macro(self, which: str) -> Mapping[str, Any] | None:
        """The average `all` or `without_english`."""
        found: Mapping[str, Any] | None = self.summary["macro"][which]
        return found


@dataclass(frozen=True, slots=True)
class Setting:
    """Something a table states: one value for all methods or, where they differ, each value with its methods."""

    name: str
    value: str | None
    by_method: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ExampleRow:
    """One row of the example browser.

    Attributes:
        texts: field -> text; empty where it is not at hand.
        answers: for each method, its answer and whether it is right; None where it has not answered.
    """

    id: str
    gold: str
    texts: Mapping[str, str]
    answers: tuple[tuple[str, bool] | None, ...]

    @property
    def right(self) -> int:
        """How many methods are right."""
        return sum(1 for answer in self.answers if answer and answer[1])

    @property
    def disagree(self) -> bool:
        """Whether two methods answer differently."""
        return len({answer[0] for answer in self.answers if answer}) > 1


@dataclass(frozen=True, slots=True)
class TaskReport:
    """One task: a table of languages by methods.

    Attributes:
        languages: English first, then the others from the highest to the lowest accuracy of the best method.
        averaged: the codes over which averages are taken, those that most methods have.
        methods: the columns.
        metric: what the numbers are: `accuracy`, `F1 (squad normaliser ...)`.
        further: (name, a text for each method): other metrics, averaged over the languages without English.
        chance: accuracy of a guess; None where the classes are not known.
        headline: the main result in one line; `claims`: what else the data supports, a sentence each.
        notes: what a reader must know before comparing.
        examples: rows by language code.
    """

    name: str
    title: str
    languages: tuple[labels.Spoken, ...]
    averaged: frozenset[str]
    methods: tuple[Method, ...]
    chance: float | None
    settings: tuple[Setting, ...]
    headline: str
    claims: tuple[str, ...]
    notes: tuple[str, ...]
    examples: Mapping[str, tuple[ExampleRow, ...]]
    metric: str = "accuracy"
    further: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def rows(self, code: str | None = None) -> str:
        """How many rows a language has, over the methods and, without `code`, over the languages."""
        codes = [code] if code else [language.code for language in self.languages]
        return labels.spread(
            entry["n"] for code in codes for method in self.methods if (entry := method.language(code)) is not None
        )

    def counted(self, what: str) -> list[str]:
        """Where prompts were `truncated` or rows `left_out` for want of gold: `LoRA: Russian 3, Thai 1`."""
        found = []
        for method in self.methods:
            counts = method.summary["languages"]
            named = [
                f"{lang.name} {counts[lang.code][what]}"
                for lang in self.languages
                if counts.get(lang.code, {}).get(what)
            ]
            if named:
                found.append(f"{method.label}: {', '.join(named)}")
        return found


@dataclass(frozen=True, slots=True)
class Report:
    """Everything the tables and the page show.

    Attributes:
        directory: where the runs are, as the caller named it.
        runs: every run found, also those without predictions, with its label.
        tasks: the widest table first.
        notes: what is unfinished or could not be read.
    """

    directory: str
    runs: tuple[tuple[str, RunRecord], ...]
    tasks: tuple[TaskReport, ...]
    notes: tuple[str, ...]

    @property
    def headline(self) -> str:
        """The main result in one line."""
        return self.tasks[0].headline if self.tasks else "No predictions yet"
