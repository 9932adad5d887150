"""Scoring and generation on a model of random weights: transfix, and transformers' own `generate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from benchmarks.sides import shapes
from benchmarks.sides.clock import now
from transfix.adapters import architecture
from transfix.batches import Encoded
from transfix.evaluation.generation import Decoding, generate
from transfix.evaluation.scoring import score_choices

SHORTEST = 256
"""Tokens of the shortest prompt that is gone on from; the longest has `shapes.TOKENS`."""


def score(model: str, rows: int, budget: int) -> dict[str, Any]:
    """Choices of one token each, scored as `transfix evaluate` does, `budget` tokens a forward."""
    base, found = shapes.model(model, "bfloat16"), shapes.rows(rows)
    prompts, words = _encoded(found), torch.tensor(found.words)
    seconds = _timed(lambda few: score_choices(base, prompts[:few], words, 0, budget=budget), rows)
    tokens = sum(map(len, found.prompts))
    return {
        "rows_per_s": round(rows / seconds, 2),
        "tokens_per_s": round(tokens / seconds, 1),
        "teraflops": round(2 * _body(base) * tokens / seconds / 1e12, 2),
        **shapes.peak(base.device),
    }


def write(model: str, rows: int, new: int, batch_rows: int) -> dict[str, Any]:
    """`new` tokens after each prompt, by transfix's engine."""
    base, found = shapes.model(model, "bfloat16"), shapes.rows(rows, shortest=SHORTEST)
    prompts, tokenizer = _encoded(found), _tokenizer(base)
    decoding = Decoding(max_new_tokens=new, batch_rows=batch_rows)
    seconds = _timed(lambda few: generate(base, tokenizer, prompts[:few], decoding), rows)
    return {"tokens_per_s": round(rows * new / seconds, 1), **shapes.peak(base.device)}


def transformers_write(model: str, rows: int, new: int, batch_rows: int) -> dict[str, Any]:
    """`new` tokens after each prompt, by transformers' `generate`: rows of similar length together, padded on the left."""
    base, found = shapes.model(model, "bfloat16"), shapes.rows(rows, shortest=SHORTEST)

    def run(few: int) -> None:
        prompts = sorted(found.prompts[:few], key=len)
        for start in range(0, few, batch_rows):
            part = prompts[start : start + batch_rows]
            width = max(map(len, part))
            ids = torch.tensor([[0] * (width - len(row)) + row for row in part], device=base.device)
            mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in part], device=base.device)
            with torch.inference_mode():
                base.generate(input_ids=ids, attention_mask=mask, max_new_tokens=new, do_sample=False)  # type: ignore[operator]

    seconds = _timed(run, rows)
    return {"tokens_per_s": round(rows * new / seconds, 1), **shapes.peak(base.device)}


def _timed(work: Callable[[int], object], rows: int) -> float:
    """Seconds of `work(rows)`, after a first run on four rows."""
    work(min(4, rows))
    began = now()
    work(rows)
    return now() - began


def _body(model: PreTrainedModel) -> int:
    return sum(p.numel() for layer in architecture.stack(model) for p in layer.parameters())


def _encoded(rows: shapes.Rows) -> list[Encoded]:
    return [Encoded(tuple(prompt), False) for prompt in rows.prompts]


def _tokenizer(model: PreTrainedModel) -> PreTrainedTokenizerFast:
    """A word a token."""
    words = {f"w{number}": number for number in range(model.config.vocab_size)}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel(words, unk_token="w0")))
