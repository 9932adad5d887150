"""The logits of one batch where it is read: of the whole vocabulary, or of a few words."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from transfix.batches.head import focused_head
from transfix.batches.sharing import mask_dtype
from transfix.batches.tensors import Batch


def word_logits(
    model: PreTrainedModel, batch: Batch, words: Int[Tensor, " classes"], **options: Any
) -> Float[Tensor, "reads classes"]:
    """The logits of the label words at the batch's reads, float32, in the order of `batch.indices`."""
    return target_logits(model, batch, words, **options).float()


def target_logits(
    model: PreTrainedModel, batch: Batch, words: Int[Tensor, " words"] | None = None, **options: Any
) -> Float[Tensor, "reads words"]:
    """The logits at the batch's reads, in the model's dtype, in the order of `batch.indices`.

    Args:
        model: with a language-model head.
        batch: what it reads.
        words: token ids whose logits are wanted; `None` for the whole vocabulary.
        options: further arguments of the model.
    """
    with focused_head(model, batch.reads, words):
        inputs = batch.inputs(model.device, mask_dtype(model))
        logits: Tensor = model(**inputs, use_cache=False, **options).logits[0]
    return logits
