"""A linear layer with weights in int8: y = (x Qᵀ) · s, with Q (out, in) whole numbers up to 127 and a scale s for each row.

Whole numbers up to 256 are exact in bfloat16, so nothing but the rounding to int8 is lost. The backward pass dx = (dy · s) Q
takes Q from int8 again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Int8Linear(torch.autograd.Function):
    """`Int8Linear.apply(x, Q, absmax)`, with absmax (out,) = 127 s. Only x gets a gradient."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, absmax: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        ctx.save_for_backward(weight, absmax)
        product = torch.nn.functional.linear(states, weight.to(states.dtype))
        return product.mul_((absmax / 127).to(states.dtype))

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, None, None]:
        """(..., out) -> (..., in)."""
        weight, absmax = ctx.saved_tensors
        if not ctx.needs_input_grad[0]:
            return None, None, None
        scaled = outer[0] * (absmax / 127).to(outer[0].dtype)
        return scaled @ weight.to(scaled.dtype), None, None
