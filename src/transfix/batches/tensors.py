"""Trees as tensors: the arguments of one forward, and where in it the wanted logits stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from transfix.batches.trees import Tree


@dataclass(frozen=True, slots=True)
class Batch:
    """One forward.

    Attributes:
        input_ids: tokens (B, T); trees on the left of their row, padding behind them; plain rows padded on the left.
        position_ids: positions (B, T), counted along each sequence.
        attention_mask: (B, 1, T, T), true where a query sees a key; or (B, T) if no row is shared.
        reads: the wanted positions in the flattened (B·T), sequence by sequence, each from left to right.
        indices: for each read the index of its sequence.
    """

    input_ids: Int[Tensor, "batch tokens"]
    position_ids: Int[Tensor, "batch tokens"]
    attention_mask: Bool[Tensor, "batch 1 tokens tokens"] | Int[Tensor, "batch tokens"]
    reads: Int[Tensor, " reads"]
    indices: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """Tokens computed, padding included."""
        return self.input_ids.numel()

    def inputs(
        self, device: torch.device | str, mask_dtype: torch.dtype | None = None
    ) -> dict[str, Shaped[Tensor, "batch ..."]]:
        """The model's keyword arguments on `device`; `mask_dtype` makes a (B, 1, T, T) mask additive, as eager needs it."""
        mask: Tensor = self.attention_mask
        if mask_dtype is not None and mask.ndim == 4:
            mask = torch.where(mask, 0.0, torch.finfo(mask_dtype).min).to(mask_dtype)
        tensors = {"input_ids": self.input_ids, "position_ids": self.position_ids, "attention_mask": mask}
        return {name: tensor.to(device) for name, tensor in tensors.items()}


def collate(trees: Sequence[Tree], pad: int) -> Batch:
    """The trees as one batch, a row each; `pad` is the token id that fills up."""
    if all(len(tree.sequences) == 1 for tree in trees):
        return _plain(trees, pad)
    width = max(tree.size for tree in trees)
    ids = torch.full((len(trees), width), pad)
    positions = torch.zeros(len(trees), width, dtype=torch.long)
    segment = torch.full((len(trees), width), -1)  # 0 the trunk, 1.. the branches, -1 padding
    reads: list[int] = []
    indices: list[int] = []
    for row, tree in enumerate(trees):
        ids[row, : tree.shared] = torch.tensor(tree.sequences[0].tokens[: tree.shared])
        positions[row, : tree.shared] = torch.arange(tree.shared)
        segment[row, : tree.shared] = 0
        start = tree.shared
        for branch, sequence in enumerate(tree.sequences, start=1):
            length = len(sequence.tokens) - tree.shared
            ids[row, start : start + length] = torch.tensor(sequence.tokens[tree.shared :], dtype=torch.long)
            positions[row, start : start + length] = torch.arange(tree.shared, tree.shared + length)
            segment[row, start : start + length] = branch
            for place in range(len(sequence.tokens) - sequence.reads, len(sequence.tokens)):
                column = place if place < tree.shared else start + place - tree.shared
                reads.append(row * width + column)
                indices.append(sequence.index)
            start += length
    sees = (segment[:, None, :] == 0) | (segment[:, None, :] == segment[:, :, None])
    mask = sees & torch.ones(width, width, dtype=torch.bool).tril()
    return Batch(ids, positions, mask[:, None], torch.tensor(reads), tuple(indices))


def _plain(trees: Sequence[Tree], pad: int) -> Batch:
    """Rows without sharing: left-padded, so that targets stand at the end, with an ordinary mask."""
    width = max(tree.size for tree in trees)
    ids = torch.full((len(trees), width), pad)
    mask = torch.zeros(len(trees), width, dtype=torch.long)
    reads: list[int] = []
    indices: list[int] = []
    for row, tree in enumerate(trees):
        (sequence,) = tree.sequences
        ids[row, width - len(sequence.tokens) :] = torch.tensor(tuple(sequence.tokens))
        mask[row, width - len(sequence.tokens) :] = 1
        reads += range(row * width + width - sequence.reads, row * width + width)
        indices += [sequence.index] * sequence.reads
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    return Batch(ids, positions, mask, torch.tensor(reads), tuple(indices))
