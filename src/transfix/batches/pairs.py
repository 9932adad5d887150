"""What an encoder reads: a text, or two, with what its tokenizer puts around them; rows that share nothing.

    <s> premise </s></s> hypothesis </s> <pad> <pad>        the answer is read at the first token, so padding stands behind

In a model that attends in both directions every token depends on all others: no beginning can be shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from transfix.batches.tensors import Batch
from transfix.tasks.reader import UnreadableTextError, control_tokens

SHOWN = 60
"""Characters of a text that a message shows."""


@dataclass(frozen=True, slots=True)
class EncodedPair:
    """One row.

    Attributes:
        tokens: with everything around the texts.
        second: from which token on the tokenizer says that it is of the second text; None if it does not say.
        truncated: whether tokens were left out, of the longer text.
    """

    tokens: tuple[int, ...]
    second: int | None
    truncated: bool


class PairReader:
    """A tokenizer that reads one text or two.

    Args:
        tokenizer: of transformers.
        size: rows of the model's embedding table.
    """

    def __init__(self, tokenizer: Any, size: int) -> None:
        self.tokenizer = tokenizer
        self.size = size
        unknown = getattr(tokenizer, "unk_token_id", None)
        self._control = {number: text for text, number in control_tokens(tokenizer).items() if number != unknown}
        self._around = {count: self._controls(list(tokenizer(*["a"] * count)["input_ids"])) for count in (1, 2)}

    def encode(self, rows: Sequence[tuple[str, ...]], most: int | None) -> list[EncodedPair]:
        """The tokens of rows of one text or two; of those longer than `most` the end of the longer text is left out.

        Raises:
            UnreadableTextError: a text is read as a control token, or has a token without an embedding.
        """
        return [self._one(row, most) for row in rows]

    def _one(self, row: tuple[str, ...], most: int | None) -> EncodedPair:
        found = self._read(row)
        truncated = most is not None and len(found["input_ids"]) > most
        if truncated:
            found = self._read(row, truncation="longest_first" if len(row) > 1 else True, max_length=most)
        ids = list(found["input_ids"])
        if surprising := sorted(self._controls(ids, self._around[len(row)])):
            text = next((text for text in row if self._control[surprising[0]] in text), row[0])
            raise UnreadableTextError(
                f"the text {text[:SHOWN]!r} is read as the control token {self._control[surprising[0]]} of this tokenizer. "
                "Take it out of the rows' texts."
            )
        if max(ids) >= self.size:
            raise UnreadableTextError(
                f"the text {row[0][:SHOWN]!r} has token {max(ids):,}, and the model has embeddings for tokens up to "
                f"{self.size - 1:,} only: take it out of the texts."
            )
        types = found.get("token_type_ids")
        return EncodedPair(tuple(ids), None if types is None else sum(kind == 0 for kind in types), truncated)

    def _read(self, row: tuple[str, ...], **options: Any) -> Any:
        return self.tokenizer(*row, split_special_tokens=True, verbose=False, **options)

    def _controls(self, ids: Sequence[int], usual: Sequence[int] = ()) -> list[int]:
        """The control tokens among some, those that stand around every text left out."""
        rest, left = list(usual), []
        for number in ids:
            if number in self._control:
                if number in rest:
                    rest.remove(number)
                else:
                    left.append(number)
        return left


def class_logits(model: PreTrainedModel, batch: Batch, seconds: Sequence[int | None]) -> Float[Tensor, "rows classes"]:
    """The logits of the head's classes, float32, in the order of `batch.indices`.

    Args:
        model: an encoder with a head of classes.
        batch: rows without sharing.
        seconds: for each row of the batch where its second text begins, see `EncodedPair`.
    """
    ids, mask = _padded_behind(batch)
    inputs = {"input_ids": ids, "attention_mask": mask}
    if seconds and seconds[0] is not None:
        starts = torch.tensor([second or 0 for second in seconds])[:, None]
        inputs["token_type_ids"] = ((torch.arange(ids.shape[1]) >= starts) & mask.bool()).long()
    logits: Tensor = model(**{name: tensor.to(model.device) for name, tensor in inputs.items()}).logits
    return logits.float()


def _padded_behind(batch: Batch) -> tuple[Tensor, Tensor]:
    """Tokens and mask (B, T) of plain rows, which are padded on the left, with the padding behind them."""
    mask, width = batch.attention_mask, batch.input_ids.shape[1]
    padding = width - mask.sum(-1, keepdim=True)
    place = (torch.arange(width) + padding) % width
    return batch.input_ids.gather(1, place), mask.gather(1, place)
