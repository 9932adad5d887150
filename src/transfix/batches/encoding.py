"""Prompts as tokens, with what had to be cut said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Encoded:
    """One prompt.

    Attributes:
        tokens: token ids, with the tokenizer's own begin-of-sequence token if it sets one.
        truncated: whether tokens were left out.
    """

    tokens: tuple[int, ...]
    truncated: bool


def encode(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], max_tokens: int | None) -> list[Encoded]:
    """The prompts' tokens; of a prompt longer than `max_tokens` the middle is left out, so that task and question stay."""
    if not prompts:
        return []
    ends = tokenizer.eos_token_id
    encoded = []
    for row in tokenizer(list(prompts))["input_ids"]:
        ids = row[:-1] if row and row[-1] == ends and len(row) > 1 else row  # an end token would close the prompt
        encoded.append(cut(ids, max_tokens))
    return encoded


def cut(tokens: Sequence[int], max_tokens: int | None) -> Encoded:
    """Tokens without their middle, if there are more than `max_tokens` (`None`: no limit)."""
    if max_tokens is None or len(tokens) <= max_tokens:
        return Encoded(tuple(tokens), False)
    head = max_tokens // 2
    return Encoded((*tokens[:head], *tokens[len(tokens) - (max_tokens - head) :]), True)
