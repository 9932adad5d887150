"""Logits in float32 where they decide.

A head in bfloat16 rounds logits around 20 to steps of 0.125, so that the best words are often tied. Computing all of them in
float32 takes four times as long. Rounding keeps the order, so the best word is among the best in bfloat16 (unless
more than 16 are tied there): only those are computed again, and when only the best word is wanted, nothing else is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from transfix.batches import forward_of, instead_of_head

CANDIDATES = 16
"""Words whose logits are computed again."""


@dataclass(slots=True)
class Words:
    """Which words the logits of the last forward are of.

    Attributes:
        candidates: (rows, tokens, words); None if the logits are of the whole vocabulary.
    """

    candidates: Int[Tensor, "rows tokens words"] | None = None

    def named(self, chosen: Int[Tensor, " rows"]) -> Int[Tensor, " rows"]:
        """From places among the logits of the last token to words."""
        if self.candidates is None:
            return chosen
        return self.candidates[:, -1].gather(1, chosen[:, None])[:, 0]


@contextmanager
def precise_head(model: PreTrainedModel, only_best: bool = False) -> Iterator[Words]:
    """While the block runs, `model(...).logits` is float32 in this thread, and the highest logits are as exact as that.

    Args:
        model: its head is replaced for the time.
        only_best: of a head in another dtype leave out the logits of all words but the likeliest.

    Yields:
        which words the logits are of.
    """
    head = model.get_output_embeddings()
    assert isinstance(head, nn.Module)
    whole, words = forward_of(head), Words()

    def precise(hidden: Float[Tensor, "... hidden"]) -> Float[Tensor, "... vocabulary"]:
        logits = torch.as_tensor(whole(hidden))
        words.candidates = None
        if type(head) is not nn.Linear or logits.dtype == torch.float32:
            return logits.float()
        best = _highest(logits).sort(-1).values  # of equal logits the first word is taken, as everywhere
        exact = (head.weight[best].float() * hidden.float()[..., None, :]).sum(-1)
        bias: Tensor | None = head.bias  # torch types it as if every linear layer had one
        if bias is not None:
            exact = exact + bias[best].float()
        if only_best:
            words.candidates = best
            return exact
        return logits.float().scatter(-1, best, exact)

    with instead_of_head(model, precise):
        yield words


def _highest(logits: Float[Tensor, "... vocabulary"]) -> Int[Tensor, "... words"]:
    """Where the highest logits are: within the groups of words with the highest maxima (a third of a whole search's time)."""
    size = next((size for size in (256, 128, 64) if logits.shape[-1] % size == 0), 0)
    if not size or logits.shape[-1] < size * CANDIDATES:
        return logits.topk(min(CANDIDATES, logits.shape[-1])).indices
    parts = logits.view(*logits.shape[:-1], -1, size)
    groups = parts.amax(-1).topk(CANDIDATES).indices
    found = parts.gather(-2, groups[..., None].expand(*groups.shape, size)).flatten(-2).topk(CANDIDATES).indices
    return groups.gather(-1, found // size) * size + found % size
