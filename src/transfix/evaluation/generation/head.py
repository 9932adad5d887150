"""Logits in float32 where they decide.

A head in bfloat16 rounds logits around 20 to steps of 0.125, so that the best words are often tied. Computing all of them in
float32 takes four times as long. Rounding keeps the order, so the best word is among the best in bfloat16: only those
are computed again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from transfix.batches import instead_of_head

CANDIDATES = 16
"""Words whose logits are computed again."""


@contextmanager
def precise_head(model: PreTrainedModel) -> Iterator[None]:
    """While the block runs, `model(...).logits` is float32, and the highest logits are as exact as that."""
    head = model.get_output_embeddings()
    assert isinstance(head, nn.Module)
    whole = head.forward

    def precise(hidden: Float[Tensor, "... hidden"]) -> Float[Tensor, "... vocabulary"]:
        logits = torch.as_tensor(whole(hidden))
        if type(head) is not nn.Linear or logits.dtype == torch.float32:
            return logits.float()
        best = logits.topk(min(CANDIDATES, logits.shape[-1])).indices
        exact = (head.weight[best].float() * hidden.float()[..., None, :]).sum(-1)
        bias: Tensor | None = head.bias  # torch types it as if every linear layer had one
        if bias is not None:
            exact = exact + bias[best].float()
        return logits.float().scatter(-1, best, exact)

    with instead_of_head(model, precise):
        yield
