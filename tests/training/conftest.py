"""A tiny model, rows that begin alike with random classes, and trainers on them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from transfix import PrefixTuning, attach, batches
from transfix.adapters.methods import Part
from transfix.batches import Tree
from transfix.training import AdapterTrainer, Choices, Settings

VOCABULARY, PAD, STEP_ROWS = 64, 0, 6
WORDS = torch.tensor([5, 6, 7])

DEFAULTS: dict[str, Any] = {
    "learning_rate": 0.02,
    "warmup": 0.0,
    "schedule": "cosine",
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "evaluate_every": 0,
    "early_stopping": None,
    "checkpoint_every": 1000,
    "gradient_checkpointing": False,
    "seed": 0,
}


@cache
def _rows() -> tuple[tuple[batches.TokenSequence, ...], Tensor]:
    draw = random.Random(0)
    rows: list[batches.TokenSequence] = []
    for _ in range(8):
        premise = [draw.randrange(8, VOCABULARY) for _ in range(draw.randint(4, 9))]
        for _ in range(3):
            tokens = (*premise, *(draw.randrange(8, VOCABULARY) for _ in range(draw.randint(2, 5))))
            rows.append(batches.TokenSequence(len(rows), tokens))
    return tuple(rows), torch.tensor([draw.randrange(3) for _ in rows])


@pytest.fixture
def rows() -> tuple[batches.TokenSequence, ...]:
    """24 rows: eight premises of three."""
    return _rows()[0]


@pytest.fixture
def targets() -> Tensor:
    """The class of each row."""
    return _rows()[1]


@pytest.fixture
def words() -> Tensor:
    """The token of each class."""
    return WORDS


def _steps(epochs: int = 1, budget: int = 1000) -> list[list[list[Tree]]]:
    return batches.training_steps(batches.grow(_rows()[0], 1000), epochs, STEP_ROWS, budget, seed=0)


@pytest.fixture
def steps() -> Callable[..., list[list[list[Tree]]]]:
    """Four optimiser steps an epoch: `steps(epochs, tokens a forward)`."""
    return _steps


def small_model() -> PreTrainedModel:
    """A Llama of two layers, always with the same weights."""
    config = LlamaConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=VOCABULARY,
        initializer_range=0.2,
        pad_token_id=PAD,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaForCausalLM(config).eval()


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[..., AdapterTrainer]:
    """A trainer of an adapter on a fresh model: `prepared(PrefixTuning(...), LoRA(...), steps=..., learning_rate=...)`."""

    made = itertools.count()

    def make(
        *parts: Part,
        steps: Sequence[list[list[Tree]]] | None = None,
        output: Path | None = None,
        develop: Callable[[], dict[str, float]] | None = None,
        callbacks: Sequence[Any] = (),
        **changes: Any,
    ) -> AdapterTrainer:
        adapter = attach(small_model(), *(parts or (PrefixTuning(tokens=3, learning_rate_scale="absolute"),)), seed=1)
        plan = _steps() if steps is None else steps
        settings = {**DEFAULTS, "output": output or tmp_path / f"checkpoints-{next(made)}", **changes}
        settings["evaluate_every"] = settings["evaluate_every"] or len(plan)
        choices = Choices(_rows()[1], WORDS, PAD)
        return AdapterTrainer(adapter, plan, choices, Settings(**settings), develop, callbacks)

    return make


def _tensors(trainer: AdapterTrainer) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in trainer.adapter.tensors().items()}


@pytest.fixture
def tensors() -> Callable[[AdapterTrainer], dict[str, Tensor]]:
    """What a trainer's adapter has learned so far, copied."""
    return _tensors
