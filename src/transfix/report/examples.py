"""The rows of the example browser as compact data: each text once, each row's answers once, whoever gave them."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from typing import Any

from transfix.errors import visible
from transfix.report import labels
from transfix.report.charts import marks
from transfix.report.contents import ExampleRow, TaskReport

LONGEST_TEXT = 1200
"""Characters of a text that are shown."""

LARGEST = 8_000_000
"""Bytes that the rows of all tasks may take; where they are more, each language shows fewer rows."""

STATIC = 3
"""Rows a task that are there without a script."""


def data(tasks: Sequence[TaskReport], largest: int = LARGEST) -> tuple[list[dict[str, Any]], str]:
    """The rows of all tasks, as the page's script reads them, and the same as JSON that may stand in HTML.

    A row is `[id, gold, [field, text, right to left, ...], [answer, right, ...], [number of its answer for each
    method]]`; gold, fields, texts and answers are numbers of texts in `pool`, and a method without answer has -1.
    """
    most = max((len(rows) for task in tasks for rows in task.examples.values()), default=0)
    while True:
        found = [_task(task, most) for task in tasks]
        text = json.dumps(found, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
        if most <= 1 or len(text.encode()) <= largest:
            return found, text
        most //= 2


def _task(task: TaskReport, most: int) -> dict[str, Any]:
    pool: dict[str, int] = {}

    def number(text: str) -> int:
        text = visible(text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + " …")
        return pool.setdefault(text, len(pool))

    def packed(row: ExampleRow, language: labels.Spoken) -> list[Any]:
        fields = [
            part
            for field, text in row.texts.items()
            for part in (number(field), number(text), int(_direction(text, language) == "rtl"))
        ]
        given = list(dict.fromkeys(answer for answer in row.answers if answer))
        answers = [part for text, right in given for part in (number(text), int(right))]
        picks = [given.index(answer) if answer else -1 for answer in row.answers]
        return [number(row.id), number(row.gold), fields, answers, picks]

    languages = [
        {
            "code": visible(language.code),
            "name": visible(language.name),
            "tag": language.tag,
            "rows": [packed(row, language) for row in task.examples.get(language.code, ())[:most]],
        }
        for language in task.languages
    ]
    return {
        "title": visible(task.title),
        "methods": [
            [visible(method.label), mark.css, mark.path]
            for method, mark in zip(task.methods, marks(task.methods), strict=True)
        ],
        "shown": next((number for number, found in enumerate(languages[1:], 1) if found["rows"]), 0),
        "languages": languages,
        "pool": list(pool),
    }


def static(task: dict[str, Any]) -> list[dict[str, Any]]:
    """The first rows of the language shown first, spelt out for the template."""
    if not task["languages"]:
        return []
    language, pool = task["languages"][task["shown"]], task["pool"]
    return [
        {
            "id": pool[name],
            "gold": pool[gold],
            "language": language,
            "texts": [
                (pool[fields[n]], pool[fields[n + 1]], "rtl" if fields[n + 2] else "ltr")
                for n in range(0, len(fields), 3)
            ],
            "answers": [
                (
                    pool[answers[2 * n]],
                    answers[2 * n + 1],
                    [m for m, pick in zip(task["methods"], picks, strict=True) if pick == n],
                )
                for n in range(len(answers) // 2)
            ],
            "silent": [m for m, pick in zip(task["methods"], picks, strict=True) if pick < 0],
        }
        for name, gold, fields, answers, picks in language["rows"][:STATIC]
    ]


def _direction(text: str, language: labels.Spoken) -> str:
    """The language's direction, but left to right if no letter needs it: benchmarks have romanised rows in Urdu."""
    right_to_left = any(unicodedata.bidirectional(char) in ("R", "AL") for char in text)
    return language.direction if right_to_left else "ltr"
