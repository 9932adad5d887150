"""Measures which label a run prefers in a language whatever the text says: the mean score of each over unlabelled rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from transfix import data
from transfix.data import Example
from transfix.runs.answering import Session
from transfix.runs.continuing import as_begun
from transfix.runs.evaluation import described, inference_settings
from transfix.runs.few_shot import shots
from transfix.runs.progress import Display
from transfix.runs.rows import text_of
from transfix.runs.settings import Evaluation
from transfix.runs.store import Run
from transfix.runs.store.label_means import LabelMean, LabelMeans
from transfix.runs.training import task_of
from transfix.runs.whole import adapter_digest
from transfix.statistics import calibration
from transfix.statistics.bootstrap import ENGLISH
from transfix.tasks import Task

NEUTRAL = ("", "N/A", "[MASK]")
"""What stands in place of every field in a prompt without content (Zhao et al. 2021, arXiv:2102.09690, section 4)."""

SHARED = 25
"""Characters from which on a field that two rows have in common makes them neighbours: a premise, a passage."""

DESCRIBED = ("template", "form", "verbaliser", "prompt_language", "few_shot", "few_shot_source", "model", "dtype",
             "max_tokens", "scoring", "quantization")  # fmt: skip
"""What of `describe` decides scores; not which rows are asked."""


def measure_preference(session: Session, evaluation: Evaluation, display: Display) -> None:
    """Measures what is missing of an evaluation's `calibration`, and keeps it with the run.

    Raises:
        TransfixError: rows cannot be read, or what is kept is damaged.
    """
    wanted = evaluation.calibration
    run, task = session.run, task_of(evaluation)
    if wanted is None or task.kind != "choice":
        return
    split = evaluation.split or task.default_split
    asked = asked_as(run, evaluation, task, split)
    adapter = adapter_digest(run)
    kept = run.label_means(evaluation.result)
    is_of_another = kept is not None and None not in (adapter, kept.adapter) and kept.adapter != adapter
    if kept is None or kept.asked != asked or kept.classes != task.classes or is_of_another:
        kept = LabelMeans(asked, task.classes, adapter=adapter)
    codes = dict.fromkeys([ENGLISH, *evaluation.codes] if ENGLISH in task.languages else evaluation.codes)
    rows = {code: unasked(evaluation, task, code, split) for code in codes} if wanted.rows else {}
    source = json.dumps(evaluation.model_dump(mode="json")["data"])
    forms: dict[str, dict[str, tuple[str, list[Example]]]] = {}
    if wanted.rows:
        forms["unlabelled"] = {code: (source, found[: wanted.rows]) for code, found in rows.items() if found}
    if wanted.content_free:
        forms["content_free"] = {code: ("", without_content(task, code)) for code in codes}
    for form, by_language in forms.items():
        missing = {
            code: (origin, chosen)
            for code, (origin, chosen) in by_language.items()
            if (old := kept.by_form.get(form, {}).get(code)) is None or old.ids != tuple(row.id for row in chosen)
        }
        if not missing:
            continue
        means = dict(kept.by_form.get(form, {}))
        count = sum(len(chosen) for _, chosen in missing.values())
        with as_begun(run, display):
            session.load()
            with display.bar(f"Calibrating {run.spec.title} on {evaluation.result}", count) as bar:
                for code, (origin, chosen) in missing.items():
                    how = inference_settings(evaluation, shots(evaluation, task, code, chosen))
                    means[code] = mean_of(session, task, chosen, how, origin, bar.advance)
        kept = replace(kept, by_form={**kept.by_form, form: means})
        run.write_label_means(evaluation.result, kept)


def asked_as(run: Run, evaluation: Evaluation, task: Task, split: str) -> dict[str, Any]:
    """What decides the scores of a row beside its text and the adapter."""
    said = described(run, evaluation, task, split)
    return {name: said[name] for name in DESCRIBED if name in said}


def mean_of(
    session: Session, task: Task, rows: Sequence[Example], how: Any, source: str, advance: Any = None
) -> LabelMean:
    """The mean of each label over rows, whose labels are not looked at."""
    answers = session.answers(task, [replace(row, label=None) for row in rows], advance, how)
    mean = calibration.mean(np.array([answer.scores for answer in answers], dtype=np.float64))
    return LabelMean(tuple(map(float, mean)), len(rows), tuple(row.id for row in rows), source)


def unasked(evaluation: Evaluation, task: Task, code: str, split: str) -> list[Example]:
    """The rows of a language that are not measured and have no text in common with those that are, in a mixed order.

    The order is that of the ids' digests: the same in every language, so that parallel rows are taken.
    """
    found = data.read(task.benchmark, evaluation.data, code, split, None, on_bad_rows=evaluation.on_bad_rows).examples
    asked = found[: evaluation.limit]
    texts = {text for row in asked for text in row.fields.values() if len(text) >= SHARED}
    whole = {text_of(task, row) for row in asked}
    rest = [
        row for row in found[len(asked) :] if texts.isdisjoint(row.fields.values()) and text_of(task, row) not in whole
    ]
    return sorted(rest, key=lambda row: hashlib.sha256(row.id.encode()).digest())


def without_content(task: Task, code: str) -> list[Example]:
    """Rows whose fields say nothing."""
    return [
        Example(f"content-free-{number}", code, dict.fromkeys(task.fields, text), None)
        for number, text in enumerate(NEUTRAL)
    ]
