"""What `task check` says of rows that can be read and may not mean what was meant."""

from __future__ import annotations

import json
from collections.abc import Callable

from transfix.data import Rows
from transfix.tasks.task import Task

_NOTHING = frozenset({"nan", "none", "null", "<na>", "n/a"})
"""What programs write into text files for an empty cell."""


def row_notes(task: Task, where: str, rows: Rows) -> list[str]:
    """Notes on the rows of a user's own task; empty for built-in ones.

    Args:
        task: whose rows they are.
        where: purpose and language, put before each note.
        rows: as they were read.
    """
    if not task.origin:
        return []
    fields = [text for row in rows.examples for text in row.fields.values()]
    answers = [answer for row in rows.examples for answer in row.answers] if task.kind != "choice" else []
    found = [
        (rows.dropped, "rows have no label (`-`, or -1 in a file of typed columns) and are left out"),
        (
            _count(fields, _is_nothing),
            "texts are what a program writes for an empty cell (`nan`, `None`) and are asked as texts",
        ),
        (
            _count(answers, _is_list),
            "reference answers look like a list and are taken for one text each: write rows with several answers as jsonl",
        ),
    ]
    return [f"{where}: {count:,} {what}" for count, what in found if count]


def _count(texts: list[str], looks: Callable[[str], bool]) -> int:
    return sum(map(looks, texts))


def _is_nothing(text: str) -> bool:
    return text.strip().casefold() in _NOTHING


def _is_list(text: str) -> bool:
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return False
    if text.startswith(("['", '["')):  # as Python writes one, or JSON
        return True
    try:
        return isinstance(json.loads(text), list)
    except (ValueError, RecursionError):
        return False
