"""The next token of every row: the likeliest, or one drawn with a number that depends on the row alone."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import torch
from jaxtyping import Float, Int
from torch import Tensor

from transfix.evaluation.generation.decoding import Decoding

_NUCLEUS = 1024
"""Tokens among which the nucleus is looked for first. Sorting the whole vocabulary takes far longer."""


def draw(seed: int, key: str, position: int) -> float:
    """A uniform number in [0, 1), a function of its arguments."""
    digest = blake2b(f"{seed}/{position}/{key}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) * 2.0**-53


def choose(
    logits: Float[Tensor, "rows vocabulary"], decoding: Decoding, draws: Sequence[float]
) -> tuple[Int[Tensor, " rows"], Float[Tensor, " rows"]]:
    """The next tokens, and the highest logits (not finite where any logit is no number).

    Args:
        logits: in float32.
        decoding: temperature and top_p.
        draws: a uniform number for each row; not looked at when decoding greedily.
    """
    highest, likeliest = logits.max(-1)
    if decoding.temperature == 0:
        return likeliest, highest
    probabilities = ((logits - highest[:, None]) / decoding.temperature).softmax(-1)
    numbers = torch.tensor(draws, dtype=torch.float64, device=logits.device)
    if decoding.top_p == 1:
        return _inverse(probabilities, 1.0, numbers), highest
    found, order = probabilities.topk(min(_NUCLEUS, probabilities.shape[-1]))
    places = _inverse(found, decoding.top_p, numbers)
    tokens = order.gather(1, places[:, None])[:, 0]
    wide = found.sum(-1, dtype=torch.float64) < decoding.top_p
    if bool(wide.any()):  # a stable sort: ties are broken in the same way whatever the other rows are
        found, order = probabilities[wide].sort(descending=True, stable=True)
        tokens[wide] = order.gather(1, _inverse(found, decoding.top_p, numbers[wide])[:, None])[:, 0]
    return tokens, highest


def _inverse(
    probabilities: Float[Tensor, "rows words"], share: float, numbers: Float[Tensor, " rows"]
) -> Int[Tensor, " rows"]:
    """The inverse of the distribution function, cut where `share` is reached: which word each number falls on."""
    reached = probabilities.cumsum(-1, dtype=torch.float64)
    last = (reached < share).sum(-1, keepdim=True).clamp(max=probabilities.shape[-1] - 1)
    wanted = numbers[:, None] * reached.gather(1, last)
    return torch.minimum(torch.searchsorted(reached, wanted, right=True), last)[:, 0]
