"""Logits only where a target is, and only for the words that can be the answer.

For a small model with a large vocabulary most of a forward is spent in the language-model head: on Gemma 3 270M the logits of
all positions cost more than all layers together. The model's own forward runs as it is; only its head gets fewer rows to
multiply, and whatever the model does to logits afterwards (soft-capping, scaling) it still does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers import PreTrainedModel


@contextmanager
def focused_head(
    model: PreTrainedModel, reads: Int[Tensor, " reads"], words: Int[Tensor, " words"] | None = None
) -> Iterator[None]:
    """While the block runs, `model(...).logits` is (1, reads, words) instead of (B, T, vocabulary).

    Args:
        model: a model with a language-model head.
        reads: the wanted positions in the flattened (B·T).
        words: token ids whose logits are wanted; `None` for the whole vocabulary.
    """
    head = model.get_output_embeddings()
    assert isinstance(head, nn.Module)
    whole = head.forward

    def focused(hidden: Tensor) -> Tensor:
        wanted = hidden.flatten(0, -2)[reads.to(hidden.device)][None]
        if words is None:
            return torch.as_tensor(whole(wanted))
        index = words.to(hidden.device)
        if type(head) is not nn.Linear:
            return torch.as_tensor(whole(wanted))[..., index]
        bias: Tensor | None = head.bias  # torch types it as if every linear layer had one
        return nn.functional.linear(wanted, head.weight[index], None if bias is None else bias[index])

    with instead_of_head(model, focused):
        yield


@contextmanager
def instead_of_head(model: PreTrainedModel, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """While the block runs, the model's head is `forward`; what was there before, a library's hook too, comes back."""
    head: Any = model.get_output_embeddings()
    own = vars(head).get("forward")  # a hook's, for example of accelerate
    head.forward = forward
    try:
        yield
    finally:
        if own is None:
            del head.forward
        else:
            head.forward = own
