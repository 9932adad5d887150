"""What the numbers of a column stand for, where a hub dataset, a parquet or an Arrow file says so (`ClassLabel`)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from transfix.data.lines import json_object

_WHOLE = re.compile(r"(?:0|-?[1-9][0-9]{0,17})(?:\.0)?")

Names = Mapping[str, tuple[str, ...]]
"""Column -> the names of its numbers, counted from 0."""


def names_of(features: object) -> Names:
    """The names of all columns that have some, from the features of `datasets` as plain data.

    A column of lists of such numbers (`Sequence(ClassLabel)`, however a version of `datasets` writes it) has them too.
    """
    if not isinstance(features, Mapping):
        return {}
    found = {str(column): _names(feature) for column, feature in features.items()}
    return {column: names for column, names in found.items() if names is not None}


def names_in(metadata: Mapping[bytes, bytes] | None) -> Names:
    """Like `names_of`, from the metadata that `datasets` writes into parquet and Arrow files."""
    said: object = json_object((metadata or {}).get(b"huggingface", b"{}").decode("utf-8", errors="replace"))
    for key in ("info", "features"):
        said = said.get(key) if isinstance(said, Mapping) else None
    return names_of(said)


def _names(feature: object) -> tuple[str, ...] | None:
    if isinstance(feature, list) and len(feature) == 1:
        return _names(feature[0])
    if not isinstance(feature, Mapping):
        return None
    names = feature.get("names")
    if feature.get("_type", "ClassLabel") == "ClassLabel" and isinstance(names, list):
        return tuple(map(str, names))
    return _names(feature.get("feature")) if "feature" in feature else None


def named(value: object, names: Sequence[str]) -> object:
    """The name that a number stands for, or a list of names; None for -1, which means that there is none.

    What is no such number is given back as it is.
    """
    if isinstance(value, list):
        return [named(entry, names) for entry in value]
    number = whole(value)
    if number is None or not -1 <= number < len(names):
        return value
    return None if number == -1 else names[number]


def whole(value: object) -> int | None:
    """A whole number, also if it is written as 1.0 or as a text; None for all else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value.removesuffix(".0"))
    return None
