"""Measures which label a run prefers in a language, on unlabelled rows of the user's, and keeps it with the run."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from transfix import languages
from transfix.data import Example, OnBadRows
from transfix.data.by_language import OwnRow, RowsByLanguage, read_by_language
from transfix.errors import TransfixError, visible
from transfix.runs.answering import Session
from transfix.runs.continuing import as_begun
from transfix.runs.own_calibration import FEWEST, FORM, differences, named
from transfix.runs.own_rows import ask, example_of, optional_fields, own_asked_as, own_task
from transfix.runs.progress import Display
from transfix.runs.store.label_means import LabelMean, LabelMeans
from transfix.runs.whole import adapter_digest
from transfix.statistics import calibration
from transfix.statistics.bootstrap import ENGLISH

if TYPE_CHECKING:
    from transfix.runs.store import Run
    from transfix.tasks import Task

FEW = 30
"""Rows below which it is said that there are few."""

ROWS = 256
"""Rows a language that are asked if there are more: the mean of more rows is hardly another one."""


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The rows of a language that are asked, by their place among its rows."""

    examples: Mapping[int, Example]
    names: Mapping[int, str]


def calibrate(
    run: Run,
    source: str | Path,
    codes: Collection[str] | None = None,
    rows: int = ROWS,
    display: Display | None = None,
    on_bad_rows: OnBadRows = "error",
) -> LabelMeans:
    """Measures the mean log-probability of each label over unlabelled rows of each language, and keeps it with the run.

    `predict` then answers rows of these languages calibrated. A language that was measured before is measured anew; the
    others are kept, unless rows are asked in another way now, or by another adapter.

    Args:
        run: trained, on a choice between labels (or `base`, measured on one).
        source: a path with `{lang}` for the language's code or name, or a file whose rows have a column `language`; jsonl,
            csv, tsv, parquet or Arrow with the task's fields. Labels in it are not looked at.
        codes: codes or names; only these languages, and English if it was not measured yet. `None` is all that are there.
        rows: at most so many a language, in a mixed order that is the same in all: of parallel files parallel rows are taken.
        display: where progress is shown.
        on_bad_rows: `skip` leaves bad rows out and says so.

    Returns:
        All means that the run has now: log-probabilities (natural logarithm), centred over the classes.

    Raises:
        TransfixError: the task is not a choice, rows are bad, a language has fewer than `FEWEST` different ones, there are
            none of English or of one of `codes`, or what was kept is damaged. Nothing is kept then.
    """
    display = display or Display()
    if rows < FEWEST:
        raise TransfixError(f"rows is {rows}, and a mean is of {FEWEST} rows a language at least.")
    codes = None if codes is None else [languages.get(code).code for code in codes]
    task = own_task(run)
    if task.kind != "choice":
        raise TransfixError(
            f"{run.path} answers {task.name} with texts: only choices between labels are calibrated, and it has none."
        )
    with run.lock():
        asked, adapter = own_asked_as(run, task), adapter_digest(run)
        kept, dropped = _kept(run, task, asked, adapter)
        means = dict(kept.by_form.get(FORM, {}))
        found = _read(task, source, codes, ENGLISH in means, on_bad_rows)
        chosen = {code: _chosen(task, code, own, rows) for code, own in found.rows.items()}
        _require_enough({code: len(own.examples) for code, own in chosen.items()}, source, ENGLISH in means, codes)
        run.require_trained()
        session, left_out = Session(run), [f"{problem.where}: {problem.what}" for problem in found.problems]
        with as_begun(run, display):
            session.load()
            total = sum(len(own.examples) for own in chosen.values())
            with display.bar(f"Calibrating {run.spec.title} on {task.name}", total) as bar:
                for code, own in chosen.items():
                    answers, bad = ask(session, task, code, own.examples, own.names, bar.advance, on_bad_rows)
                    left_out += [f"{own.names[place]}: {what}" for place, what in bad.items()]
                    _require_enough({code: len(answers)}, source, has_english=True, wanted=None)
                    scores = np.array([answer.scores for answer in answers.values()], dtype=np.float64)
                    mean = tuple(map(float, calibration.mean(scores)))
                    means[code] = LabelMean(mean, len(answers), source=str(source))
        whole = replace(kept, by_form={FORM: means})
        run.write_own_label_means(whole)
    _say(display, means, list(chosen), left_out, found, dropped)
    return whole


def _kept(run: Run, task: Task, asked: Mapping[str, object], adapter: str | None) -> tuple[LabelMeans, str]:
    """The means that new ones stand beside, and what is to be said of those that they cannot stand beside."""
    kept = run.own_label_means()
    if kept is None:
        return LabelMeans(asked, task.classes, adapter=adapter), ""
    if not (what := differences(kept, task, asked, adapter)):
        return kept, ""
    gone = named(kept.by_form.get(FORM, {}))
    said = f"What was measured before ({gone}) is gone: rows are asked otherwise now ({what})."
    return LabelMeans(asked, task.classes, adapter=adapter), said


def _read(
    task: Task, source: str | Path, codes: Collection[str] | None, has_english: bool, on_bad_rows: OnBadRows
) -> RowsByLanguage:
    wanted = None if codes is None else list(dict.fromkeys([*codes, *([] if has_english else [ENGLISH])]))
    found = read_by_language(source, task.benchmark, task.fields, optional_fields(task), wanted, on_bad_rows)
    if absent := [code for code in codes or () if code not in found.rows]:
        there = f"; it has rows of {named(found.rows)}" if found.rows else ""
        raise TransfixError(f"--input {source} has no rows of {named(absent)}{there}.")
    return found


def _chosen(task: Task, code: str, own: Sequence[OwnRow], most: int) -> _Chosen:
    """Different rows of a language, in the order of their places' digests: the same places in every language."""
    places: dict[tuple[tuple[str, str], ...], int] = {}
    examples = [example_of(task, place, row.values, code) for place, row in enumerate(own)]
    for place, example in enumerate(examples):
        places.setdefault(tuple(example.fields.items()), place)
    mixed = sorted(places.values(), key=lambda place: hashlib.sha256(str(place).encode()).digest())[:most]
    return _Chosen({place: examples[place] for place in mixed}, {place: own[place].name for place in mixed})


def _require_enough(
    counts: Mapping[str, int], source: str | Path, has_english: bool, wanted: Collection[str] | None
) -> None:
    """Refuses languages with too few rows, and rows of other languages alone."""
    if ENGLISH not in counts and not has_english:
        place = "`en` or `eng_Latn` in the place of {lang}" if "{lang}" in str(source) else "`language`: en"
        also = " (--languages need not name it)" if wanted else ""
        raise TransfixError(
            f"--input {source} has no English rows, and the run has none measured: a language's preference is what it has "
            f"beside English's. Add unlabelled English rows of the same kind, with {place}{also}."
        )
    if few := {code: count for code, count in counts.items() if count < FEWEST}:
        said = ", ".join(f"{languages.get(code).name} has {count}" for code, count in few.items())
        raise TransfixError(
            f"--input {source}: a mean is of {FEWEST} different rows a language at least, and {said}. Add rows, or leave the "
            "language out (--languages). Nothing was kept."
        )


def _say(
    display: Display,
    means: Mapping[str, LabelMean],
    measured: Sequence[str],
    left_out: Sequence[str],
    found: RowsByLanguage,
    dropped: str,
) -> None:
    if dropped:
        display.say(visible(dropped))
    for path in found.no_language:
        display.say(visible(f"{path} was not read: its name has no language where {{lang}} stands."))
    if left_out:
        display.say(visible(f"{len(left_out):,} bad rows were left out. The first: {left_out[0]}"))
    if few := {code: means[code].rows for code in measured if means[code].rows < FEW}:
        said = ", ".join(f"{languages.get(code).name} {count}" for code, count in few.items())
        display.say(
            f"Few rows ({said}): the mean of fewer than {FEW} is a rough one. More unlabelled rows make it better."
        )
