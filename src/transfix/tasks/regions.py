"""A region that is asked for, pt-PT, and the one that a task's rows are said to be of: never taken for each other.

A run keeps the code of a language, por_Latn, which says no region. So a region is compared where it is written: in a
specification, a study or `--languages`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from transfix.data import files
from transfix.data.example import DataError
from transfix.data.language_files import LANG
from transfix.data.sources import FilesSource
from transfix.languages.spellings import Spelling, spelling
from transfix.tasks.task import Task


def other_region(task: Task, asked: Iterable[object], source: object = None, split: str | None = None) -> str | None:
    """Why languages, as they were written, are not those of a task's rows; None if nothing is known against it.

    Args:
        task: whose rows they are.
        asked: what was written; what is no language with a region is left to others.
        source: where the rows come from; None: the task's own.
        split: of the rows; None: the one that is measured.
    """
    source = task.source("test") if source is None else source
    for name in asked:
        wanted = spelling(name) if isinstance(name, str) else None
        if wanted is None or not wanted.region:
            continue
        assert isinstance(name, str)
        there = task.benchmark.written.get(wanted.language.code) or task.benchmark.own_code(wanted.language.code)
        if (known := spelling(there)) is not None and known.region and known.region != wanted.region:
            return f"{name} is another region than that of the rows of {task.name}, {there}: {_advice(name, wanted)}"
        if isinstance(source, FilesSource) and (found := _other_file(task, name, wanted, source, split)):
            return f"{name} is another region than that of {found}: {_advice(name, wanted)}"
    return None


def _advice(name: str, wanted: Spelling) -> str:
    return f"write {wanted.language.code} to have those rows, or name a task (or data) with rows in {name}"


def _other_file(task: Task, name: str, wanted: Spelling, source: FilesSource, split: str | None) -> str | None:
    """The file that would be read for a language, if it is not one of the region that is asked for."""
    code = wanted.language.code
    if LANG not in source.files:
        return None
    of_region = replace(task.benchmark, written={**task.benchmark.written, code: name})
    split = split or task.default_split
    try:
        read = files.find(source, task.benchmark, code, split)
    except DataError:
        return None  # it is said when it is read
    try:
        return None if files.find(source, of_region, code, split) == read else str(read)
    except DataError:
        return str(read)
