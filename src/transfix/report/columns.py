"""From runs to the columns of a task's table: seeds of a method together, each method beside what it is compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from transfix.errors import TransfixError
from transfix.report import labels
from transfix.report.contents import Differences, Method, reference
from transfix.runs import metrics
from transfix.runs.records import Predictions, RunRecord
from transfix.statistics import over_seeds
from transfix.statistics.bootstrap import Scored
from transfix.statistics.metrics import Metric


@dataclass(frozen=True, slots=True)
class Seeds:
    """Runs that differ by seed only.

    Attributes:
        label: distinct within the report.
        runs: by seed.
    """

    label: str
    runs: tuple[RunRecord, ...]

    def named(self, run: RunRecord) -> str:
        """How to call one of the runs: `LoRA, seed 1`."""
        return self.label if len(self.runs) == 1 else f"{self.label}, seed {run.spec.get('seed')}"


def seeds(runs: Sequence[RunRecord]) -> list[Seeds]:
    """The methods of a report, in the order of their columns."""
    groups = labels.seed_groups(runs)
    found = [Seeds(label, group) for label, group in zip(labels.group_labels(groups), groups, strict=True)]
    return sorted(found, key=lambda entry: (labels.order(entry.runs[0])[:2], labels.natural(entry.label)))


def columns(
    task: str, groups: Sequence[Seeds], notes: list[str]
) -> tuple[tuple[Method, ...], frozenset[str], Differences]:
    """The columns of a task, the codes of the languages that averages are over, and the differences between columns.

    Args:
        task: name of the results.
        groups: methods, of which those without predictions on the task are left out.
        notes: takes what a reader must know before comparing.
    """
    with_rows = [
        (group, runs) for group in groups if (runs := tuple(run for run in group.runs if run.predictions.get(task)))
    ]
    averaged = _averaged(_have(run, task) | _had(run, task) for _, runs in with_rows for run in runs)
    differences = Differences(averaged)
    methods = [_column(task, group, runs, averaged, notes) for group, runs in with_rows]
    return tuple(_against_base(method, methods, differences, notes) for method in methods), averaged, differences


def _have(run: RunRecord, task: str) -> frozenset[str]:
    """The languages in which a run has rows with gold."""
    return frozenset(code for code, predictions in run.predictions[task].items() if len(predictions.scored))


def _had(run: RunRecord, task: str) -> frozenset[str]:
    """The languages in which a run's rows are damaged: an average without them is not that over its languages."""
    return frozenset(run.damaged.get(task, ()))


def _averaged(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    """The languages of the averages: those that most runs have, so that one unfinished run does not change them."""
    counts = Counter(sets)
    return max(counts, key=lambda codes: (counts[codes], len(codes), sorted(codes)), default=frozenset())


def _column(task: str, group: Seeds, runs: tuple[RunRecord, ...], averaged: frozenset[str], notes: list[str]) -> Method:
    # a seed that is not finished would leave its own few languages to all seeds
    whole = tuple(run for run in runs if _have(run, task) >= averaged)
    used = whole or (max(runs, key=lambda run: len(_have(run, task))),)
    for run in runs:
        if run not in used:
            count = len(_have(run, task) & averaged)
            notes.append(f"{group.named(run)} has {count} of {len(averaged)} languages: it is not in its column")
    scored = [{code: predictions.scored for code, predictions in run.predictions[task].items()} for run in used]
    try:
        rows = over_seeds.together(scored)
    except TransfixError as error:
        notes.append(f"the seeds of {group.label} do not go together ({error}): the first is shown alone")
        used, scored = used[:1], scored[:1]
        rows = over_seeds.together(scored)
    own = {code for code, row in rows.items() if len(row)}
    summary = _summary(scored, averaged)
    if left := summary["unpaired"]:
        notes.append(f"{group.label}: {left:,} rows that not every seed answered are not counted")
    if not own >= averaged:
        notes.append(
            f"{group.label} has {len(own & averaged)} of {len(averaged)} languages: do not compare its averages"
        )
    further = _further(task, group.label, used, averaged, notes)
    return Method(group.label, used, rows, summary, None, own >= averaged, further)


def _summary(seeds: Sequence[Mapping[str, Scored]], averaged: frozenset[str]) -> dict[str, Any]:
    """The scores of a method in all its languages, and its averages over those that averages are over."""
    summary = over_seeds.summary_of(seeds)
    own = {code for code, entry in summary["languages"].items() if entry["n"]}
    if not own <= averaged and own & averaged:
        part = over_seeds.summary_of([{c: row for c, row in one.items() if c in averaged} for one in seeds])
        summary |= {"macro": part["macro"], "transfer_gap": part["transfer_gap"]}
    return summary


def _further(
    task: str, label: str, runs: Sequence[RunRecord], averaged: frozenset[str], notes: list[str]
) -> dict[str, Mapping[str, Any]]:
    """The summaries of a method's further metrics, by name; one that cannot be computed is in the notes."""
    given = [run.predictions[task] for run in runs]
    wanted: dict[str, tuple[Metric, list[dict[str, Predictions]]]] = {}
    for number, languages in enumerate(given):
        for code, predictions in languages.items():
            for metric in metrics.further(predictions.meta, predictions.columns):
                seeds = wanted.setdefault(metric.name, (metric, [{} for _ in given]))[1]
                seeds[number][code] = predictions
    found: dict[str, Mapping[str, Any]] = {}
    for name, (metric, seeds) in wanted.items():
        try:
            rows = [{c: metrics.rows(metric, p.columns, p.meta, p.file) for c, p in one.items()} for one in seeds]
            summary = _summary(rows, averaged)
        except TransfixError as error:
            notes.append(f"{metric.title} of {label} is not shown: {str(error).splitlines()[0]}")
            continue
        found[name] = {part: summary[part] for part in ("languages", "macro")}
    return found


def _against_base(method: Method, methods: Sequence[Method], differences: Differences, notes: list[str]) -> Method:
    base = reference(methods, method, "base")
    if base is None:
        return method
    try:
        found = differences.of(method, base)
    except TransfixError as error:
        notes.append(f"{method.label} cannot be compared with the base: {error}")
        return method
    if found["unpaired"]:
        notes.append(
            f"{method.label} and the base: {found['unpaired']:,} rows that only one has are not in their difference"
        )
    return replace(method, against_base=found if found["languages"] else None)
