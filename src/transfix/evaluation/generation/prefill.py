"""Prompts read: keys and values of all layers, the same numbers whatever other prompts there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel

from transfix.adapters import architecture
from transfix.evaluation.generation.cache import States


def piece_size(device: torch.device) -> int:
    """Tokens in a forward: few on a CPU, so that more is shared; many on a GPU, which is idle with few."""
    return 64 if device.type == "cpu" else 512


class Prefill:
    """Reads prompts one at a time, in pieces of a fixed size.

    Tokens do not see what follows, so whole pieces that a prompt has in common with the one before it are not computed again
    (few-shot examples, several questions about one text): sort prompts by their tokens. As pieces begin at fixed places,
    their numbers are the same, shared or not.

    Attributes:
        piece: tokens in a forward.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.body = architecture.body(model)
        self.device = architecture.embedding_table(model).device
        self.piece = piece_size(self.device)
        self._tokens: tuple[int, ...] = ()
        self._states: States = []

    def __call__(self, tokens: Sequence[int]) -> States:
        """Each layer's keys and values of `tokens`; nothing for no tokens."""
        tokens = tuple(tokens)
        shared = _alike(self._tokens, tokens) // self.piece * self.piece
        cache = DynamicCache()
        if shared:
            for layer, (keys, values) in enumerate(self._states):
                cache.update(keys[:, :, :shared], values[:, :, :shared], layer)
        for start in range(shared, len(tokens), self.piece):
            ids = torch.tensor([tokens[start : start + self.piece]], device=self.device)
            positions = torch.arange(start, start + ids.shape[1], device=self.device)[None]
            self.body(input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=True)
        layers: list[Any] = cache.layers
        self._tokens, self._states = tokens, [(layer.keys, layer.values) for layer in layers]
        return self._states


def _alike(first: Sequence[int], second: Sequence[int]) -> int:
    """With how many equal tokens two prompts begin."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(first), len(second)))
