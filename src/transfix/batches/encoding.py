"""Prompts as tokens, with what had to be cut said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from transfix.batches.tokens import ROWS, rows_of
from transfix.tasks import Reader


@dataclass(frozen=True, slots=True)
class Encoded:
    """One prompt.

    Attributes:
        tokens: token ids, with what the tokenizer begins texts with and not what it ends them with.
        truncated: whether tokens were left out.
    """

    tokens: Sequence[int]
    truncated: bool


def encode(
    tokenizer: PreTrainedTokenizerBase | Reader, prompts: Sequence[str], max_tokens: int | None
) -> list[Encoded]:
    """The prompts' tokens; of a prompt longer than `max_tokens` the middle is left out, so that task and question stay.

    Raises:
        UnreadableTextError: a prompt cannot be read as what it is, see `Reader.ids`.
    """
    reader = tokenizer if isinstance(tokenizer, Reader) else Reader(tokenizer)
    encoded: list[Encoded] = []
    for start in range(0, len(prompts), ROWS):
        part = [cut(ids, max_tokens) for ids in reader.prompts(prompts[start : start + ROWS])]
        kept = rows_of(prompt.tokens for prompt in part)
        encoded += [Encoded(tokens, prompt.truncated) for tokens, prompt in zip(kept, part, strict=True)]
    return encoded


def cut(tokens: Sequence[int], max_tokens: int | None) -> Encoded:
    """Tokens without their middle, if there are more than `max_tokens` (`None`: no limit)."""
    if max_tokens is None or len(tokens) <= max_tokens:
        return Encoded(tuple(tokens), False)
    head = max_tokens // 2
    return Encoded((*tokens[:head], *tokens[len(tokens) - (max_tokens - head) :]), True)
