"""What is learned of a row: the label word after its prompt (`Choices`), a text (`Texts`), a class (`Classes`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from transfix.batches import Batch, Tree, class_logits, target_logits, word_logits
from transfix.training.head_loss import frozen_head_loss

CHUNK = 256
"""Positions whose logits are in float32 at a time: a quarter of a gigabyte for a vocabulary of 262,144."""


@runtime_checkable
class Objective(Protocol):
    """What a trainer minimises."""

    @property
    def pad(self) -> int:
        """The padding token."""
        ...

    def weight(self, trees: Sequence[Tree]) -> int:
        """How many terms the loss of these rows is the sum of."""
        ...

    def loss(self, model: PreTrainedModel, batch: Batch) -> Float[Tensor, ""]:
        """The sum of the loss over the batch."""
        ...


class _ByClass(ABC):
    """Cross-entropy over classes, one term a row.

    Attributes:
        targets: the class of each row.
    """

    __slots__ = ()
    targets: Int[Tensor, " rows"]

    @abstractmethod
    def logits(self, model: PreTrainedModel, batch: Batch) -> Float[Tensor, "rows classes"]:
        """The logits of the classes for the rows of a batch."""

    def weight(self, trees: Sequence[Tree]) -> int:
        """The number of rows."""
        return sum(len(tree.sequences) for tree in trees)

    def loss(self, model: PreTrainedModel, batch: Batch) -> Float[Tensor, ""]:
        """The sum over the rows."""
        logits = self.logits(model, batch)
        targets = self.targets[list(batch.indices)].to(logits.device)
        return nn.functional.cross_entropy(logits, targets, reduction="sum")


@dataclass(frozen=True, slots=True)
class Choices(_ByClass):
    """Cross-entropy over the label words, one term a row.

    Attributes:
        targets: the class of each row.
        words: the token id of each class's label word.
        pad: the padding token.
    """

    targets: Int[Tensor, " rows"]
    words: Int[Tensor, " classes"]
    pad: int

    def logits(self, model: PreTrainedModel, batch: Batch) -> Float[Tensor, "rows classes"]:
        """Those of the label words."""
        return word_logits(model, batch, self.words)


@dataclass(frozen=True, slots=True)
class Classes(_ByClass):
    """Cross-entropy over the classes of an encoder's head, one term a row.

    Attributes:
        targets: of each row, the place of its class in the head.
        seconds: of each row, where its second text begins, see `batches.EncodedPair`.
        pad: the padding token.
    """

    targets: Int[Tensor, " rows"]
    seconds: Sequence[int | None]
    pad: int

    def logits(self, model: PreTrainedModel, batch: Batch) -> Float[Tensor, "rows classes"]:
        """Those of the head."""
        return class_logits(model, batch, [self.seconds[index] for index in batch.indices])


@dataclass(frozen=True, slots=True)
class Texts:
    """Cross-entropy over the vocabulary, one term a token of the target. The prompt is no target.

    Attributes:
        targets: the target tokens of each row.
        pad: the padding token.
    """

    targets: Sequence[tuple[int, ...]]
    pad: int

    def weight(self, trees: Sequence[Tree]) -> int:
        """The number of target tokens."""
        return sum(sequence.reads for tree in trees for sequence in tree.sequences)

    def loss(self, model: PreTrainedModel, batch: Batch) -> Float[Tensor, ""]:
        """The sum over the target tokens."""
        targets = self.tokens(batch).to(model.device)
        if (loss := frozen_head_loss(model, batch, targets)) is not None:
            return loss
        logits = target_logits(model, batch)
        total = logits.new_zeros((), dtype=torch.float32)
        for start in range(0, len(targets), CHUNK):
            part = slice(start, start + CHUNK)
            total = total + checkpoint(_cross_entropy, logits[part], targets[part], use_reentrant=False)
        return total

    def tokens(self, batch: Batch) -> Int[Tensor, " reads"]:
        """The token that is right at each read: a sequence's reads come in the order of its target."""
        seen: Counter[int] = Counter()
        found = []
        for index in batch.indices:
            found.append(self.targets[index][seen[index]])
            seen[index] += 1
        return torch.tensor(found)


def _cross_entropy(logits: Float[Tensor, "part vocabulary"], targets: Int[Tensor, " part"]) -> Tensor:
    return nn.functional.cross_entropy(logits.float(), targets, reduction="sum")
