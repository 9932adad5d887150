"""What is asked and how an answer is judged: `get` gives a task by name."""

from __future__ import annotations

import difflib
from functools import cache

from transfix.tasks.nli import nli_task
from transfix.tasks.task import Task, TaskError, UnknownTaskError
from transfix.tasks.verbaliser import VerbaliserError, check_verbaliser

__all__ = ["Task", "TaskError", "UnknownTaskError", "VerbaliserError", "check_verbaliser", "get", "names"]

_TASKS = dict.fromkeys(("mnli", "xnli", "afrixnli"), nli_task)


def names() -> tuple[str, ...]:
    """The names of all tasks."""
    return tuple(_TASKS)


@cache
def get(name: str) -> Task:
    """The task called `name`.

    Raises:
        UnknownTaskError: if there is none; close matches are named.
    """
    if name not in _TASKS:
        close = difflib.get_close_matches(name.lower(), _TASKS)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise UnknownTaskError(f"unknown task {name!r}: {hint}(allowed: {', '.join(_TASKS)})")
    return _TASKS[name](name)
