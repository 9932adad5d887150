"""Rows shown with their answers before each question (few-shot prompting). Never rows that are measured."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

from transfix import data, tasks
from transfix.data import Example
from transfix.errors import TransfixError
from transfix.runs.rows import draw, require_alike, require_language, text_of, texts_of
from transfix.runs.settings import Evaluation
from transfix.statistics.one_run import ENGLISH
from transfix.tasks import Task
from transfix.tasks.templates import Filled


def shots(evaluation: Evaluation, task: Task, code: str, asked: Sequence[Example]) -> Filled:
    """The exemplars of a language as the text before every prompt; empty without few-shot prompting.

    The same rows for every question, so that the model reads them once.

    Args:
        evaluation: its `few_shot` says how many, and from where.
        task: what is asked, with the prompt template that is asked.
        code: the language that is asked in.
        asked: the rows that are measured; none of them is shown.

    Raises:
        TransfixError: if there are no such rows, too few, or they would be rows that are measured.
    """
    wanted = evaluation.few_shot
    if wanted is None:
        return Filled("")
    usual = task.exemplars
    if wanted.task is None and usual is None:
        raise TransfixError(
            f"few_shot: {task.name} has no usual source of exemplars; name one: few_shot: {{task: ..., split: ...}}"
        )
    other = tasks.get(wanted.task or (usual.task if usual else task.name))
    require_alike(task, other, "few_shot")
    language = wanted.language or (usual.language if usual else "english")
    spoken = {"english": ENGLISH, "target": code}.get(language, language)
    usual_split = usual.split if usual is not None and wanted.task is None else other.train_split
    split = wanted.split or usual_split
    if split is None:
        raise TransfixError(f"few_shot: {other.name} has no training split; name one with split: ...")
    measured = task.benchmark.split(evaluation.split or task.default_split)
    if other.name == task.name and other.benchmark.split(split) == measured:
        raise TransfixError(
            f"few_shot: {split} is the split of {task.name} that is measured; exemplars must come from another one."
        )
    source = wanted.data or other.source("train")
    require_language(other, source, (spoken,), "few_shot", own=wanted.data is not None)
    rows = data.load(other.benchmark, source, spoken, split, None, evaluation.on_bad_rows)
    hidden = texts_of(task, [*asked, *_measured_in(task, evaluation, measured, spoken)])
    rows = [row for row in rows if row.label is not None and text_of(task, row) not in hidden]
    chosen = draw(rows, wanted.shots, wanted.seed, task.classes)
    if len(chosen) < wanted.shots:
        raise TransfixError(
            f"few_shot: {wanted.shots} exemplars were asked for, {other.name} {split} has {len(rows)} in {spoken}."
        )
    # the template of the question, in the exemplar's own language where it has a prompt for that
    texts = [task.prompt(row) + task.target(row) + task.prompt_template.separator for row in chosen]
    return functools.reduce(operator.add, texts, Filled(""))


def _measured_in(task: Task, evaluation: Evaluation, split: str, code: str) -> list[Example]:
    """The measured rows in the exemplars' own language, as far as there are any: parallel rows say the same."""
    try:
        return data.load(task.benchmark, evaluation.data, code, split)
    except TransfixError:
        return []
