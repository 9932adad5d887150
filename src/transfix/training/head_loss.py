"""The loss over a large vocabulary without keeping its logits: loss and gradient are taken in one pass over the targets.

For hidden states h (n, d), a frozen head W (V, d) and targets t, chunk by chunk:

    z = h Wᵀ        loss = Σ logsumexp(z) - z_t        dh = (softmax(z) - onehot(t)) W

so that of z only a chunk is ever there, and the backward pass has nothing left to multiply (Liger Kernel does the same on
GPUs; Hsu et al. 2024, arXiv 2410.10989). With a head that learns, or logits that the model changes (soft-capping), the
ordinary way is taken.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from transfix import batches
from transfix.batches import Batch

CHUNK = 128
"""Positions a chunk: 128 × 262,144 logits are 134 MB in float32."""


def frozen_head_loss(model: PreTrainedModel, batch: Batch, targets: Int[Tensor, " reads"]) -> Float[Tensor, ""] | None:
    """The summed cross-entropy at the batch's reads; None if the head is no frozen matrix or its logits are changed after."""
    head: Any = model.get_output_embeddings()
    bias: Any = getattr(head, "bias", None)
    frozen = type(head) is nn.Linear and bias is None and not head.weight.requires_grad
    if not frozen:
        return None
    inputs = batch.inputs(model.device, batches.mask_dtype(model))
    hidden = batches.head_input(model, batch.reads, inputs)
    if hidden is None:
        return None
    loss: Tensor = _HeadLoss.apply(hidden, head.weight, targets)  # type: ignore[no-untyped-call]
    return loss


class _HeadLoss(torch.autograd.Function):
    """See the module's description."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for start in range(0, len(targets), CHUNK):
            part = slice(start, start + CHUNK)
            logits = nn.functional.linear(hidden[part], weight).float()
            largest = logits.logsumexp(-1)
            own = targets[part, None]
            total += (largest - logits.gather(1, own)[:, 0]).sum()
            if gradient is not None:
                shares = logits.sub_(largest[:, None]).exp_()
                shares.scatter_add_(1, own, shares.new_full((1, 1), -1.0).expand_as(own))
                gradient[part] = shares.to(weight.dtype) @ weight
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, None, None]:
        (gradient,) = ctx.saved_tensors
        return (None if gradient is None else gradient * outer[0].to(gradient.dtype)), None, None
