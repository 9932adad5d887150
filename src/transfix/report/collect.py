"""From run directories to what a report says: every number is computed here, from the predictions on disk."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transfix.errors import TransfixError
from transfix.evaluation import metrics
from transfix.report import claims, labels, settings
from transfix.report.contents import ExampleRow, Method, Report, TaskReport
from transfix.report.runs import Predictions, RunRecord, find, read

EXAMPLES = 30
"""Rows of a language that the page shows: the first ones, so that nobody picked them."""

ONE_ANSWER = 0.9
"""From this share of equal answers on, a method is said to give one answer whatever it reads."""

ExampleLookup = Callable[[str, str, Mapping[str, Any]], Mapping[str, Mapping[str, str]]]
"""`lookup(task, language, meta)` gives the texts of rows, id -> {field: text}; `meta` is what the predictions
file says of its split and data. Called once a task and language. Ids that it does not know are shown without text."""


def collect(
    directory: str | os.PathLike[str], examples: ExampleLookup | None = None, only: Collection[str] | None = None
) -> Report:
    """Read all runs of a run store, or one run, and compute what can be said of them.

    Args:
        directory: a run store, a folder above it, or one run directory.
        examples: gives the texts of rows for the page's browser, see `ExampleLookup`.
        only: names of runs; the others, and notes on them, are left out. `None` is all.

    Raises:
        TransfixError: `directory` holds no run at all, or not one of `only`. Runs that are torn, foreign or unfinished
            are no error: `notes` says what is left out.
    """
    paths, notes = find(Path(directory))
    if only is not None:
        if absent := sorted(set(only) - {path.name for path in paths}):
            raise TransfixError(f"{directory} has no run {', '.join(absent)}")
        paths, notes = [path for path in paths if path.name in only], []
    runs = sorted((read(path) for path in paths), key=labels.order)
    names = labels.run_labels(runs)
    for run in runs:
        notes.extend(run.notes)
    tasks = dict.fromkeys(task for run in runs for task in run.predictions)
    reports = [
        _task(task, [(names[run.name], run) for run in runs if run.predictions.get(task)], examples) for task in tasks
    ]
    reports = [report for report in reports if report.languages]
    reports.sort(key=lambda report: (-len(report.languages) * len(report.methods), report.name))
    return Report(str(directory), tuple((names[run.name], run) for run in runs), tuple(reports), tuple(notes))


def _frames(run: RunRecord, task: str) -> dict[str, Mapping[str, list[Any]]]:
    return {code: predictions.columns for code, predictions in run.predictions.get(task, {}).items()}


def _task(task: str, runs: Sequence[tuple[str, RunRecord]], lookup: ExampleLookup | None) -> TaskReport:
    notes: list[str] = []
    summaries = {run.name: metrics.summarise(_frames(run, task), None) for _, run in runs}
    have = {
        name: frozenset(code for code, entry in summary["languages"].items() if entry["n"])
        for name, summary in summaries.items()
    }
    averaged = _averaged(have.values())
    methods = []
    for label, run in runs:
        summary, own = summaries[run.name], have[run.name]
        if not own <= averaged and own & averaged:
            part = metrics.summarise({code: f for code, f in _frames(run, task).items() if code in averaged}, None)
            summary = summary | {"macro": part["macro"], "transfer_gap": part["transfer_gap"]}
        against = _against_base(task, label, run, [other for _, other in runs], averaged, notes)
        methods.append(Method(label, run, summary, against, own >= averaged))
        if not own >= averaged:
            notes.append(f"{label} has {len(own & averaged)} of {len(averaged)} languages: do not compare its averages")
        notes.extend(_one_answer(label, run, task))
    codes = dict.fromkeys(code for _, run in runs for code in run.predictions[task] if code in have[run.name])
    if extra := [labels.spoken(code).name for code in codes if code not in averaged]:
        notes.append(f"not in the averages, because not every method has them: {labels.listing(extra)}")
    metas = [(label, [p.meta for p in run.predictions[task].values()]) for label, run in runs]
    notes.extend(settings.not_alike(metas))
    sizes = {len(classes) for _, found in metas for meta in found if isinstance(classes := meta.get("classes"), list)}
    chance = 1 / size if len(sizes) == 1 and (size := sizes.pop()) else None
    given = [float(m["chance"]) for _, found in metas for m in found if isinstance(m.get("chance"), float)]
    if given:  # rows with fewer options than the task has classes
        chance = sum(given) / len(given)
    languages = _in_order([labels.spoken(code) for code in codes], methods)
    examples = _examples(task, languages, [run for _, run in runs], lookup, notes)
    title = labels.TASKS.get(task, task)
    headline, sentences = claims.claims(
        title, methods, chance, lambda run: {c: f for c, f in _frames(run, task).items() if c in averaged}
    )
    return TaskReport(
        metric=next((str(m["metric_title"]) for _, found in metas for m in found if m.get("metric_title")), "accuracy"),
        further=_further(task, [run for _, run in runs], averaged),
        name=task,
        title=title,
        languages=languages,
        averaged=averaged,
        methods=tuple(methods),
        chance=chance,
        settings=(*settings.asked(metas), *settings.trained(runs)),
        headline=headline,
        claims=tuple(sentences),
        notes=tuple(notes),
        examples=examples,
    )


def _further(task: str, runs: Sequence[RunRecord], averaged: frozenset[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Other metrics of generated answers, averaged over the same languages, without English."""
    codes = sorted(averaged - {metrics.ENGLISH}) or sorted(averaged)

    def mean(run: RunRecord, column: str, wanted: Callable[[Any], float]) -> str:
        values = []
        for code in codes:
            predictions = run.predictions[task].get(code)
            cells = predictions.columns.get(column) if predictions else None
            known = [wanted(cell) for cell in cells or () if cell is not None]
            if not known:
                return "–"
            values.append(sum(known) / len(known))
        return labels.percent(sum(values) / len(values)) if values else "–"

    columns = dict.fromkeys(
        column
        for run in runs
        for p in run.predictions[task].values()
        for column in p.columns
        if column.startswith(metrics.METRIC)
    )
    scope = "without English" if metrics.ENGLISH in averaged and len(averaged) > 1 else "average"
    rows = [
        (
            f"{column.removeprefix(metrics.METRIC).replace('_', ' ').capitalize()}, {scope}",
            tuple(mean(r, column, float) for r in runs),
        )
        for column in columns
    ]
    if any("parsed" in p.columns for run in runs for p in run.predictions[task].values()):
        shares = tuple(mean(run, "parsed", lambda parsed: float(not parsed)) for run in runs)
        rows.append((f"Answers without a result in %, {scope}", shares))
    return tuple(rows)


def _averaged(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    """The languages of the averages: those that most methods have, so that one unfinished run does not change them."""
    counts = Counter(sets)
    return max(counts, key=lambda codes: (counts[codes], len(codes), sorted(codes)), default=frozenset())


def _in_order(languages: Sequence[labels.Spoken], methods: Sequence[Method]) -> tuple[labels.Spoken, ...]:
    best = claims.best(methods)

    def key(language: labels.Spoken) -> tuple[bool, float, str]:
        entry = best.language(language.code) if best else None
        return language.code != metrics.ENGLISH, -entry["accuracy"] if entry else 1.0, language.name

    return tuple(sorted(languages, key=key))


def _against_base(
    task: str,
    label: str,
    run: RunRecord,
    others: Sequence[RunRecord],
    averaged: frozenset[str],
    notes: list[str],
) -> Mapping[str, Any] | None:
    bases = [other for other in others if other.is_base and other.spec.get("model") == run.spec.get("model")]
    if run.is_base or not bases:
        return None
    first, second = _frames(run, task), _frames(bases[0], task)
    shared = [code for code in first if code in second and code in averaged]
    try:
        found = metrics.difference({code: first[code] for code in shared}, {code: second[code] for code in shared})
    except TransfixError as error:
        notes.append(f"{label} cannot be compared with the base: {error}")
        return None
    if found["unpaired"]:
        notes.append(f"{label} and the base: {found['unpaired']:,} rows that only one has are not in their difference")
    return found if found["languages"] else None


def _one_answer(label: str, run: RunRecord, task: str) -> list[str]:
    """A note if a method gives one answer nearly always: its accuracy then says how often that class occurs."""
    found: dict[str, int] = {}
    for predictions in run.predictions[task].values():
        answers = Counter(map(str, predictions.columns["answer"]))
        if (
            len(predictions) >= 20
            and answers
            and (top := answers.most_common(1)[0])[1] >= ONE_ANSWER * len(predictions)
        ):
            found[top[0]] = found.get(top[0], 0) + 1
    return [
        f"{label} answers {answer} on at least {100 * ONE_ANSWER:.0f}{labels.NO_BREAK}% of the rows in {count} of "
        f"{len(run.predictions[task])} languages: there it hardly looks at the text"
        for answer, count in found.items()
    ]


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
