"""How a run asks rows of the user's: which task, in which way, and what becomes of rows that its model cannot read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from transfix import tasks
from transfix.data import Example, OnBadRows
from transfix.data.sources import SnapshotSource
from transfix.errors import TransfixError
from transfix.runs.answering import Answer, InferenceSettings, Session
from transfix.runs.evaluation import inference_settings
from transfix.runs.few_shot import shots
from transfix.runs.label_preference import asked_as
from transfix.runs.settings import Evaluation
from transfix.runs.training import task_of
from transfix.tasks.reader import UnreadableTextError

if TYPE_CHECKING:
    from transfix.runs.store import Run
    from transfix.tasks import Task


def own_task(run: Run) -> Task:
    """The task that a run answers a user's rows in: the one it is trained on, or the first it is measured on.

    Raises:
        TransfixError: its specification names none.
    """
    on = run.spec.train or next(iter(run.spec.evaluate), None)
    if on is None:
        raise TransfixError(f"{run.path}: its specification names no task. Add `evaluate: {{task: xnli}}` to it.")
    return task_of(on)


def optional_fields(task: Task) -> list[str]:
    """The columns that a row of a task may have besides its fields."""
    return [name for name in task.benchmark.optional if name not in task.fields]


def example_of(task: Task, index: int, row: Mapping[str, object], code: str) -> Example:
    """A user's row as an example, in a language; its label is not looked at."""
    there = [name for name in task.benchmark.optional if isinstance(row.get(name), str) and str(row[name]).strip()]
    return Example(str(index), code, {name: str(row[name]) for name in (*task.fields, *there)}, None)


def asked_how(run: Run, task: Task, code: str, examples: Sequence[Example]) -> InferenceSettings | None:
    """How rows of one language are asked: as the specification's evaluation of the same kind of task asks."""
    asking = _asking(run, task)
    return inference_settings(asking, shots(asking, task, code, examples)) if asking else None


def own_asked_as(run: Run, task: Task) -> dict[str, Any]:
    """What decides the scores of a user's row beside its text and the adapter; comparable with `asked_as`."""
    asking = _asking(run, task) or Evaluation.model_construct(task=task.name, data=SnapshotSource())
    return asked_as(run, asking, task, "")


def _asking(run: Run, task: Task) -> Evaluation | None:
    return next((entry for entry in run.spec.evaluate if tasks.get(entry.task).family == task.family), None)


def ask(
    session: Session,
    task: Task,
    code: str,
    examples: Mapping[int, Example],
    names: Mapping[int, str],
    advance: Callable[[int], object],
    on_bad_rows: OnBadRows,
) -> tuple[dict[int, Answer], dict[int, str]]:
    """The answers to rows of one language by their place, and what is wrong with those that the model cannot read.

    Args:
        session: the run's model.
        task: what is asked.
        code: the language, FLORES-style; `und` if it is not known.
        examples: the rows by place.
        names: for messages.
        advance: told of the rows that are done.
        on_bad_rows: `skip` leaves out rows with a text that the model's tokenizer cannot read.

    Raises:
        TransfixError: a row cannot be read and is not to be skipped, or the model or the task do not allow it.
    """
    places = list(examples)
    how = asked_how(session.run, task, code, list(examples.values()))
    unreadable: dict[int, str] = {}
    try:
        found = session.answers(task, [examples[place] for place in places], advance, how)
    except UnreadableTextError as error:
        said = session.unreadable(task, [examples[place] for place in places], how)
        unreadable = {places[index]: what for index, what in said.items()}
        if not unreadable:
            raise
        if on_bad_rows == "error":
            place, what = next(iter(unreadable.items()))
            raise TransfixError(f"{names[place]}: {what}") from error
        places = [place for place in places if place not in unreadable]
        found = session.answers(task, [examples[place] for place in places], advance, how)
    return dict(zip(places, found, strict=True)), unreadable
