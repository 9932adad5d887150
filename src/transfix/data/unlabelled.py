"""Reads the rows a user wants answers for: jsonl with the task's fields, and whatever else she keeps with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transfix.data.example import BadRows, DataError
from transfix.data.lines import json_object, text_lines


def read_unlabelled(path: str | Path, fields: Sequence[str] = ()) -> list[dict[str, object]]:
    """The objects of a jsonl file (gzip accepted), in order and with all their keys.

    Args:
        path: the file.
        fields: keys that every row must have, with a text that is not empty.

    Returns:
        One dict a line; `id`, `label` and `language`, where present, are texts.

    Raises:
        DataError: with all malformed rows by file and line, or if the file does not exist or has no rows.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise DataError(f"{path}: {'is a directory' if path.is_dir() else 'does not exist'}")
    bad = BadRows(str(path))
    rows: list[dict[str, object]] = []
    for number, line in text_lines(path, bad):
        row = json_object(line)
        if isinstance(row, str):
            bad.add(number, row)
            continue
        problems = [
            *(f"{name!r} is missing" for name in fields if name not in row),
            *(f"{name!r} is {row[name]!r}, not a text" for name in fields if not _is_text(row.get(name, "x"))),
            *(
                f"{name!r} is {row[name]!r}, not a text"
                for name in ("id", "label", "language")
                if row.get(name) is not None and not isinstance(row[name], str)
            ),
        ]
        if problems:
            bad.add(number, "; ".join(problems))
        else:
            rows.append(row)
    names = f" with {', '.join(fields)}" if fields else ""
    bad.raise_if_any(f"one JSON object a line{names}")
    if not rows:
        raise DataError(f"{path}: has no rows")
    return rows


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
