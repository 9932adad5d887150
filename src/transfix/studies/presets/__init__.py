"""The studies that ship with transfix: those of arXiv 2510.24619, and what it leaves open. Each is an ordinary study file."""

from __future__ import annotations

from pathlib import Path

from transfix.config import yaml_dialect
from transfix.config.suggestions import nearest
from transfix.errors import TransfixError

DIRECTORY = Path(__file__).parent
ORDER = (
    "methods-xnli",
    "methods-xquad",
    "methods-belebele",
    "methods-mgsm",
    "lora-rank",
    "layers",
    "prefix-length",
    "sampling-xquad",
    "model-size",
    "families-belebele",
    "resources-belebele",
    "source-language",
    "hybrid",
    "translation",
    "summarisation",
    "low-resource-maths",
    "learning-curves",
    "encoder-xnli",
)
"""The paper's tables and figures first, then its open questions."""


def path_of(name: str) -> Path:
    """The file of a preset.

    Raises:
        TransfixError: there is no such preset.
    """
    if name not in ORDER:
        near = nearest(name, ORDER, at_most=2, likeness=0.5)
        meant = f" Did you mean {' or '.join(near)}?" if near else ""
        raise TransfixError(f"there is no preset {name!r}.{meant} There are: {', '.join(ORDER)}.")
    return DIRECTORY / f"{name}.yaml"


def listing() -> dict[str, str]:
    """Name -> one line about it."""
    titles = {}
    for name in ORDER:
        content, _ = yaml_dialect.read(path_of(name))
        titles[name] = str(content["title"]) if isinstance(content, dict) else ""
    return titles
