"""Choices scored in one forward an example: the log-probability of each class's label word after the prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from transfix import batches
from transfix.batches import Batch, Encoded
from transfix.errors import TransfixError

TOKENS = 2048
"""Tokens in a forward. More brings nothing on a CPU and little on a GPU, and costs padding."""


def word_logits(
    model: PreTrainedModel, batch: Batch, words: Int[Tensor, " classes"], **options: Any
) -> Float[Tensor, "reads classes"]:
    """The logits of the label words at the batch's reads, float32, in the order of `batch.indices`."""
    with batches.focused_head(model, batch.reads, words):
        inputs = batch.inputs(model.device, batches.mask_dtype(model))
        logits: Tensor = model(**inputs, use_cache=False, **options).logits[0]
    return logits.float()


def score_choices(
    model: PreTrainedModel,
    prompts: Sequence[Encoded],
    words: Int[Tensor, " classes"],
    pad: int,
    advance: Callable[[int], object] | None = None,
    budget: int = TOKENS,
) -> Float[Tensor, "rows classes"]:
    """Log-probabilities over the classes, normalised over the label words.

    Args:
        model: with the adapter to be measured active; put into evaluation mode.
        prompts: the rows.
        words: the token id of each class's label word.
        pad: the padding token.
        advance: told after each forward how many rows it finished.
        budget: tokens in a forward.

    Returns:
        (rows, classes), on the CPU.

    Raises:
        TransfixError: if a score is no number, as it happens in float16.
    """
    model.eval()
    scores = torch.full((len(prompts), len(words)), float("nan"))
    sequences = [batches.Sequence(index, prompt.tokens) for index, prompt in enumerate(prompts)]
    trees = batches.shared(model, sequences, budget)
    with torch.inference_mode():
        for group in batches.evaluation_batches(trees, budget):
            batch = batches.collate(group, pad)
            scores[list(batch.indices)] = word_logits(model, batch, words).log_softmax(-1).cpu()
            if advance is not None:
                advance(len(batch.indices))
    if not bool(scores.isfinite().all()):
        row = int((~scores.isfinite().all(-1)).nonzero()[0])
        raise TransfixError(
            f"the scores of row {row + 1} are not finite ({scores[row].tolist()}) in {str(model.dtype)[6:]}: "
            "use dtype bfloat16 or float32, or train with a lower learning rate."
        )
    return scores
