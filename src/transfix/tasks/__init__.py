"""What is asked and how an answer is judged: `get` gives a built-in task by name, or a user's from its file."""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path

from transfix.config import places
from transfix.config.suggestions import nearest
from transfix.tasks import building, taskfile
from transfix.tasks.reader import Continued, Reader, UnreadableTextError, open_prompt
from transfix.tasks.task import MissingTaskFileError, PromptTemplate, Task, TaskError, UnknownTaskError
from transfix.tasks.verbaliser import VerbaliserError, check_verbaliser, continuation, label_words, merged_words

__all__ = [
    "Continued",
    "PromptTemplate",
    "Reader",
    "Task",
    "TaskError",
    "UnknownTaskError",
    "UnreadableTextError",
    "VerbaliserError",
    "check_verbaliser",
    "continuation",
    "get",
    "label_words",
    "merged_words",
    "names",
    "open_prompt",
]

FILES = (
    "nli",
    "extractive_qa",
    "math_word_problem",
    "multiple_choice",
    "translation",
    "summarisation",
)
"""The built-in task files, in the order in which their tasks are listed."""


def names() -> tuple[str, ...]:
    """The names of all built-in tasks."""
    return tuple(_builtin())


def get(name: str) -> Task:
    """The task called `name`, or the one in the file of that path (`complaints/task.yaml`).

    Raises:
        UnknownTaskError: if there is none; close matches are named.
        TaskError: with everything that is wrong with the file.
    """
    if name in _builtin():
        return _builtin()[name]
    if name.endswith((".yaml", ".yml")):
        try:
            path = places.expanded(name)
            found = places.kind(path)
        except places.UnusableFileError as error:
            raise UnknownTaskError(f"task file {error}") from error
        if found == "missing":
            raise MissingTaskFileError(f"task file {name} does not exist (looked for in {places.here()})")
        if found != "file":
            raise UnknownTaskError(f"task file {name} {places.missing(path)}{_within(name, path)}")
        stat = path.stat()
        return _from_file(path, stat.st_mtime_ns, stat.st_size)
    if there := _what_lies_there(name):
        raise UnknownTaskError(f"{name} {there}")
    close = nearest(name, _builtin(), at_most=3)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise UnknownTaskError(
        f"unknown task {name!r}: {hint}(allowed: {', '.join(_builtin())}, or the path of a task file, task.yaml)"
    )


def _what_lies_there(name: str) -> str | None:
    """What is wrong with a path that does not end as a task file's does; None if nothing is there."""
    try:
        path = places.expanded(name)
        kind = places.kind(path)
    except places.UnusableFileError:
        return None
    if kind == "directory":
        return f"is a directory{_within(name, path)}"
    return "is no task file: those end in .yaml or .yml" if kind == "file" else None


def _within(name: str, directory: Path) -> str:
    """What to name instead of a directory: the task files in it."""
    try:
        files = sorted(path.name for path in directory.iterdir() if path.suffix in (".yaml", ".yml"))
    except OSError:
        return ""
    if not files:
        return ", without a task file (task.yaml) in it"
    written = [str(Path(name) / file) for file in files[:5]]
    return f": name the task file in it, {' or '.join(written)}" + (" ..." if len(files) > 5 else "")


@cache
def _builtin() -> dict[str, Task]:
    paths = [taskfile.BUILTIN / f"{name}.yaml" for name in FILES]
    return {name: task for path in paths for name, task in building.tasks_of(taskfile.read(path), path).items()}


@lru_cache(maxsize=64)
def _from_file(path: Path, modified: int, size: int) -> Task:
    """The user's task in a file; `modified` and `size` make a changed file another one."""
    file = taskfile.read(path)
    if file.name is None:
        raise TaskError(f"{path}: name is missing: call the task something", [])
    if file.name in _builtin():
        raise TaskError(f"{path}: {file.name} is the name of a built-in task: call yours something else", [])
    return building.tasks_of(file, path)[file.name]
