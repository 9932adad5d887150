"""What a step of several forwards weighs: every row (choices), every target token (texts) alike, however they are packed.

A mean of the forwards' means would be another loss wherever forwards differ in size, as they do in nearly every step. The
reference reads one row after the other with the model itself, in float64, and takes one mean over all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.conftest import DEFAULTS, PAD, WORDS, small_model
from torch import Tensor, nn

from transfix import FullFineTuning, LlamaAdapter, LoRA, PrefixTuning, SoftPrompt, attach, batches
from transfix.adapters import Adapter
from transfix.adapters.methods import Part
from transfix.batches import TokenSequence, Tree
from transfix.training import AdapterTrainer, Choices, Objective, Settings, Texts

METHODS: dict[str, tuple[Part, ...]] = {
    "prefix": (PrefixTuning(tokens=3),),
    "llama_adapter": (LlamaAdapter(tokens=3),),
    "soft_prompt": (SoftPrompt(tokens=3),),
    "prefix+lora": (PrefixTuning(tokens=3), LoRA(rank=2)),
    "full": (FullFineTuning(),),
}
TARGETS = [(9,), (11, 12, 13, 5, 9, 2, 30, 31), (5, 6), (40,), (41, 42, 43)]
"""Of the rows of texts: a mean over forwards or over rows is far from one over tokens."""

FORWARDS = ([0], [1, 2, 3, 4])
"""One row by itself, four together, of which three share their beginning."""


def prompts() -> list[tuple[int, ...]]:
    trunk = (20, 21, 22, 23, 24, 25)
    return [(50, 51), (*trunk, 30), (*trunk, 31), (*trunk, 32, 33), (52, 53, 54, 55)]


def as_choices() -> tuple[list[TokenSequence], Choices]:
    sequences = [TokenSequence(index, prompt) for index, prompt in enumerate(prompts())]
    return sequences, Choices(torch.tensor([2, 0, 0, 1, 0]), WORDS, PAD)


def as_texts() -> tuple[list[TokenSequence], Texts]:
    sequences = [
        TokenSequence(index, (*prompt, *target[:-1]), len(target))
        for index, (prompt, target) in enumerate(zip(prompts(), TARGETS, strict=True))
    ]
    return sequences, Texts(TARGETS, PAD)


KINDS: dict[str, Callable[[], tuple[list[TokenSequence], Any]]] = {"choices": as_choices, "texts": as_texts}


def step_of(sequences: Sequence[TokenSequence], forwards: Sequence[Sequence[int]]) -> list[list[Tree]]:
    return [batches.grow([sequences[index] for index in forward], 1000) for forward in forwards]


def moved_adapter(method: str) -> Adapter:
    """An adapter that is not at its start, where a gate or B of zero would leave most gradients zero."""
    adapter = attach(small_model().double(), *METHODS[method], seed=1)
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for tensor in adapter.parameters():
            tensor.add_(torch.randn(tensor.shape, generator=draw) * 0.05)
    return adapter


def trainer_of(adapter: Adapter, step: list[list[Tree]], objective: Objective, output: Path) -> AdapterTrainer:
    return AdapterTrainer(adapter, [step], objective, Settings(**{**DEFAULTS, "output": output, "evaluate_every": 1}))


def plain_loss(adapter: Adapter, kind: str, sequences: Sequence[TokenSequence], objective: Any) -> Tensor:
    """The mean over rows or target tokens, from the logits of the whole vocabulary, a row at a time."""
    losses = []
    for sequence in sequences:
        logits = adapter.model(torch.tensor([sequence.tokens])).logits[0, -sequence.reads :]
        if kind == "choices":
            wanted, logits = objective.targets[sequence.index][None], logits[:, objective.words]
        else:
            wanted = torch.tensor(objective.targets[sequence.index])
        losses.append(nn.functional.cross_entropy(logits, wanted, reduction="none"))
    return torch.cat(losses).mean()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_forwards_of_unequal_size_are_one_mean(method: str, kind: str, tmp_path: Path) -> None:
    sequences, objective = KINDS[kind]()
    adapter = moved_adapter(method)
    step = step_of(sequences, FORWARDS)
    assert [sum(len(tree.sequences) for tree in forward) for forward in step] == [1, 4]
    assert [len(tree.sequences) for tree in step[1]] == [3, 1], "some rows share their beginning"
    trainer = trainer_of(adapter, step, objective, tmp_path)
    loss = trainer.training_step(adapter.model, {"forwards": step})
    found = {name: tensor.grad.clone() for name, tensor in adapter.tensors().items() if tensor.grad is not None}
    adapter.model.zero_grad()
    expected = plain_loss(adapter, kind, sequences, objective)
    expected.backward()
    # logits and the adapter's own numbers are float32
    assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert found.keys() == {name for name, tensor in adapter.tensors().items() if tensor.grad is not None}
    assert found
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, adapter.tensors()[name].grad, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_how_a_step_is_packed_says_nothing(kind: str, tmp_path: Path) -> None:
    sequences, objective = KINDS[kind]()
    ends = []
    for number, forwards in enumerate(
        ([[0, 1, 2, 3, 4]], [[0, 1], [2, 3, 4]], [[3, 4, 2], [1], [0]], [[0], [1], [2], [3], [4]])
    ):
        adapter = moved_adapter("prefix+lora")
        step = step_of(sequences, forwards)
        trainer = trainer_of(adapter, step, objective, tmp_path / str(number))
        trainer.training_step(adapter.model, {"forwards": step})
        ends.append({name: tensor.grad for name, tensor in adapter.tensors().items()})
    for other in ends[1:]:
        for name, gradient in ends[0].items():
            torch.testing.assert_close(other[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_logged_is_the_mean_over_the_step(kind: str, tmp_path: Path) -> None:
    sequences, objective = KINDS[kind]()
    adapter = moved_adapter("prefix")
    with torch.no_grad():
        expected = float(plain_loss(adapter, kind, sequences, objective))
    trainer = trainer_of(adapter, step_of(sequences, FORWARDS), objective, tmp_path)
    trainer.run()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(expected, abs=1e-4)
