"""Choices scored in one forward an example: the log-probability of each class's label word, or of whole continuations."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from transfix import batches
from transfix.batches import Batch, Encoded
from transfix.errors import NotFiniteError, TransfixError

CHUNK = 64
"""Positions whose logits over the whole vocabulary are there at a time: 67 MB in float32 for 262,144 words."""

TOKENS = 2048
"""Tokens in a forward. More brings nothing on a CPU and little on a GPU, and costs padding."""


def word_logits(
    model: PreTrainedModel, batch: Batch, words: Int[Tensor, " classes"], **options: Any
) -> Float[Tensor, "reads classes"]:
    """The logits of the label words at the batch's reads, float32, in the order of `batch.indices`."""
    return target_logits(model, batch, words, **options).float()


def target_logits(
    model: PreTrainedModel, batch: Batch, words: Int[Tensor, " words"] | None = None, **options: Any
) -> Float[Tensor, "reads words"]:
    """The logits at the batch's reads, in the model's dtype, in the order of `batch.indices`.

    Args:
        model: with a language-model head.
        batch: what it reads.
        words: token ids whose logits are wanted; `None` for the whole vocabulary.
        options: further arguments of the model.
    """
    with batches.focused_head(model, batch.reads, words):
        inputs = batch.inputs(model.device, batches.mask_dtype(model))
        logits: Tensor = model(**inputs, use_cache=False, **options).logits[0]
    return logits


def score_choices(
    model: PreTrainedModel,
    prompts: Sequence[Encoded],
    words: Int[Tensor, " classes"],
    pad: int,
    advance: Callable[[int], object] | None = None,
    budget: int = TOKENS,
) -> Float[Tensor, "rows classes"]:
    """Log-probabilities over the classes, normalised over the label words.

    Args:
        model: with the adapter to be measured active; put into evaluation mode.
        prompts: the rows.
        words: the token id of each class's label word.
        pad: the padding token.
        advance: told after each forward how many rows it finished.
        budget: tokens in a forward.

    Returns:
        (rows, classes), on the CPU.

    Raises:
        TransfixError: if a score is no number, as it happens in float16.
    """
    model.eval()
    scores = torch.full((len(prompts), len(words)), float("nan"))
    sequences = [batches.TokenSequence(index, prompt.tokens) for index, prompt in enumerate(prompts)]
    trees = batches.shared(model, sequences, budget)
    with torch.inference_mode():
        for group in batches.evaluation_batches(trees, budget):
            batch = batches.collate(group, pad)
            scores[list(batch.indices)] = word_logits(model, batch, words).log_softmax(-1).cpu()
            if advance is not None:
                advance(len(batch.indices))
    if not bool(scores.isfinite().all()):
        row = int((~scores.isfinite().all(-1)).nonzero()[0])
        raise NotFiniteError(f"the scores of row {row + 1} are not finite ({scores[row].tolist()})", model.dtype)
    return scores


def log_likelihoods(
    model: PreTrainedModel,
    continuations: Sequence[tuple[Sequence[int], int]],
    pad: int,
    advance: Callable[[int], object] | None = None,
    budget: int = TOKENS // 2,
) -> tuple[Float[Tensor, " continuations"], list[bool]]:
    """The summed log-probability of continuations of any length, and whether greedy decoding would write each.

    Continuations that begin with the same tokens (the options of a row) share them.

    Args:
        model: with the adapter to be measured active; put into evaluation mode.
        continuations: (tokens of context and continuation, how many of the last belong to the continuation).
        pad: the padding token.
        advance: told after each forward how many continuations it finished.
        budget: tokens in a forward.

    Returns:
        (continuations,) in float32 on the CPU; and for each whether every token of it is the likeliest one.

    Raises:
        TransfixError: if a continuation is empty, or a score is no number, as it happens in float16.
    """
    for number, (_, reads) in enumerate(continuations, start=1):
        if reads < 1:
            raise TransfixError(f"continuation {number} has no tokens: nothing of it can be scored.")
    model.eval()
    totals = torch.zeros(len(continuations), dtype=torch.float32)
    greedy = torch.ones(len(continuations), dtype=torch.bool)
    sequences = [
        batches.TokenSequence(index, tokens[:-1], reads) for index, (tokens, reads) in enumerate(continuations)
    ]
    with torch.inference_mode():
        for group in batches.evaluation_batches(batches.shared(model, sequences, budget), budget):
            batch = batches.collate(group, pad)
            wanted = [
                token for index in _runs(batch.indices) for token in continuations[index][0][-continuations[index][1] :]
            ]
            rows = torch.tensor(batch.indices)
            scores, likeliest = _of_targets(model, batch, torch.tensor(wanted))
            totals.index_add_(0, rows, scores)
            greedy[rows[~likeliest]] = False
            if advance is not None:
                advance(sum(len(tree.sequences) for tree in group))
    if not bool(totals.isfinite().all()):
        row = int((~totals.isfinite()).nonzero()[0])
        raise NotFiniteError(f"the score of continuation {row + 1} is {totals[row]}", model.dtype)
    return totals, greedy.tolist()


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
