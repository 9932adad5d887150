"""Choices scored in one forward an example: the log-probability of each class's label word, or of whole continuations.

A scorer makes its rows' batches once and scores them as often as is wanted, for example after every epoch of a training.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from transfix import batches
from transfix.adapters.host import staying
from transfix.batches import Batch, Encoded, TokenSequence, class_logits, target_logits, word_logits
from transfix.errors import NotFiniteError, TransfixError

CHUNK = 64
"""Positions whose logits over the whole vocabulary are there at a time: 67 MB in float32 for 262,144 words."""

TOKENS = 2048
"""Tokens in a forward. More brings nothing on a CPU and little on a GPU, and costs padding."""


class _Scorer(ABC):
    """Log-probabilities over the classes of the same rows, numbered from 0 in their order."""

    def __init__(self, model: PreTrainedModel, sequences: Sequence[TokenSequence], pad: int, budget: int) -> None:
        self.model, self.pad = model, pad
        self._rows = len(sequences)
        self._forwards = batches.evaluation_batches(batches.shared(model, sequences, budget), budget)

    @property
    @abstractmethod
    def classes(self) -> int:
        """How many classes there are."""

    @abstractmethod
    def logits(self, batch: Batch) -> Float[Tensor, "rows classes"]:
        """The logits of the classes for the rows of a batch."""

    def score(self, advance: Callable[[int], object] | None = None) -> Float[Tensor, "rows classes"]:
        """Log-probabilities normalised over the classes, in their order, on the CPU. Puts the model into evaluation mode.

        Args:
            advance: told after each forward how many rows it finished.

        Raises:
            TransfixError: if a score is no number, as it happens in float16.
        """
        self.model.eval()
        scores = torch.full((self._rows, self.classes), float("nan"))
        with torch.inference_mode(), staying(self.model):
            for trees in self._forwards:
                batch = batches.collate(trees, self.pad)
                scores[list(batch.indices)] = self.logits(batch).log_softmax(-1).cpu()
                if advance is not None:
                    advance(len(batch.indices))
        _require_finite(scores, self.model.dtype)
        return scores


class ChoiceScorer(_Scorer):
    """Log-probabilities over the classes of the same prompts, by label words of one token.

    Args:
        model: what is measured, at each time with the adapter that is active then. Its attention backend must stay.
        sequences: the prompts, numbered from 0 in their order.
        words: the token id of each class's label word.
        pad: the padding token.
        budget: tokens in a forward.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        sequences: Sequence[TokenSequence],
        words: Int[Tensor, " classes"],
        pad: int,
        budget: int = TOKENS,
    ) -> None:
        super().__init__(model, sequences, pad, budget)
        self.words = words

    @property
    def classes(self) -> int:
        """One a label word."""
        return len(self.words)

    def logits(self, batch: Batch) -> Float[Tensor, "rows classes"]:
        """Those of the label words."""
        return word_logits(self.model, batch, self.words)


class ClassScorer(_Scorer):
    """Log-probabilities over the classes of an encoder's head, of the same rows.

    Args:
        model: what is measured, at each time with the adapter that is active then.
        sequences: the rows, numbered from 0 in their order.
        seconds: of each row, where its second text begins, see `batches.EncodedPair`.
        pad: the padding token.
        budget: tokens in a forward.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        sequences: Sequence[TokenSequence],
        seconds: Sequence[int | None],
        pad: int,
        budget: int = TOKENS,
    ) -> None:
        super().__init__(model, sequences, pad, budget)
        self.seconds = seconds

    @property
    def classes(self) -> int:
        """Those of the head."""
        return int(self.model.config.num_labels or 0)

    def logits(self, batch: Batch) -> Float[Tensor, "rows classes"]:
        """Those of the head."""
        return class_logits(self.model, batch, [self.seconds[index] for index in batch.indices])


class LikelihoodScorer:
    """Summed log-probabilities of the same continuations, each of any length.

    Continuations that begin with the same tokens (the options of a row) share them.

    Args:
        model: what is measured, at each time with the adapter that is active then. Its attention backend must stay.
        sequences: context and continuation without its last token, numbered from 0 in their order; each reads as many
            positions as its continuation has tokens.
        continuations: their tokens, in the same order.
        pad: the padding token.
        budget: tokens in a forward.

    Raises:
        TransfixError: if a continuation is empty.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        sequences: Sequence[TokenSequence],
        continuations: Sequence[Sequence[int]],
        pad: int,
        budget: int = TOKENS // 2,
    ) -> None:
        for number, continuation in enumerate(continuations, start=1):
            if len(continuation) < 1:
                raise TransfixError(f"continuation {number} has no tokens: nothing of it can be scored.")
        self.model, self.continuations, self.pad = model, continuations, pad
        self._forwards = batches.evaluation_batches(batches.shared(model, sequences, budget), budget)

    def score(
        self, advance: Callable[[int], object] | None = None
    ) -> tuple[Float[Tensor, " continuations"], Bool[Tensor, " continuations"]]:
        """The log-probability of each continuation, and whether greedy decoding would write it.

        Both on the CPU, the first in float32. Puts the model into evaluation mode.

        Args:
            advance: told after each forward how many continuations it finished.

        Raises:
            TransfixError: if a score is no number, as it happens in float16.
        """
        self.model.eval()
        totals = torch.zeros(len(self.continuations), dtype=torch.float32)
        greedy = torch.ones(len(self.continuations), dtype=torch.bool)
        with torch.inference_mode(), staying(self.model):
            for trees in self._forwards:
                batch = batches.collate(trees, self.pad)
                wanted = [token for index in _runs(batch.indices) for token in self.continuations[index]]
                rows = torch.tensor(batch.indices)
                scores, likeliest = _of_targets(self.model, batch, torch.tensor(wanted))
                totals.index_add_(0, rows, scores)
                greedy[rows[~likeliest]] = False
                if advance is not None:
                    advance(sum(len(tree.sequences) for tree in trees))
        if not bool(totals.isfinite().all()):
            row = int((~totals.isfinite()).nonzero()[0])
            raise NotFiniteError(f"the score of continuation {row + 1} is {totals[row]}", self.model.dtype)
        return totals, greedy


def score_choices(
    model: PreTrainedModel,
    prompts: Sequence[Encoded],
    words: Int[Tensor, " classes"],
    pad: int,
    advance: Callable[[int], object] | None = None,
    budget: int = TOKENS,
) -> Float[Tensor, "rows classes"]:
    """What a `ChoiceScorer` of these prompts gives, once."""
    sequences = [TokenSequence(index, prompt.tokens) for index, prompt in enumerate(prompts)]
    return ChoiceScorer(model, sequences, words, pad, budget).score(advance)


def log_likelihoods(
    model: PreTrainedModel,
    continuations: Sequence[tuple[Sequence[int], int]],
    pad: int,
    advance: Callable[[int], object] | None = None,
    budget: int = TOKENS // 2,
) -> tuple[Float[Tensor, " continuations"], Bool[Tensor, " continuations"]]:
    """What a `LikelihoodScorer` gives, once.

    Args:
        model: with the adapter to be measured active.
        continuations: (tokens of context and continuation, how many of the last belong to the continuation).
        pad: the padding token.
        advance: told after each forward how many continuations it finished.
        budget: tokens in a forward.
    """
    sequences = [TokenSequence(index, tokens[:-1], reads) for index, (tokens, reads) in enumerate(continuations)]
    targets = [tokens[len(tokens) - reads :] for tokens, reads in continuations]
    return LikelihoodScorer(model, sequences, targets, pad, budget).score(advance)


def _require_finite(scores: Float[Tensor, "rows classes"], dtype: torch.dtype) -> None:
    if not bool(scores.isfinite().all()):
        row = int((~scores.isfinite().all(-1)).nonzero()[0])
        what = f"the scores of row {row + 1} are not finite ({scores[row].tolist()})"
        raise NotFiniteError(what, dtype)


def _of_targets(
    model: PreTrainedModel, batch: Batch, targets: Int[Tensor, " reads"]
) -> tuple[Float[Tensor, " reads"], Bool[Tensor, " reads"]]:
    """The log-probability of a token at each read, in float32 on the CPU, and whether no other token has more.

    Sequences that share a beginning read it at the same positions: the head sees each position once, a few at a time.
    """
    positions, place = batch.reads.unique(return_inverse=True)
    states = batches.head_input(model, positions, batch.inputs(model.device, batches.mask_dtype(model)))
    head: Any = model.get_output_embeddings()
    if states is None:  # the model does something to its logits: all of them at once
        states, head = target_logits(model, dataclasses.replace(batch, reads=positions)), nn.Identity()
    scores, likeliest = torch.empty(len(targets)), torch.empty(len(targets), dtype=torch.bool)
    for start in range(0, len(positions), CHUNK):
        part = slice(start, start + CHUNK)
        found = head(states[part]).float()
        here = ((place >= start) & (place < start + CHUNK)).nonzero()[:, 0]
        row, column = (place[here] - start).to(found.device), targets[here].to(found.device)
        own = found[row, column]
        scores[here] = (own - found.logsumexp(-1)[row]).cpu()
        likeliest[here] = (own >= found.amax(-1)[row]).cpu()
    return scores, likeliest


def _runs(indices: Sequence[int]) -> list[int]:
    """The indices with repetitions of neighbours left out: each sequence once, in the order of its reads."""
    return [index for place, index in enumerate(indices) if place == 0 or indices[place - 1] != index]
