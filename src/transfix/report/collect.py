"""From run directories to what a report says: every number is computed here, from the predictions on disk."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transfix.config import limits
from transfix.errors import TransfixError
from transfix.report import claims, columns, curves, labels, settings
from transfix.report.contents import ExampleRow, Method, Report, TaskReport
from transfix.runs import calibration
from transfix.runs.records import Predictions, RunRecord, find, read
from transfix.runs.store.files import UnreadableError, read_adapter
from transfix.statistics import metrics, one_run

EXAMPLES = 30
"""Rows of a language that the page shows: the first ones, so that nobody picked them."""

ONE_ANSWER = 0.9
"""From this share of equal answers on, a method is said to give one answer whatever it reads."""

ExampleLookup = Callable[[str, str, Mapping[str, Any]], Mapping[str, Mapping[str, str]]]
"""`lookup(task, language, meta)` gives the texts of rows, id -> {field: text}; `meta` is what the predictions
file says of its split and data. Called once a task and language. Ids that it does not know are shown without text."""


def collect(
    directory: str | os.PathLike[str],
    examples: ExampleLookup | None = None,
    only: Collection[str] | None = None,
    unfinished: Sequence[str] | None = None,
) -> Report:
    """Read all runs of a run store, or one run, and compute what can be said of them.

    Args:
        directory: a run store, a folder above it, or one run directory.
        examples: gives the texts of rows for the page's browser, see `ExampleLookup`.
        only: names of runs; the others, and notes on them, are left out. `None` is all.
        unfinished: what a study says of its runs that are not done, in place of what each of them looks like. `None`
            where the runs are of no study.

    Raises:
        TransfixError: `directory` holds no run at all, or not one of `only`. Runs that are torn, foreign or unfinished
            are no error: `notes` says what is left out.
    """
    paths, notes = find(Path(directory))
    if only is not None:
        if absent := sorted(set(only) - {path.name for path in paths}):
            raise TransfixError(f"{directory} has no run {', '.join(absent)}")
        paths, notes = [path for path in paths if path.name in only], []
    if len(paths) > limits.RUNS_REPORTED:
        raise TransfixError(
            f"{directory} holds {len(paths):,} runs; a report shows at most {limits.RUNS_REPORTED:,}: give a folder of them, "
            f"or list them all with `transfix runs {directory}`."
        )
    records = list(map(read, paths))
    damage = [what for run in records for what in run.damage]
    for run in records:  # which curves look at
        try:
            read_adapter(run.path)
        except UnreadableError as error:
            notes.append(f"run {run.name}: {error.path.name} cannot be read ({error.reason})")
            damage.append(
                f"{error.path}: `transfix train {run.path}/spec.yaml --runs {run.path.parent}` says what to do"
            )
    if known := [run for run in records if run.spec]:  # else what it is would be a guess
        notes += [f"{note}: it is left out" for run in records if not run.spec for note in run.notes]
        records = known
    methods = columns.seeds(sorted(records, key=labels.order))
    runs = tuple((entry.named(run), run) for entry in methods for run in entry.runs)
    for _, run in runs:
        notes.extend(run.notes if unfinished is not None else (*run.notes, *run.lacking))
    notes[:0] = unfinished or ()
    tasks = dict.fromkeys(task for _, run in runs for task in run.predictions)
    reports = [found for task in tasks for found in _with_calibrated(task, methods, examples)]
    reports = [report for report in reports if report.languages]
    reports.sort(key=lambda report: (-len(report.languages) * len(report.methods), report.name, report.calibration))
    return Report(str(directory), runs, tuple(reports), tuple(notes), curves.curves(reports), tuple(damage))


def _with_calibrated(task: str, groups: Sequence[columns.Seeds], lookup: ExampleLookup | None) -> list[TaskReport]:
    """A task's answers as they were given, and calibrated if all runs can be."""
    raw = _task(task, groups, lookup)
    form = next(iter(calibration.forms([run for group in groups for run in group.runs], task)), None)
    if form is None:
        return [raw]
    moved = [
        replace(group, runs=tuple(calibration.calibrated(run, task, form) for run in group.runs)) for group in groups
    ]
    found = _task(task, moved, None, form)
    words = calibration.FORMS[form]
    return [replace(raw, claims=(f"{words[0].upper()}{words[1:]}: {found.headline}.", *raw.claims)), found]


def _task(
    task: str, groups: Sequence[columns.Seeds], lookup: ExampleLookup | None, form: calibration.Form | None = None
) -> TaskReport:
    notes: list[str] = [calibration.NOTE.format(rows=calibration.ROWS[form])] if form else []
    methods, averaged, differences = columns.columns(task, groups, notes)
    for method in methods:
        notes.extend(_one_answer(method, task))
    notes.extend(note for method in methods for note in _other_sources(method, averaged))
    codes = dict.fromkeys(code for method in methods for code in method.rows if method.language(code))
    if extra := [labels.spoken(code).name for code in codes if code not in averaged]:
        notes.append(f"not in the averages, because not every method has them: {labels.listing(extra)}")
    metas = [(m.label, [p.meta for run in m.runs for p in run.predictions[task].values()]) for m in methods]
    notes.extend(settings.not_alike(metas))
    chance = _chance([meta for _, found in metas for meta in found])
    languages = _in_order([labels.spoken(code) for code in codes], methods)
    examples = _examples(task, languages, [method.run for method in methods], lookup, notes)
    title = labels.TASKS.get(task, task) + (f", {calibration.FORMS[form]}" if form else "")
    headline, sentences = claims.claims(title, methods, chance, differences)
    return TaskReport(
        metric=next((str(m["metric_title"]) for _, found in metas for m in found if m.get("metric_title")), "accuracy"),
        metrics=tuple(map(metrics.get, dict.fromkeys(name for method in methods for name in method.further))),
        unread=_unread(task, methods, averaged),
        calibration=form or "",
        name=task,
        title=title,
        languages=languages,
        averaged=averaged,
        methods=methods,
        chance=chance,
        settings=(*settings.asked(metas), *settings.trained([(method.label, method.runs) for method in methods])),
        headline=headline,
        claims=tuple(sentences),
        notes=tuple(notes),
        examples=examples,
        differences=differences,
    )


def _chance(metas: Sequence[Mapping[str, Any]]) -> float | None:
    """Score of a guess, as the predictions say it; None if they do not, or not alike."""
    given = [float(meta["chance"]) for meta in metas if isinstance(meta.get("chance"), float)]
    if given:  # rows with fewer options than the task has classes
        return sum(given) / len(given)
    sizes = {len(classes) for meta in metas if isinstance(classes := meta.get("classes"), list)}
    return 1 / size if len(sizes) == 1 and (size := sizes.pop()) else None


def _unread(task: str, methods: Sequence[Method], averaged: frozenset[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """How many generated answers hold no result, averaged over the same languages, without English."""
    codes = sorted(averaged - {one_run.ENGLISH}) or sorted(averaged)

    def share(method: Method) -> str:
        values = []
        for run in method.runs:
            for code in codes:
                predictions = run.predictions[task].get(code)
                cells = predictions.columns.get("parsed") if predictions else None
                known = [not cell for cell in cells or () if cell is not None]
                if not known:
                    return "–"
                values.append(sum(known) / len(known))
        return labels.percent(sum(values) / len(values)) if values else "–"

    if not any("parsed" in p.columns for m in methods for run in m.runs for p in run.predictions[task].values()):
        return ()
    scope = "without English" if one_run.ENGLISH in averaged and len(averaged) > 1 else "average"
    return ((f"Answers without a result in %, {scope}", tuple(map(share, methods))),)


def _in_order(languages: Sequence[labels.Spoken], methods: Sequence[Method]) -> tuple[labels.Spoken, ...]:
    best = claims.best(methods)

    def key(language: labels.Spoken) -> tuple[bool, float, str]:
        entry = best.language(language.code) if best else None
        return language.code != one_run.ENGLISH, -entry["score"] if entry else 1.0, language.name

    return tuple(sorted(languages, key=key))


def _one_answer(method: Method, task: str) -> list[str]:
    """A note if a method gives one answer nearly always: its score then says how often that class occurs."""
    counts, answers, most = [], dict[str, None](), 0
    for run in method.runs:
        of_run = [_overwhelming(predictions) for predictions in run.predictions[task].values()]
        found = [answer for answer in of_run if answer is not None]
        counts.append(len(found))
        answers.update(dict.fromkeys(found))
        most = max(most, len(of_run))
    if not any(counts):
        return []
    seeds = f" ({labels.listing([str(count) for count in counts])} by seed)" if len(set(counts)) > 1 else ""
    number = f"up to {max(counts)}" if seeds else str(counts[0])
    return [
        f"{method.label} answers {' or '.join(answers)} on at least {100 * ONE_ANSWER:.0f}{labels.NO_BREAK}% of the rows "
        f"in {number} of {most} languages{seeds}: there it hardly looks at the text"
    ]


def _other_sources(method: Method, averaged: frozenset[str]) -> list[str]:
    """A note if a method learned a language that counts among those it is to be transferred to."""
    learned = (method.run.spec.get("train") or {}).get("languages") or ()
    names = [labels.spoken(code).name for code in learned if code != one_run.ENGLISH and code in averaged]
    if not names:
        return []
    return [
        f"{method.label} was trained on rows in {labels.listing(names)}: its average without English is not all "
        "transfer, and its gap is still that between English and the others"
    ]


def _overwhelming(predictions: Predictions) -> str | None:
    """The answer that nearly all rows of a language are given, if there is one."""
    if len(predictions) < 20:
        return None
    answers = Counter(map(str, predictions.columns["answer"])).most_common(1)
    return answers[0][0] if answers and answers[0][1] >= ONE_ANSWER * len(predictions) else None


def _examples(
    task: str,
    languages: Sequence[labels.Spoken],
    runs: Sequence[RunRecord],
    lookup: ExampleLookup | None,
    notes: list[str],
) -> dict[str, tuple[ExampleRow, ...]]:
    shown: dict[str, tuple[ExampleRow, ...]] = {}
    for language in languages:
        found = [run.predictions[task].get(language.code) for run in runs]
        rows = [_by_id(predictions) if predictions else {} for predictions in found]
        first = next(answers for answers in rows if answers)
        ids = [name for name in first if all(name in answers for answers in rows if answers)] or list(first)
        texts: Mapping[str, Mapping[str, str]] = {}
        if lookup is not None:
            meta = next(predictions.meta for predictions in found if predictions)
            try:
                texts = lookup(task, language.code, meta)
            except TransfixError as error:
                notes.append(f"the texts of {language.name} are not shown: {str(error).splitlines()[0]}")
        shown[language.code] = tuple(
            ExampleRow(
                name,
                first[name][1],
                texts.get(name, {}),
                tuple((answers[name][0], answers[name][2]) if name in answers else None for answers in rows),
            )
            for name in ids[:EXAMPLES]
        )
    return shown


def _by_id(predictions: Predictions) -> dict[str, tuple[str, str, bool]]:
    """Answer, gold and whether it is right, by id, of the rows that have gold."""
    columns = predictions.columns
    return {
        str(name): ("" if answer is None else str(answer), str(gold), score == 1)
        for name, answer, gold, score in zip(
            columns["id"], columns["answer"], columns["gold"], columns["score"], strict=True
        )
        if gold is not None
    }
