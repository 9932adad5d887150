"""Answers a user's own rows with a run's model, and writes them with their answers, in their order."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfix import languages
from transfix.config.places import kind
from transfix.data import OnBadRows
from transfix.data.answered import columns_of, content_of, form_of
from transfix.data.rows import is_empty
from transfix.data.unlabelled import OwnRows, read_own_rows
from transfix.errors import TransfixError
from transfix.runs.answering import Answer, Session
from transfix.runs.own_calibration import COLUMN, UNKNOWN, calibration_of, hint
from transfix.runs.own_rows import ask, example_of, optional_fields, own_task
from transfix.runs.progress import Display
from transfix.storage import atomic

if TYPE_CHECKING:
    from transfix.runs.store import Run
    from transfix.tasks import Task


def skipped_file(target: Path) -> Path:
    """Where the rows are named that were left out of an output."""
    return target.with_name(f"{target.name}.skipped.jsonl")


def predict(
    run: Run,
    source: Path,
    target: Path,
    display: Display | None = None,
    on_bad_rows: OnBadRows = "error",
    calibration: str | None = None,
    raw: bool = False,
) -> int:
    """Answers the rows of a file: each gets `answer`, and `probabilities` or the `generated_text`. Returns how many.

    Rows are asked as the specification's evaluation of the same kind of task asks (its exemplars, lengths, sampling). The
    output is jsonl, csv, tsv or parquet by its name, has all columns of the input in its order, and is whole if it exists.

    Of a run that was calibrated (`calibrate`) answers and probabilities are the calibrated ones, and each row gets
    `calibration`: the rows that its language's mean is of.

    Args:
        run: whose model is asked.
        source: jsonl, csv, tsv, parquet or Arrow with the task's fields.
        target: the file to write.
        display: where progress is shown.
        on_bad_rows: `skip` leaves bad rows out and names them in `skipped_file`.
        calibration: the name of an evaluation of the run, whose means are taken in place of those of `calibrate`.
        raw: rows are answered as the model says, whatever means the run has.

    Raises:
        TransfixError: if rows are bad and not to be skipped, `target` exists already, or answers are calibrated and a row's
            language is not said or has no mean, or the means do not hold.
    """
    display = display or Display()
    if raw and calibration is not None:
        raise TransfixError(
            f"--raw is without calibration, and --calibration {calibration} is with it: give one of them."
        )
    _require_place(target)
    if on_bad_rows == "skip":
        _require_place(skipped_file(target))
    task = own_task(run)
    moved = None if raw else calibration_of(run, task, calibration)
    own = read_own_rows(source, task.fields, optional_fields(task), lambda row: _problems(task, row), on_bad_rows)
    nothing = _added(task, Answer("", "", False, (0.0,) * len(task.classes), task.classes), "" if moved else None)
    added = columns_of(form_of(target), nothing)
    if taken := sorted({name for row in own.rows for name in added if name in row}):
        raise TransfixError(
            f"{source}: rows have {' and '.join(taken)} already, which would be overwritten: rename "
            f"{'it' if len(taken) == 1 else 'them'}."
        )
    examples = [example_of(task, index, row, _language(row)) for index, row in enumerate(own.rows)]
    if moved:
        moved.require(source, examples, own.names)
        display.say(moved.said(example.language for example in examples))
    elif not raw and (line := hint(run, task)):
        display.say(line)
    names = dict(enumerate(own.names))
    session = Session(run)
    answers: dict[int, Answer] = {}
    unreadable: dict[int, str] = {}
    with display.bar(f"Answering {source.name}", len(own.rows)) as bar:
        for code in dict.fromkeys(example.language for example in examples):
            spoken = {place: example for place, example in enumerate(examples) if example.language == code}
            found, bad = ask(session, task, code, spoken, names, bar.advance, on_bad_rows)
            answers |= moved.moved(code, found) if moved else found
            unreadable |= bad
    added_to = {
        place: _added(task, answer, moved.column(examples[place].language) if moved else None)
        for place, answer in answers.items()
    }
    _write(own, added_to, unreadable, source, target)
    return len(answers)


def _write(
    own: OwnRows,
    added: Mapping[int, Mapping[str, Any]],
    unreadable: Mapping[int, str],
    source: Path,
    target: Path,
) -> None:
    """The answers, and before them what was left out: an output that exists lacks no row that is not named."""
    kept = sorted(added)
    skipped = [(problem.where, problem.what) for problem in own.problems]
    skipped += [(own.names[place], what) for place, what in sorted(unreadable.items())]
    if not kept:
        raise TransfixError(f"{source}: none of its rows can be asked. The first: {skipped[0][0]}: {skipped[0][1]}")
    content = content_of(
        target,
        [own.rows[place] for place in kept],
        [added[place] for place in kept],
        source,
        [own.places[place] for place in kept],
    )
    if skipped:
        lines = [json.dumps({"row": where, "problem": what}, ensure_ascii=False) for where, what in skipped]
        atomic.write_file(skipped_file(target), "\n".join(lines) + "\n")
    atomic.write_file(target, content)


def _added(task: Task, answer: Answer, calibrated_on: str | None) -> dict[str, Any]:
    """What a row gets; `calibrated_on` is None where answers are not calibrated."""
    if task.kind != "choice":
        return {"answer": answer.answer, "generated_text": answer.text}
    found = {"answer": answer.answer, "probabilities": answer.probabilities}
    return found if calibrated_on is None else {**found, COLUMN: calibrated_on}


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


def _language(row: Mapping[str, object]) -> str:
    """The code of the language that a row says it is in."""
    said = row.get("language")
    return UNKNOWN if is_empty(said) else languages.get(str(said)).code
