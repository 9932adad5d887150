"""Prompts as tokens, with what had to be cut said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from transfix.batches.tokens import ROWS, rows_of


@dataclass(frozen=True, slots=True)
class Encoded:
    """One prompt.

    Attributes:
        tokens: token ids, with the tokenizer's own begin-of-sequence token if it sets one.
        truncated: whether tokens were left out.
    """

    tokens: Sequence[int]
    truncated: bool


def encode(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], max_tokens: int | None) -> list[Encoded]:
    """The prompts' tokens; of a prompt longer than `max_tokens` the middle is left out, so that task and question stay."""
    ends = tokenizer.eos_token_id
    encoded: list[Encoded] = []
    for start in range(0, len(prompts), ROWS):
        part = []
        for row in tokenizer(list(prompts[start : start + ROWS]))["input_ids"]:
            ids = row[:-1] if row and row[-1] == ends and len(row) > 1 else row  # an end token would close the prompt
            part.append(cut(ids, max_tokens))
        kept = rows_of(prompt.tokens for prompt in part)
        encoded += [Encoded(tokens, prompt.truncated) for tokens, prompt in zip(kept, part, strict=True)]
    return encoded


def cut(tokens: Sequence[int], max_tokens: int | None) -> Encoded:
    """Tokens without their middle, if there are more than `max_tokens` (`None`: no limit)."""
    if max_tokens is None or len(tokens) <= max_tokens:
        return Encoded(tuple(tokens), False)
    head = max_tokens // 2
    return Encoded((*tokens[:head], *tokens[len(tokens) - (max_tokens - head) :]), True)
