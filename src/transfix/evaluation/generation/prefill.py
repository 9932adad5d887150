"""Prompts read: keys and values of all layers, the same numbers whatever other prompts there are.

    prompts, sorted        rows of a forward      in each layer
    a b c d                a
    a b c e                b                      K, V of a tile of 16 tokens go to its prompt's own place, behind what has
    f g              ──▶   c                 ──▶  been read; what prompts share is copied from one to the next, not computed
                           d                      attention of a tile over its own prompt
                           e
                           f g

Products of 16 rows, 32, 48, ... treat all rows alike on a CPU, so that large ones may take the tiles of many prompts there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel

from transfix.adapters import architecture
from transfix.evaluation.generation.cache import States
from transfix.evaluation.generation.tile_attention import ChangedKeysError, reading_tiles
from transfix.evaluation.generation.tile_cache import TILE, Prompt, TileCache

FORWARD = 32
"""Tiles in a forward, at most."""

ROOM = 8192
"""Tokens whose keys and values are held ahead of need, at most."""

Prefill = Callable[[Iterable[Sequence[int]]], Iterator[States]]
"""From prompts to each layer's keys and values of every prompt, nothing for no tokens.

Prompts are best sorted by their tokens: what one has in common with the one before it is not computed again.
"""


def prefill(model: PreTrainedModel, token: int) -> Prefill:
    """The way to read prompts with a model where it is; tried with a token, so that what is computed once is there."""
    if all(parameter.device.type == "cpu" for parameter in model.parameters()):
        tiled = TiledPrefill(model)
        try:
            next(tiled([(token, token)]))
        except ChangedKeysError:
            pass
        else:
            return tiled
    piecewise = PiecewisePrefill(model)
    next(piecewise([(token, token)]))
    return piecewise


class TiledPrefill:
    """Many prompts at a time, on a CPU."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.body = architecture.body(model)
        self.cache = TileCache(model.config)
        self._last = Prompt(())

    def __call__(self, prompts: Iterable[Sequence[int]]) -> Iterator[States]:
        """See `Prefill`. As many prompts as there is room for are read when the first of them is asked for.

        Raises:
            ChangedKeysError: if the model cannot be read in this way.
        """
        ahead: deque[Prompt] = deque()
        held = 0
        for tokens in prompts:
            prompt = self._next(tuple(tokens))
            held += prompt.room
            if held > ROOM:
                yield from self._read(ahead)
                held = prompt.room
            ahead.append(prompt)
        yield from self._read(ahead)

    def _next(self, tokens: tuple[int, ...]) -> Prompt:
        """A prompt, which shares with the last one; the last one itself if it is the same."""
        last = self._last
        if tokens == last.tokens:
            return last
        shared = min(_alike(last.tokens, tokens), len(tokens) - 1) // TILE * TILE if tokens else 0
        self._last = Prompt(tokens, last if shared else None, shared)
        return self._last

    def _read(self, prompts: deque[Prompt]) -> Iterator[States]:
        self._compute([prompt for prompt in dict.fromkeys(prompts) if not prompt.states])
        while prompts:
            yield prompts.popleft().read()

    def _compute(self, prompts: list[Prompt]) -> None:
        tiles = [(prompt, start) for prompt in prompts for start in range(prompt.shared, len(prompt.tokens), TILE)]
        with reading_tiles(self.model, self.cache):
            for first in range(0, len(tiles), FORWARD):
                self._forward(tiles[first : first + FORWARD])
        for prompt in prompts:
            prompt.before = None  # what they share has been copied

    def _forward(self, tiles: list[tuple[Prompt, int]]) -> None:
        parts = [prompt.tokens[start : start + TILE] for prompt, start in tiles]
        whole = [part + part[-1:] * (TILE - len(part)) for part in parts]  # nothing sees what is filled in
        last = torch.tensor([[len(prompt.tokens) - 1] for prompt, _ in tiles])
        self.cache.take(tiles)
        positions = torch.minimum(self.cache.starts[:, None] + torch.arange(TILE), last)  # within the model's reach
        try:
            self.body(input_ids=torch.tensor(whole), position_ids=positions, past_key_values=self.cache, use_cache=True)
        finally:
            self.cache.take([])


class PiecewisePrefill:
    """One prompt at a time, in pieces of a fixed size.

    For a GPU, where other numbers of rows may go through other products, and for models that cannot be tiled.
    As pieces begin at fixed places, their numbers are the same, shared with the prompt before or not.

    Attributes:
        piece: tokens in a forward: few on a CPU, so that more is shared; many on a GPU, which is idle with few.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.body = architecture.body(model)
        self.device = architecture.embedding_table(model).device
        self.piece = 64 if self.device.type == "cpu" else 512
        self._tokens: tuple[int, ...] = ()
        self._states: States = []

    def __call__(self, prompts: Iterable[Sequence[int]]) -> Iterator[States]:
        """See `Prefill`. Nothing is read ahead."""
        return map(self._read, map(tuple, prompts))

    def _read(self, tokens: tuple[int, ...]) -> States:
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
