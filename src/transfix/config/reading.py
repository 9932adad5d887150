"""A file of settings, or what such a file would hold, as plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from transfix.config import validation, yaml_dialect
from transfix.errors import Problem, TransfixError


def read_mapping(
    source: str | Path | Mapping[str, Any],
    name: str,
    keys: Iterable[str],
    refuse: Callable[[BaseModel], str] = lambda _: "",
) -> tuple[dict[str, Any], str, list[Problem]]:
    """Reads a mapping of settings.

    Args:
        source: a YAML file, or what such a file would hold.
        name: what to call the latter in messages.
        keys: what the mapping may have, for the message that there is none.
        refuse: tells of a model in it why what is written of it could not be read back; nothing where it could.

    Returns:
        The plain data, what to call it in messages, and what is wrong with it as YAML.

    Raises:
        TransfixError: the file is missing or not YAML, or there is no mapping.
    """
    problems: list[Problem] = []
    raw: object = source
    if isinstance(source, str | Path):
        name = str(source)
        raw, problems = yaml_dialect.read(Path(source))
    if not isinstance(raw, Mapping):
        found = "is empty" if raw is None else f"holds {validation.show(raw)}"
        raise TransfixError(f"{name} {found}, where a mapping is needed, with the keys {', '.join(keys)}.")
    return yaml_dialect.plain(raw, "", problems, refuse=refuse), name, problems
