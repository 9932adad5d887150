"""What stands in a run's `metrics.json`, and how the files of earlier versions are read.

    {"format": 2, "results": {"xnli": {"languages": {"deu_Latn": {"n", "score", "interval", ...}}, ...}}}

Before format 2 the file was the results alone, and a score was called `accuracy` whatever the metric was.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transfix.errors import TransfixError

FORMAT = 2
"""Counted up whenever the file is laid out in another way."""


def content(results: Mapping[str, Any]) -> dict[str, Any]:
    """What is written of the results, which are by task."""
    return {"format": FORMAT, "results": dict(results)}


def results(found: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The results by task.

    Args:
        found: what the file holds.
        path: the file, for messages.

    Raises:
        TransfixError: it is of a later format, or holds no results.
    """
    version = found.get("format")
    if version is None or isinstance(version, Mapping):  # a result may be called `format`
        renamed: dict[str, Any] = _renamed(found)
        return renamed
    again = f"run `transfix evaluate {path.parent}` again"
    if isinstance(version, int) and version > FORMAT:
        raise TransfixError(
            f"{path} is of format {version}, and this version of transfix knows {FORMAT} at most: install the version that "
            f"wrote it, or delete it, then {again}."
        )
    if version != FORMAT or not isinstance(found.get("results"), dict):
        raise TransfixError(f"{path} is damaged: it holds no results. Delete it, then {again}.")
    return dict(found["results"])


def _renamed(part: Any) -> Any:
    """A part of an old file with its scores called so: `accuracy` beside an interval, not a class of that name."""
    if isinstance(part, list):
        return [_renamed(entry) for entry in part]
    if not isinstance(part, Mapping):
        return part
    old = "accuracy" in part and "interval" in part
    return {"score" if old and key == "accuracy" else key: _renamed(entry) for key, entry in part.items()}
