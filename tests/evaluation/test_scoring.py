"""Choices are scored as they would be one by one, in the order they came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from transfix import data, models, tasks
from transfix.batches import Encoded, encode
from transfix.errors import TransfixError
from transfix.evaluation import scoring
from transfix.evaluation.scoring import score_choices


@pytest.fixture(scope="module")
def loaded(tiny_model: Path) -> models.LoadedModel:
    return models.load(tiny_model, dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def prompts(loaded: models.LoadedModel) -> list[Encoded]:
    """Rows of several premises, some longer than the model's sliding window, in an order of lengths that is none."""
    task = tasks.get("xnli")
    rows = data.load("xnli", "snapshot", "deu_Latn", "test", 24)[::-1]
    return encode(loaded.tokenizer, [task.prompt(row) for row in rows], None)


@pytest.fixture(scope="module")
def words(loaded: models.LoadedModel) -> Tensor:
    tokenizer: Any = loaded.tokenizer
    return torch.tensor(list(tasks.check_verbaliser(tasks.get("xnli"), tokenizer).values()))


def one_by_one(model: PreTrainedModel, prompts: list[Encoded], words: Tensor) -> Tensor:
    with torch.no_grad():
        logits = [model(torch.tensor([prompt.tokens])).logits[0, -1, words] for prompt in prompts]
    return torch.stack([row - row.logsumexp(-1) for row in logits])


@pytest.mark.parametrize("budget", [1, 100, 2048])
def test_scores(loaded: models.LoadedModel, prompts: list[Encoded], words: Tensor, budget: int) -> None:
    lengths = [len(prompt.tokens) for prompt in prompts]
    assert min(lengths) < 128 < max(lengths), "within the sliding window and beyond it"
    done: list[int] = []
    scores = score_choices(loaded.model.train(), prompts, words, 0, done.append, budget)
    assert not loaded.model.training
    assert sum(done) == len(prompts)
    assert scores.shape == (len(prompts), 3)
    torch.testing.assert_close(scores.exp().sum(-1), torch.ones(len(prompts)))
    torch.testing.assert_close(scores, one_by_one(loaded.model, prompts, words), atol=1e-5, rtol=1e-5)
    assert len(scores.argmax(-1).unique()) > 1, "the same answer everywhere tests little"


def test_the_order_of_words(loaded: models.LoadedModel, prompts: list[Encoded], words: Tensor) -> None:
    forward = score_choices(loaded.model, prompts[:6], words, 0)
    backward = score_choices(loaded.model, prompts[:6], words.flip(0), 0)
    torch.testing.assert_close(backward, forward.flip(1))


def test_nothing(loaded: models.LoadedModel, words: Tensor) -> None:
    assert score_choices(loaded.model, [], words, 0).shape == (0, 3)


def test_a_score_that_is_not_finite(
    loaded: models.LoadedModel, prompts: list[Encoded], words: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = scoring.word_logits

    def broken(model: PreTrainedModel, batch: Any, words: Tensor) -> Tensor:
        logits = whole(model, batch, words)
        if 2 in batch.indices:
            logits[batch.indices.index(2)] = float("inf")
        return logits

    monkeypatch.setattr(scoring, "word_logits", broken)
    with pytest.raises(
        TransfixError, match=r"row 3 are not finite \(\[nan, nan, nan\]\) in float32: train with a lower"
    ):
        score_choices(loaded.model, prompts[:4], words, 0, budget=10**6)
