"""How many tokens a model reads, and from which length on it turns positions otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BEHIND_PADDING = (
    "roberta",
    "roberta-prelayernorm",
    "camembert",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
    "data2vec-text",
)
"""Architectures whose first token has the position behind the padding token's number, and that read so many tokens fewer."""


def reads(config: Any) -> int | None:
    """How many tokens a model of this configuration reads; None if it sets no bound."""
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    if isinstance(limit, int) and config.model_type in BEHIND_PADDING:
        return limit - int(config.pad_token_id or 0) - 1
    return limit if isinstance(limit, int) else None


def original_length(config: Any) -> int | None:
    """The length beyond which rotary embeddings depend on how long a row is: LongRoPE's and dynamic NTK's.

    A forward turns all its rows as its longest one asks for. None: a position is turned alike in rows of any length.
    """
    found = [length for _, length in rotations(config)]
    return min(found, default=None)


def depends_on_each_length(config: Any) -> bool:
    """Whether every length beyond the original one is turned in a way of its own (dynamic NTK)."""
    return any(kind == "dynamic" for kind, _ in rotations(config))


def generated(config: Any) -> int | None:
    """How many tokens a model reads and writes: rows of all lengths are decoded together, so none beyond the original one."""
    limits = [limit for limit in (reads(config), original_length(config)) if limit is not None]
    return min(limits, default=None)


def rotations(config: Any) -> list[tuple[str, int]]:
    """(kind, original length) of the rotary embeddings that depend on a row's length."""
    text = config.get_text_config()
    rope: Any = getattr(text, "rope_parameters", None) or {}
    kinds: list[Mapping[str, Any]] = [rope, *(part for part in rope.values() if isinstance(part, Mapping))]
    found = []
    for part in kinds:
        kind = str(part.get("rope_type", ""))
        length = part.get("original_max_position_embeddings") if kind == "longrope" else reads(config)
        if kind in ("longrope", "dynamic") and isinstance(length, int):
            found.append((kind, length))
    return found
