"""What a report holds, ready to be drawn as a table or a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from transfix.errors import TransfixError
from transfix.report import labels
from transfix.runs.records import RunRecord
from transfix.statistics import one_run, over_seeds, tests
from transfix.statistics.bootstrap import ENGLISH, Scored
from transfix.statistics.metrics import Metric

REFERENCES = ("base", "lora")
"""The kinds of method that the others are compared with."""

Kind = Literal["script", "family", "resources"]
KINDS: tuple[Kind, ...] = ("script", "family", "resources")
"""What languages can be grouped by."""


@dataclass(frozen=True, slots=True)
class Method:
    """One column of a table: the runs on a task that differ by seed only.

    Attributes:
        label: its name, distinct within the report.
        runs: one a seed, by seed.
        rows: the rows that all seeds answered, by language code, see `over_seeds.together`.
        summary: see `over_seeds.summary_of`; averages are over the languages of the task's averages.
        against_base: this method minus the untrained model, see `over_seeds.difference_of`; None for the base or
            without one.
        complete: whether it has every language that the averages are taken over, so that they can be compared.
        further: the same summaries of its further metrics, by their names; only `languages` and `macro`.
    """

    label: str
    runs: tuple[RunRecord, ...]
    rows: Mapping[str, Scored] = field(repr=False)
    summary: Mapping[str, Any]
    against_base: Mapping[str, Any] | None
    complete: bool
    further: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    @property
    def run(self) -> RunRecord:
        """The run of the first seed."""
        return self.runs[0]

    @property
    def seeds(self) -> int:
        """How many seeds it was trained with."""
        return len(self.runs)

    @property
    def is_lora(self) -> bool:
        """Whether it is LoRA and nothing else."""
        return [part["method"] for part in self.run.parts] == ["lora"]

    def training(self, key: str) -> Any:
        """A fact of the training; the mean over seeds where it is a number that differs; None where it is not known."""
        values = [value for run in self.runs if (value := (run.training or {}).get(key)) is not None]
        if not values or all(value == values[0] for value in values):
            return values[0] if values else None
        return sum(values) / len(values) if all(isinstance(value, (int, float)) for value in values) else values[0]

    def language(self, code: str) -> Mapping[str, Any] | None:
        """`n`, `score`, `interval`, `sd` ... of a language; None if it has no row with gold there."""
        found: Mapping[str, Any] | None = self.summary["languages"].get(code)
        return found if found and found["n"] else None

    def macro(self, which: str) -> Mapping[str, Any] | None:
        """The average `all` or `without_english`."""
        found: Mapping[str, Any] | None = self.summary["macro"][which]
        return found


@dataclass(slots=True, eq=False)
class Differences:
    """The differences between the methods of a task, each computed when it is first asked for, then kept.

    Attributes:
        averaged: the codes that differences are over.
    """

    averaged: frozenset[str]
    _found: dict[tuple[str, str], Mapping[str, Any] | TransfixError] = field(default_factory=dict)

    def of(self, first: Method, second: Method) -> Mapping[str, Any]:
        """First minus second, see `over_seeds.difference_of`.

        Raises:
            TransfixError: their gold answers differ.
        """
        key = first.label, second.label
        if key not in self._found:
            rows = [{c: row for c, row in m.rows.items() if c in self.averaged} for m in (first, second)]
            seeds = [[run.spec.get("seed") for run in method.runs] for method in (first, second)]
            paired = seeds[0] == seeds[1] or first.seeds == second.seeds == 1
            try:
                self._found[key] = over_seeds.difference_of(*rows, paired=paired)
            except TransfixError as error:
                self._found[key] = error
        found = self._found[key]
        if isinstance(found, TransfixError):
            raise found
        return found


@dataclass(frozen=True, slots=True)
class Group:
    """The average of some languages that have a script, a family or a resource class in common.

    Attributes:
        name: `Latin`, `Indo-European`, `class 5`.
        codes: the languages, without English.
        by_method: `score`, `interval`, `sd`, `languages` of each method; None where it has none of them.
    """

    name: str
    codes: tuple[str, ...]
    by_method: tuple[Mapping[str, Any] | None, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """One method in a curve.

    Attributes:
        x: the setting as a number.
        label: of the method in the tables.
        all, without_english, english: `score` and `interval`; None where it has none.
    """

    x: float
    label: str
    all: Mapping[str, Any] | None
    without_english: Mapping[str, Any] | None
    english: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Series:
    """Methods that differ in one setting only, by that setting.

    Attributes:
        label: what they are, without the setting.
    """

    label: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """How the score goes with one numeric setting.

    Attributes:
        task: the name of the task.
        title: the task's title.
        setting: `tokens`, `layers`, `rank`, `rows`, `temperature`, `top_p` or `model size`.
    """

    task: str
    title: str
    setting: str
    series: tuple[Series, ...]


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
        answers: for each method, the answer of its first seed and whether it is right; None where it has not answered.
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
        calibration: how the answers were calibrated, see `runs.calibration.FORMS`; empty for those that were given.
        languages: English first, then the others from the highest to the lowest score of the best method.
        averaged: the codes over which averages are taken, those that most methods have.
        methods: the columns.
        metric: what the numbers are: `accuracy`, `F1 (squad normaliser ...)`.
        metrics: the further metrics, those that some method has.
        unread: (name, a text for each method): the share of generated answers without a result; empty for choices.
        chance: score of a guess; None where the classes are not known.
        headline: the main result in one line; `claims`: what else the data supports, a sentence each.
        notes: what a reader must know before comparing.
        examples: rows by language code.
        differences: of any two methods, computed when asked for.
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
    differences: Differences = field(repr=False, compare=False)
    metric: str = "accuracy"
    metrics: tuple[Metric, ...] = ()
    unread: tuple[tuple[str, tuple[str, ...]], ...] = ()
    calibration: str = ""
    _groups: dict[Kind, tuple[Group, ...]] = field(default_factory=dict, repr=False, compare=False)

    def difference(self, first: Method, second: Method) -> Mapping[str, Any] | None:
        """First minus second on the rows both have, see `over_seeds.difference_of`; None where they have none."""
        try:
            found = self.differences.of(first, second)
        except TransfixError:
            return None
        return found if found["languages"] else None

    @property
    def references(self) -> tuple[str, ...]:
        """Which of `REFERENCES` some method here can be compared with."""
        return tuple(kind for kind in REFERENCES if any(self.reference(method, kind) for method in self.methods))

    def reference(self, method: Method, kind: str) -> Method | None:
        """The method of a kind (`base`, `lora`) that another is compared with; None if there is none, and for itself."""
        return reference(self.methods, method, kind)

    def against(self, method: Method, kind: str) -> Mapping[str, Any] | None:
        """The difference of a method to its reference."""
        other = self.reference(method, kind)
        return self.difference(method, other) if other else None

    def rank_correlation(self, first: Method, second: Method) -> float | None:
        """Spearman's rho between the scores of two methods over the languages without English; None if undefined."""
        return rank_correlation(first, second, self.averaged)

    def grouped(self, kind: Kind) -> tuple[Group, ...]:
        """The averages by `script`, `family` or `resources`, of the languages of the averages without English."""
        if kind not in self._groups:
            self._groups[kind] = _grouped(self, kind)
        return self._groups[kind]

    @property
    def groups(self) -> Mapping[Kind, tuple[Group, ...]]:
        """`grouped` by each kind."""
        return {kind: self.grouped(kind) for kind in KINDS}

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
        runs: every run found, also those without predictions, with its label (`LoRA, seed 1` where there are several).
        tasks: the widest table first.
        notes: what is unfinished or could not be read.
        damage: of each damaged file what to do about it: what it held is in none of the numbers.
        curves: where methods differ in one numeric setting only, how the score goes with it.
    """

    directory: str
    runs: tuple[tuple[str, RunRecord], ...]
    tasks: tuple[TaskReport, ...]
    notes: tuple[str, ...]
    curves: tuple[Curve, ...] = ()
    damage: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """The main result in one line."""
        return self.tasks[0].headline if self.tasks else "No predictions yet"


def reference(methods: Sequence[Method], method: Method, kind: str) -> Method | None:
    """The method of a kind that another is compared with: on the same model, of several the best without English."""

    def is_one(other: Method) -> bool:
        return other.run.is_base if kind == "base" else other.is_lora

    def score(other: Method) -> tuple[bool, float]:
        main = other.macro("without_english") or other.macro("all")
        return other.complete, main["score"] if main else -1.0

    model = method.run.spec.get("model")
    found = max((m for m in methods if is_one(m) and m.run.spec.get("model") == model), key=score, default=None)
    return None if found is None or found.label == method.label or (kind == "base" and is_one(method)) else found


def rank_correlation(first: Method, second: Method, averaged: frozenset[str]) -> float | None:
    """Spearman's rho between the scores of two methods over some languages without English; None if undefined."""
    codes = sorted(averaged - {ENGLISH})
    return tests.rank_correlation(*({c: e["score"] for c in codes if (e := m.language(c))} for m in (first, second)))


def _grouped(task: TaskReport, kind: Kind) -> tuple[Group, ...]:
    codes = [*(language.code for language in task.languages), *sorted(task.averaged)]  # some may be damaged everywhere
    spoken = [labels.spoken(code) for code in dict.fromkeys(codes) if code in task.averaged - {ENGLISH}]
    names: dict[str, list[str]] = {}
    for language in spoken:
        names.setdefault(language.group(kind), []).append(language.code)
    rows = [{code: row for code, row in method.rows.items() if code in task.averaged} for method in task.methods]
    found: dict[str, list[Mapping[str, Any] | None]] = {name: [] for name in names}
    for of_method in rows:
        draws = over_seeds.draws_of(of_method)
        for name, codes in names.items():
            here = [code for code in codes if code in draws.points]
            average = one_run.average(draws, here)
            found[name].append(average and average | {"sd": over_seeds.deviation(of_method, here)})
    order = sorted(names, key=lambda name: (-len(names[name]), name))
    if kind == "resources":  # the most resources first
        order = sorted(names, reverse=True)
    return tuple(Group(name, tuple(names[name]), tuple(found[name])) for name in order)
