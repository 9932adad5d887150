"""Predictions of choices as they are after calibration: other answers and scores from the same log-probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from transfix.runs.records import Predictions, RunRecord
from transfix.statistics import calibration, one_run
from transfix.statistics.bootstrap import ENGLISH, Floats

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
    with_rows = [found for record in records if (found := record.predictions.get(task))]
    return [form for form in FORMS if with_rows and all(_can(found, form) for found in with_rows)]


def _can(predictions: Mapping[str, Predictions], form: Form) -> bool:
    if ENGLISH not in predictions or any(found.options is None for found in predictions.values()):
        return False
    return form == "batch" and min(map(len, predictions.values())) >= FEWEST


def calibrated(record: RunRecord, task: str, form: Form) -> RunRecord:
    """A run whose answers and scores on one task are the calibrated ones; it must have the form, see `forms`."""
    found = record.predictions.get(task)
    if not found:
        return record
    scores = calibration.batch({code: _options(one) for code, one in found.items()})
    moved = {code: _answered(one, scores[code], form) for code, one in found.items()}
    return replace(record, predictions={**record.predictions, task: moved})


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
