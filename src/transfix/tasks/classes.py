"""A task as a model with a head of classes is asked it: the rows' texts as they are, no prompt and no label words."""

from __future__ import annotations

from transfix.data.example import Example
from transfix.errors import Problem
from transfix.tasks import templates
from transfix.tasks.task import Task, TaskError

MOST_TEXTS = 2
"""Texts that a tokenizer of an encoder puts together."""


def texts(task: Task, example: Example) -> tuple[str, ...]:
    """What is read of a row: its text, or its two, in the order of the task's fields.

    Raises:
        TaskError: if the row lacks a field.
    """
    if missing := [name for name in task.fields if name not in example.fields]:
        problems = [Problem(example.id, f"field {name!r} is missing", ", ".join(task.fields)) for name in missing]
        raise TaskError(f"task {task.name} cannot ask about this row", problems)
    return tuple(str(example.fields[name]) for name in task.fields)


def beyond_classes(task: Task) -> str:
    """Why a head of classes cannot answer a task with the template in use; empty where it can."""
    form = task.prompt_template
    if task.kind != "choice":
        return f"{task.name} is answered with a text, and an encoder writes none"
    if form.scoring == "likelihood":
        return f"the template {task.template_name!r} compares the likelihoods of texts, and an encoder gives none"
    if task.template_name != "default":
        return (
            "an encoder reads the texts themselves, without a prompt or label words: leave template and verbaliser out"
        )
    own = [name for words in form.labels.values() for word in words.values() for name in templates.names(word)]
    if task.benchmark.optional or form.needs or own or len(task.fields) > MOST_TEXTS:
        return (
            f"{task.name} offers every row answers of its own ({', '.join(task.fields)}), and an encoder's head has the same "
            "classes for all, of one text or two"
        )
    return ""
