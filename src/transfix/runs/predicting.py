"""Answers a user's own rows with a run's model, and writes them with their answers, in their order."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfix import languages, tasks
from transfix.config.places import kind
from transfix.data import Example, OnBadRows
from transfix.data.answered import columns_of, content_of, form_of
from transfix.data.rows import is_empty
from transfix.data.unlabelled import OwnRows, read_own_rows
from transfix.errors import TransfixError
from transfix.runs.answering import Answer, InferenceSettings, Session
from transfix.runs.evaluation import inference_settings
from transfix.runs.few_shot import shots
from transfix.runs.progress import Display
from transfix.runs.training import task_of
from transfix.storage import atomic
from transfix.tasks.reader import UnreadableTextError

if TYPE_CHECKING:
    from transfix.runs.store import Run
    from transfix.tasks import Task


def skipped_file(target: Path) -> Path:
    """Where the rows are named that were left out of an output."""
    return target.with_name(f"{target.name}.skipped.jsonl")


def predict(
    run: Run, source: Path, target: Path, display: Display | None = None, on_bad_rows: OnBadRows = "error"
) -> int:
    """Answers the rows of a file: each gets `answer`, and `probabilities` or the `generated_text`. Returns how many.

    Rows are asked as the specification's evaluation of the same kind of task asks (its exemplars, lengths, sampling). The
    output is jsonl, csv, tsv or parquet by its name, has all columns of the input in its order, and is whole if it exists.

    Args:
        run: whose model is asked.
        source: jsonl, csv, tsv, parquet or Arrow with the task's fields.
        target: the file to write.
        display: where progress is shown.
        on_bad_rows: `skip` leaves bad rows out and names them in `skipped_file`.

    Raises:
        TransfixError: if rows are bad and not to be skipped, or `target` exists already.
    """
    display = display or Display()
    _require_place(target)
    if on_bad_rows == "skip":
        _require_place(skipped_file(target))
    on = run.spec.train or next(iter(run.spec.evaluate), None)
    if on is None:
        raise TransfixError(f"{run.path}: its specification names no task. Add `evaluate: {{task: xnli}}` to it.")
    task = task_of(on)
    optional = [name for name in task.benchmark.optional if name not in task.fields]
    own = read_own_rows(source, task.fields, optional, lambda row: _problems(task, row), on_bad_rows)
    added = columns_of(form_of(target), _added(task, Answer("", "", False, (0.0,) * len(task.classes), task.classes)))
    if taken := sorted({name for row in own.rows for name in added if name in row}):
        raise TransfixError(
            f"{source}: rows have {' and '.join(taken)} already, which would be overwritten: rename it."
        )
    examples = [_example(task, index, row) for index, row in enumerate(own.rows)]
    session = Session(run)
    answers: dict[int, Answer] = {}
    unreadable: dict[int, str] = {}
    with display.bar(f"Answering {source.name}", len(own.rows)) as bar:
        for code in dict.fromkeys(example.language for example in examples):
            places = [place for place, example in enumerate(examples) if example.language == code]
            how = _asking(run, task, code, [examples[place] for place in places])
            try:
                found = session.answers(task, [examples[place] for place in places], bar.advance, how)
            except UnreadableTextError as error:
                said = session.unreadable(task, [examples[place] for place in places], how)
                bad = {places[index]: what for index, what in said.items()}
                if not bad:
                    raise
                if on_bad_rows == "error":
                    place, what = next(iter(bad.items()))
                    raise TransfixError(f"{own.names[place]}: {what}") from error
                unreadable |= bad
                places = [place for place in places if place not in bad]
                found = session.answers(task, [examples[place] for place in places], bar.advance, how)
            answers |= zip(places, found, strict=True)
    _write(task, own, answers, unreadable, source, target)
    return len(answers)


def _write(
    task: Task, own: OwnRows, answers: Mapping[int, Answer], unreadable: Mapping[int, str], source: Path, target: Path
) -> None:
    """The answers, and before them what was left out: an output that exists lacks no row that is not named."""
    kept = sorted(answers)
    skipped = [(problem.where, problem.what) for problem in own.problems]
    skipped += [(own.names[place], what) for place, what in sorted(unreadable.items())]
    if not kept:
        raise TransfixError(f"{source}: none of its rows can be asked. The first: {skipped[0][0]}: {skipped[0][1]}")
    content = content_of(
        target,
        [own.rows[place] for place in kept],
        [_added(task, answers[place]) for place in kept],
        source,
        [own.places[place] for place in kept],
    )
    if skipped:
        lines = [json.dumps({"row": where, "problem": what}, ensure_ascii=False) for where, what in skipped]
        atomic.write_file(skipped_file(target), "\n".join(lines) + "\n")
    atomic.write_file(target, content)


def _added(task: Task, answer: Answer) -> dict[str, Any]:
    """What a row gets."""
    if task.kind == "choice":
        return {"answer": answer.answer, "probabilities": answer.probabilities}
    return {"answer": answer.answer, "generated_text": answer.text}


def _asking(run: Run, task: Task, code: str, examples: Sequence[Example]) -> InferenceSettings | None:
    asking = next((entry for entry in run.spec.evaluate if tasks.get(entry.task).family == task.family), None)
    return inference_settings(asking, shots(asking, task, code, examples)) if asking else None


def _require_place(target: Path) -> None:
    if kind(target) != "missing":
        raise TransfixError(f"{target} exists already: name another file, or move it away.")
    if kind(target.parent) != "directory":
        raise TransfixError(f"{target}: there is no directory {target.parent}: make it first, or name another file.")
    if not os.access(target.parent, os.W_OK):
        raise TransfixError(f"{target}: the directory {target.parent} may not be written to: name another file.")


def _problems(task: Task, row: Mapping[str, object]) -> list[str]:
    """What is wrong with the language that a row says it is in (only prompts that differ by language need it)."""
    said = row.get("language")
    if not is_empty(said):
        try:
            languages.get(str(said))
        except TransfixError as error:
            return ["; ".join(str(error).splitlines())]
        return []
    by_language = [
        key
        for part in (task.prompt_template.prompt, task.prompt_template.labels)
        if "default" not in part
        for key in part
    ]
    if not by_language:
        return []
    return [
        f"template {task.template_name!r} asks differently in each language: give the row its "
        f"`language` ({', '.join(dict.fromkeys(by_language))})"
    ]


def _example(task: Task, index: int, row: Mapping[str, object]) -> Example:
    """A user's row as an example, in the language it says it is in."""
    said = row.get("language")
    code = "und" if is_empty(said) else languages.get(str(said)).code
    there = [name for name in task.benchmark.optional if isinstance(row.get(name), str) and str(row[name]).strip()]
    return Example(str(index), code, {name: str(row[name]) for name in (*task.fields, *there)}, None)
