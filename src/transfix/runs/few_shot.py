"""Rows shown with their answers before each question (few-shot prompting). Never rows that are measured."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path

from transfix import data, tasks
from transfix.data import Example, FilesSource
from transfix.data.files import has_language_column
from transfix.errors import TransfixError
from transfix.runs.settings import Evaluation
from transfix.statistics.one_run import ENGLISH
from transfix.tasks import Task


def shots(evaluation: Evaluation, task: Task, code: str, asked: Sequence[Example]) -> str:
    """The exemplars of a language as the text before every prompt; empty without few-shot prompting.

    The same rows for every question, so that the model reads them once.

    Args:
        evaluation: its `few_shot` says how many, and from where.
        task: what is asked, in the form that is asked.
        code: the language that is asked in.
        asked: the rows that are measured; none of them is shown.

    Raises:
        TransfixError: if there are no such rows, too few, or they would be rows that are measured.
    """
    wanted = evaluation.few_shot
    if wanted is None:
        return ""
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
    # the form of the question, in the exemplar's own language where the form has one for it
    texts = [task.prompt(row) + task.target(row) + task.form.separator for row in chosen]
    return "".join(texts)


def require_alike(task: Task, other: Task, what: str) -> None:
    """Refuses rows of another task that cannot stand beside a task's own; `what` is the setting, for the message.

    Raises:
        TransfixError: if they are of another kind, or have other fields or classes.
    """
    if other.kind != task.kind or other.classes != task.classes or set(other.fields) != set(task.fields):
        raise TransfixError(f"{what}: rows of {other.name} have other fields or answers than those of {task.name}.")


def text_of(task: Task, row: Example) -> tuple[str, ...]:
    """What a row asks: rows with the same texts are the same question, whatever else they carry."""
    return tuple(row.fields[name] for name in task.fields)


def texts_of(task: Task, rows: Iterable[Example]) -> set[tuple[str, ...]]:
    """What rows ask."""
    return {text_of(task, row) for row in rows}


def require_language(task: Task, source: object, codes: Sequence[str], what: str, own: bool) -> None:
    """Refuses a file that does not say which language its rows are in, where it would be read as another than English.

    Args:
        task: whose rows they are.
        source: where they are.
        codes: the languages they are wanted in.
        what: the setting, for the message.
        own: whether the setting names the file itself; then it may be of the one language that is named.

    Raises:
        TransfixError: if one file without a language column would be read as several languages, or as another one.
    """
    parsed = data.parse_source(source)
    if not isinstance(parsed, FilesSource) or "{lang}" in parsed.files:
        return
    if set(codes) <= {ENGLISH} or (own and len(codes) == 1):
        return
    path = Path(parsed.files.replace("{split}", task.train_split or task.default_split)).expanduser()
    if path.is_file() and has_language_column(path, parsed, task.benchmark):
        return
    raise TransfixError(
        f"{what}: {parsed.files} is one file without a column `language`, so it cannot hold rows in {', '.join(codes)}: "
        "write {lang} in the path, add the column, or name another file with data: {files: ...}."
    )


def _measured_in(task: Task, evaluation: Evaluation, split: str, code: str) -> list[Example]:
    """The measured rows in the exemplars' own language, as far as there are any: parallel rows say the same."""
    try:
        return data.load(task.benchmark, evaluation.data, code, split)
    except TransfixError:
        return []


def draw(rows: Sequence[Example], count: int, seed: int, classes: Sequence[str] = ()) -> list[Example]:
    """`count` rows by the seed; of a choice as many of each class as can be, in mixed order."""
    order = random.Random(seed)
    if len(rows) <= count:
        return list(rows)
    if not classes:
        return order.sample(list(rows), count)
    groups = [
        order.sample(group, len(group)) for name in classes if (group := [row for row in rows if row.label == name])
    ]
    taken = [row for rank in zip(*(group + [None] * count for group in groups), strict=False) for row in rank if row]
    chosen = taken[:count]
    order.shuffle(chosen)
    return chosen
