"""transformers' Trainer with its defaults trains an adapted model, checkpoints it and takes it up again."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel, Trainer, TrainingArguments

from transfix import Adapter, PrefixTuning, attach

TRAINABLE = ["prefix", "prefix-free", "llama-tanh", "soft", "lora", "full", "soft+prefix", "llama+lora"]
pytestmark = [
    # on a machine without an accelerator the default of pinned memory has nothing to pin
    pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true:UserWarning"),
]


def rows_of(ids: Tensor) -> list[dict[str, Tensor]]:
    return [{"input_ids": row, "labels": row} for row in ids.repeat(8, 1)]


def trainer_of(model: PreTrainedModel, ids: Tensor, directory: Path, **settings: Any) -> Trainer:
    arguments = TrainingArguments(
        output_dir=str(directory), use_cpu=True, disable_tqdm=True, **({"max_steps": 2} | settings)
    )
    return Trainer(model=model, args=arguments, train_dataset=rows_of(ids))


@pytest.mark.parametrize("architecture", ["llama"], indirect=True)
@pytest.mark.parametrize("method", TRAINABLE, indirect=True)
def test_two_steps_with_defaults(adapter: Adapter, ids: Tensor, tmp_path: Path) -> None:
    learned = {id(p) for p in adapter.parameters()}
    before = {name: p.detach().clone() for name, p in adapter.model.named_parameters()}
    result = trainer_of(adapter.model, ids, tmp_path, learning_rate=1e-2).train()
    assert result.global_step == 2
    for name, parameter in adapter.model.named_parameters():
        assert torch.equal(parameter, before[name]) != (id(parameter) in learned), name
    assert (tmp_path / "checkpoint-2").is_dir()


@pytest.mark.parametrize("architecture", ["gemma3"], indirect=True)
@pytest.mark.parametrize("method", ["soft+prefix", "llama+lora"], indirect=True)
def test_with_activation_checkpointing(adapter: Adapter, ids: Tensor, tmp_path: Path) -> None:
    twin = copy.deepcopy(adapter)
    for number, (one, checkpointing) in enumerate(((adapter, False), (twin, True))):
        trainer_of(
            one.model, ids, tmp_path / str(number), activation_checkpointing=checkpointing, save_strategy="no"
        ).train()
    for left, right in zip(adapter.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(left, right, atol=1e-5, rtol=1e-4)


def test_taken_up_from_a_checkpoint(build: Callable[[str], PreTrainedModel], ids: Tensor, tmp_path: Path) -> None:
    parts = (PrefixTuning(tokens=2),)
    whole, first, second = (attach(build("llama"), *parts) for _ in range(3))
    trainer_of(whole.model, ids, tmp_path / "whole", max_steps=4, save_steps=2).train()
    resumed = trainer_of(second.model, ids, tmp_path / "second", max_steps=4, save_strategy="no")
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    for left, right in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(left, right)
    assert not torch.equal(next(iter(first.parameters())), next(iter(second.parameters())))
