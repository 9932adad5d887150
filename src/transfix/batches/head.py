"""Logits only where a target is, and only for the words that can be the answer.

For a small model with a large vocabulary most of a forward is spent in the language-model head: on Gemma 3 270M the logits of
all positions cost more than all layers together. The model's own forward runs as it is; only its head gets fewer rows to
multiply, and whatever the model does to logits afterwards (soft-capping, scaling) it still does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from transfix.batches.forwards import forward_of, instead_of_forward

_MARK = 37.0
"""What the head answers while hidden states are caught: soft-capping or scaling would make something else of it."""


@contextmanager
def focused_head(
    model: PreTrainedModel, reads: Int[Tensor, " reads"], words: Int[Tensor, " words"] | None = None
) -> Iterator[None]:
    """While the block runs, `model(...).logits` is (1, reads, words) instead of (B, T, vocabulary), in this thread.

    Args:
        model: a model with a language-model head.
        reads: the wanted positions in the flattened (B·T).
        words: token ids whose logits are wanted; `None` for the whole vocabulary.
    """
    head = model.get_output_embeddings()
    assert isinstance(head, nn.Module)
    whole = forward_of(head)

    def focused(hidden: Float[Tensor, "... hidden"]) -> Float[Tensor, "1 reads words"]:
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


def head_input(
    model: PreTrainedModel, reads: Int[Tensor, " reads"], inputs: Mapping[str, Any]
) -> Float[Tensor, "reads hidden"] | None:
    """The hidden states that the head would multiply at some positions; None if the model changes logits after the head.

    Where it does not (no soft-capping, no scaling), the head can be run on them in pieces.

    Args:
        model: a model with a language-model head.
        reads: the wanted positions in the flattened (B·T).
        inputs: the model's keyword arguments.
    """
    caught: list[Tensor] = []

    def catch(states: Float[Tensor, "... hidden"]) -> Float[Tensor, "1 1 1"]:
        caught.append(states.flatten(0, -2)[reads.to(states.device)])
        return states.new_full((1, 1, 1), _MARK)

    with instead_of_head(model, catch):
        logits: Tensor = model(**inputs, use_cache=False).logits
    return caught[0] if logits.shape == (1, 1, 1) and float(logits.detach()) == _MARK else None


@contextmanager
def instead_of_head(model: PreTrainedModel, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """While the block runs, the model's head is `forward`, in this thread; what was there before comes back."""
    head = model.get_output_embeddings()
    assert isinstance(head, nn.Module)
    with instead_of_forward(head, forward):
        yield
