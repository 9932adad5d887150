"""Which rows may share their beginning on a given model: found out by asking the model, not from a list of architectures."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from transfix.adapters import use
from transfix.batches.head import focused_head
from transfix.batches.rotation import company
from transfix.batches.tensors import Batch, collate
from transfix.batches.trees import TokenSequence, Tree, grow

_WINDOWS = ("sliding_window", "attention_chunk_size", "window_size")
"""How configurations name the number of tokens that a layer looks back over."""

_TOLERANCE = 0.05
"""Of the logits' own spread. Rounding in bfloat16 makes 1 %, a token seen that should not be 10 % and more."""

_asked: WeakKeyDictionary[PreTrainedModel, dict[str, bool]] = WeakKeyDictionary()


def shared(
    model: PreTrainedModel, sequences: Sequence[TokenSequence], budget: int, widest: int | None = None
) -> list[Tree]:
    """The sequences as trees, as far as this model can share.

    A tree is made of what lies within the sliding window, if the model has one. A model whose layers carry a state from
    token to token (Mamba, convolutions), or that counts positions in the mask (ALiBi), cannot share.

    Args:
        model: the model that will read the trees.
        sequences: the rows.
        budget: tokens in a forward; no tree gets more.
        widest: no tree gets more rows.
    """
    config = model.config.get_text_config()
    windows = [size for name in _WINDOWS if isinstance(size := getattr(config, name, None), int)]
    largest, widest = min([budget, *windows]), widest if _shares(model) else 1
    company_of = company(model)
    companies: dict[int, list[TokenSequence]] = {}
    for sequence in sequences:
        companies.setdefault(company_of(len(sequence.tokens)), []).append(sequence)
    return [
        replace(tree, company=key) if key else tree
        for key, members in sorted(companies.items())
        for tree in grow(members, largest, widest)
    ]


def mask_dtype(model: PreTrainedModel) -> torch.dtype | None:
    """The dtype of an additive mask where the backend needs one, else `None`."""
    return model.dtype if _backend(model).endswith("eager") else None


def _backend(model: PreTrainedModel) -> str:
    return str(model.config._attn_implementation)


def _shares(model: PreTrainedModel) -> bool:
    """Whether a small tree gives the logits of its rows one by one, with the attention backend that is set."""
    if model.get_output_embeddings() is None:  # a head of classes, which reads the whole row
        return False
    backend = _backend(model)
    if not backend.endswith(("sdpa", "eager")):  # others take no mask of our own
        return False
    answers = _asked.setdefault(model, {})
    if backend not in answers:
        answers[backend] = _asks(model)
    return answers[backend]


def _asks(model: PreTrainedModel) -> bool:
    """Asks the base model: its architecture decides. An adapter would only add rounding (in bfloat16 up to the tolerance)."""
    size = int(model.get_output_embeddings().weight.shape[0])
    trunk = tuple((7 * place + 3) % size for place in range(4))
    rows = [TokenSequence(index, (*trunk, (11 * index + 5) % size, (13 * index + 8) % size), 2) for index in range(3)]
    training = model.training
    model.eval()
    try:
        with nullcontext() if getattr(model, "_transfix", None) is None else use(model, None):
            alone = torch.cat([_logits(model, collate([Tree((row,), len(row.tokens))], 0)) for row in rows])
            together = _logits(model, collate([Tree(tuple(rows), len(trunk))], 0))
    except (TypeError, ValueError, RuntimeError, IndexError):  # no model refuses a mask in the same way
        return False
    finally:
        model.train(training)
    return bool((together - alone).square().mean().sqrt() <= _TOLERANCE * alone.std())


@torch.no_grad()
def _logits(model: PreTrainedModel, batch: Batch) -> Float[Tensor, "reads vocabulary"]:
    with focused_head(model, batch.reads):
        inputs: dict[str, Any] = batch.inputs(model.device, mask_dtype(model))
        logits: Tensor = model(**inputs, use_cache=False).logits[0]
    return logits.float()
