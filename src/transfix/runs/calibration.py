"""Predictions of choices as they are after calibration: other answers and scores from the same log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from transfix.runs.records import Predictions, RunRecord
from transfix.runs.store.label_means import LabelMeans
from transfix.statistics import calibration, one_run
from transfix.statistics.bootstrap import ENGLISH, LEVEL, Floats, resample

Form = Literal["unlabelled", "batch", "content_free"]
FORMS: dict[Form, str] = {
    "unlabelled": "calibrated on unlabelled rows",
    "batch": "calibrated on the rows asked",
    "content_free": "calibrated on prompts without content",
}
"""What the means are taken over, in words. The first that all runs of a report have is shown."""

NOTE = (
    "Calibration: in every language each label's log-probability is moved by the distance of its mean over {rows} from "
    "English's, which takes out what the model prefers whatever the text says; no label is used, and English is not moved"
)
ROWS: dict[Form, str] = {
    "unlabelled": "unlabelled rows that are not asked",
    "batch": "the other rows asked (in tenths: a row is not moved by itself)",
    "content_free": "prompts without content",
}

FEWEST = 30
"""Rows a language below which its mean says little: no batch calibration."""


def forms(records: Sequence[RunRecord], task: str) -> list[Form]:
    """The forms of calibration that every run with predictions on a task has."""
    with_rows = [record for record in records if record.predictions.get(task)]
    return [form for form in FORMS if with_rows and all(_can(record, task, form) for record in with_rows)]


def _can(record: RunRecord, task: str, form: Form) -> bool:
    found = record.predictions[task]
    if any(one.options is None for one in found.values()):
        return False
    if form == "batch":
        return ENGLISH in found and min(map(len, found.values())) >= FEWEST
    means = record.label_means.get(task)
    if means is None or not set(means.by_form.get(form, ())) >= {*found, *([ENGLISH] if form == "unlabelled" else [])}:
        return False
    return all(_asked_alike(means, one) and _apart(means, form, one) for one in found.values())


def _asked_alike(means: LabelMeans, predictions: Predictions) -> bool:
    """Whether rows were asked as those were that the means are of."""
    return list(means.classes) == predictions.meta.get("classes") and all(
        predictions.meta.get(name) == value for name, value in means.asked.items()
    )


def _apart(means: LabelMeans, form: Form, predictions: Predictions) -> bool:
    """Whether none of the rows asked is among those that its language's mean is of."""
    own = means.by_form[form][predictions.file.stem]
    return form != "unlabelled" or set(own.ids).isdisjoint(predictions.columns["id"])


def calibrated(record: RunRecord, task: str, form: Form) -> RunRecord:
    """A run whose answers and scores on one task are the calibrated ones; it must have the form, see `forms`."""
    found = record.predictions.get(task)
    if not found:
        return record
    scores = {code: _options(one) for code, one in found.items()}
    if form == "batch":
        moved = calibration.batch(scores)
    else:
        means = {code: np.array(one.mean) for code, one in record.label_means[task].by_form[form].items()}
        target = np.zeros(len(record.label_means[task].classes)) if form == "content_free" else means[ENGLISH]
        moved = {code: calibration.moved(own, means[code], target) for code, own in scores.items()}
    answered = {code: _answered(one, moved[code], form) for code, one in found.items()}
    return replace(record, predictions={**record.predictions, task: answered})


def _options(predictions: Predictions) -> Floats:
    assert predictions.options is not None
    return predictions.options


def _answered(predictions: Predictions, scores: Floats, form: Form) -> Predictions:
    classes = [str(name) for name in predictions.meta["classes"]]
    answers = calibration.chosen(scores, classes)
    golds = predictions.columns["gold"]
    right = [None if gold is None else float(answer == gold) for answer, gold in zip(answers, golds, strict=True)]
    columns = {**predictions.columns, "answer": answers, "score": right}
    meta = {**predictions.meta, "calibration": form}
    return replace(
        predictions,
        columns=columns,
        meta=meta,
        options=scores,
        scored=one_run.scored(columns, predictions.file.stem),
    )


def summaries(record: RunRecord, task: str) -> dict[str, Any]:
    """`languages`, `macro` and `transfer_gap` of a run on one task, see `one_run.summary_of`, by form of calibration."""
    found: dict[str, Any] = {}
    for form in forms([record], task):
        rows = {code: one.scored for code, one in calibrated(record, task, form).predictions[task].items()}
        summary = one_run.summary_of(rows, resample(rows), LEVEL)
        found[form] = {part: summary[part] for part in ("languages", "macro", "transfer_gap")}
    return found
