"""Rows a run takes from elsewhere than its evaluation: to train on, in other languages besides, and as exemplars."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

from transfix import data, tasks
from transfix.config import places
from transfix.data import Example, FilesSource, Rows
from transfix.data.files import has_language_column
from transfix.errors import TransfixError
from transfix.runs.settings import Train
from transfix.runs.specification import RunSpec
from transfix.statistics.one_run import ENGLISH
from transfix.tasks import Task


def training_rows(settings: Train, task: Task) -> tuple[list[Example], int]:
    """The rows to train on and to keep for development, and how many bad ones were skipped.

    Raises:
        DataError: with every bad row, unless `on_bad_rows: skip` is set.
    """
    split = settings.split or task.train_split or task.default_split
    read = [_read(task, settings.data, code, split, settings.on_bad_rows) for code in settings.codes]
    return [row for rows in read for row in rows.examples], sum(rows.skipped for rows in read)


def exposure_rows(settings: Train, task: Task, seed: int) -> tuple[list[Example], int]:
    """The rows of other languages to train on besides, and how many bad ones were skipped.

    Raises:
        TransfixError: they would be of the split that is reported, or there are too few.
    """
    wanted = settings.exposure
    if wanted is None:
        return [], 0
    other = tasks.get(wanted.task or settings.task)
    require_alike(task, other, "exposure")
    split = wanted.split or other.train_split
    if split is None:
        raise TransfixError(f"exposure: {other.name} has no training split; name one with split: ...")
    if other.benchmark.split(split) == other.benchmark.split(other.default_split) and other.train_split != split:
        raise TransfixError(
            f"exposure: {split} is the split of {other.name} that is reported; training on it would leave nothing to "
            "measure. Name another one."
        )
    found: list[Example] = []
    skipped = 0
    source = wanted.data or other.source("train")
    require_language(other, source, wanted.languages, "exposure", own=wanted.data is not None)
    for code in wanted.languages:
        read = _read(other, source, code, split, settings.on_bad_rows)
        skipped += read.skipped
        labelled = [row for row in read.examples if row.label is not None]
        if len(labelled) < wanted.rows:
            raise TransfixError(
                f"exposure: {wanted.rows} rows were asked for, {other.name} has {len(labelled)} in {code}."
            )
        found += draw(labelled, wanted.rows, seed, task.classes)
    return found, skipped


def require_unmeasured(spec: RunSpec, task: Task, exposed: Sequence[Example]) -> None:
    """Refuses exposure rows that an evaluation of the same specification measures.

    Raises:
        TransfixError: with how many there are.
    """
    for number, evaluation in enumerate(spec.evaluate if exposed else ()):
        measured = tasks.get(evaluation.task)
        if set(measured.fields) != set(task.fields):
            continue
        for code in dict.fromkeys(row.language for row in exposed):
            split = evaluation.split or measured.default_split
            try:
                rows = data.load(measured.benchmark, evaluation.data, code, split)
            except TransfixError:
                continue  # nothing is measured in that language
            shared = texts_of(task, rows) & texts_of(task, [row for row in exposed if row.language == code])
            if shared:
                raise TransfixError(
                    f"exposure: {len(shared)} of the rows in {code} are rows that evaluate[{number}] ({evaluation.task}, "
                    f"{split}) measures; training on them would leave nothing to measure. Name other rows."
                )


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
    path = places.expanded(parsed.files.replace("{split}", task.train_split or task.default_split))
    if places.kind(path) == "file" and has_language_column(path, parsed, task.benchmark):
        return
    raise TransfixError(
        f"{what}: {parsed.files} is one file without a column `language`, so it cannot hold rows in {', '.join(codes)}: "
        "write {lang} in the path, add the column, or name another file with data: {files: ...}."
    )


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


def _read(task: Task, source: object, code: str, split: str, on_bad_rows: Any) -> Rows:
    return data.read(task.benchmark, source, code, split, on_bad_rows=on_bad_rows)
