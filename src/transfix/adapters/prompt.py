"""Soft prompts (Lester et al. 2021): E (P, d) stands before the token embeddings, at positions 0..P-1.

In a causal decoder nothing that follows the prompt can change its states, so they are computed once per forward from E
alone (a batch of one, P tokens) instead of once per row: each layer's keys and values of the prompt are recorded, and
the rows' tokens, moved to positions P, P+1, ..., attend to them. The result is that of prepending E to every row; the
input, the output and the cache keep their shapes, so generation and training loops see an ordinary model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor, nn

from transfix.adapters.architecture import embedding_table
from transfix.adapters.prefix import KeysValues

if TYPE_CHECKING:
    from transfix.adapters.seam import Seam


class PromptEmbedding(nn.Module):
    """E (P, d) in the space of the model's (scaled) token embeddings, float32."""

    def __init__(self, tokens: int, hidden: int, device: torch.device):
        super().__init__()
        self.tokens = tokens
        self.embedding = nn.Parameter(torch.zeros(tokens, hidden, dtype=torch.float32, device=device))


class PromptPass:
    """Runs the body on the active soft prompts and keeps each layer's keys and values for the rows' forward.

    Attributes:
        embeddings: the soft prompts, by adapter name.
        recording: the adapter whose prompt is being run, if any.
        recorded: keys and values (G, P, h) of the last run, by adapter and layer.
    """

    def __init__(self, seam: Seam) -> None:
        self.seam = seam
        self.embeddings: dict[str, PromptEmbedding] = {}
        self.recording: str | None = None
        self.recorded: dict[tuple[str, int], KeysValues] = {}
        self._stamp: tuple[object, ...] | None = None

    def run(self, device: torch.device, decoding: bool) -> None:
        """Records the prompts of the active adapters.

        Skipped while `decoding` token by token with gradients off and no weight changed since (see `ProjectedPrefix`).
        """
        names = [name for name in self.seam.active if name in self.embeddings]
        stamp = self._current_stamp(names)
        if decoding and stamp is not None and stamp == self._stamp:
            return
        self.recorded, self._stamp = {}, stamp
        for name in names:
            prompt = self.embeddings[name]
            dtype = embedding_table(self.seam.body).dtype
            positions = torch.arange(prompt.tokens, device=device)[None]
            with self.seam.using((name,), None), self._recording(name):
                self.seam.body(
                    inputs_embeds=prompt.embedding.to(device, dtype)[None], position_ids=positions, use_cache=False
                )

    def remove(self, name: str) -> None:
        """Forgets an adapter's prompt."""
        del self.embeddings[name]
        self.recorded, self._stamp = {}, None

    def release(self) -> None:
        """After a forward: lets go of what only this forward could use, its autograd graph with it."""
        if self.recording is None and self._stamp is None:
            self.recorded = {}

    def record(self, layer: int, key: Tensor, value: Tensor) -> None:
        """Keeps a layer's rotated keys and values (1, G, P, h) while a prompt runs; not again when it is recomputed."""
        if self.recording is not None:
            self.recorded.setdefault((self.recording, layer), (key[0], value[0]))

    def keys_values(self, name: str, layer: int) -> KeysValues | None:
        """K and V (G, P, h) of an adapter's prompt at a layer; `None` while a prompt runs or if it has none."""
        return self.recorded.get((name, layer)) if self.recording is None and name in self.embeddings else None

    def shift(self, batch: int, device: torch.device) -> Int[Tensor, "rows 1"] | None:
        """How far each row's tokens move: its prompt's length, (B or 1, 1); `None` if no active adapter has one."""
        lengths = [self.embeddings[n].tokens if n in self.embeddings else 0 for n in self.seam.active]
        if not any(lengths):
            return None
        rows = self.seam.row_index(batch, device)
        table = torch.tensor([*lengths, 0], device=device)  # index -1, the base model, finds the last: 0
        return table[:1, None] if rows is None else table[rows][:, None]

    def _current_stamp(self, names: list[str]) -> tuple[object, ...] | None:
        if torch.is_grad_enabled() or self.seam.model.training:
            return None
        try:
            versions = tuple((p.data_ptr(), p._version) for p in self.seam.model.parameters())
        except RuntimeError:  # inference tensors keep no version
            return None
        return (tuple(names), versions)

    @contextmanager
    def _recording(self, name: str) -> Iterator[None]:
        """Reentrant activation checkpointing is off meanwhile: it would record keys and values that have no gradient."""
        flagged = [m for m in self.seam.body.modules() if getattr(m, "gradient_checkpointing", False) and _reentrant(m)]
        self.recording = name
        for module in flagged:
            setattr(module, "gradient_checkpointing", False)  # noqa: B010
        try:
            yield
        finally:
            self.recording = None
            for module in flagged:
                setattr(module, "gradient_checkpointing", True)  # noqa: B010


def _reentrant(module: nn.Module) -> bool:
    """Whether a checkpointed module is recomputed by reentrant checkpointing (`functools.partial` of torch's function)."""
    settings = getattr(getattr(module, "_gradient_checkpointing_func", None), "keywords", {})
    return bool(settings.get("use_reentrant", True))
