"""Lower layers that are computed once give the adapter that they give when they are computed in every epoch."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    TrainerCallback,
)

from transfix import Adapter, LlamaAdapter, LoRA, PrefixTuning, SoftPrompt, attach, batches
from transfix.adapters import architecture
from transfix.adapters.methods import Part
from transfix.batches import Tree
from transfix.storage.atomic import StorageError
from transfix.training import AdapterTrainer, Choices, Settings, kept
from transfix.training.kept import KeptLayers, lowest_trained

PAD, EPOCHS = 0, 3
SHAPE: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "initializer_range": 0.2,
    "pad_token_id": PAD,
}
MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
    "gemma3": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(
            **SHAPE,
            head_dim=8,
            sliding_window=16,
            layer_types=["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
        )
    ),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(
            n_embd=16,
            n_layer=4,
            n_head=4,
            n_positions=64,
            vocab_size=64,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            initializer_range=0.2,
        )
    ),
}


def make(architecture_name: str, *parts: Part, dtype: torch.dtype = torch.float32) -> Adapter:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MODELS[architecture_name]().to(dtype).eval()
    return attach(model, *parts, seed=1)


@pytest.fixture
def steps(rows: tuple[batches.TokenSequence, ...]) -> list[list[list[Tree]]]:
    """Three epochs; forwards of trees and, in the second half, of plain rows."""
    trees = [*batches.grow(rows[:12], 1000), *batches.grow(rows[12:], 1000, widest=1)]
    return batches.training_steps(trees, EPOCHS, 6, 60, seed=0)


@pytest.fixture
def train(
    steps: list[list[list[Tree]]], targets: Tensor, words: Tensor, tmp_path: Path
) -> Callable[..., tuple[AdapterTrainer, list[float]]]:
    """Trains with or without kept layers; the trainer and the loss of every step."""

    def run(adapter: Adapter, keep: bool, output: str, **more: Any) -> tuple[AdapterTrainer, list[float]]:
        losses: list[float] = []
        directory = tmp_path / output
        settings = Settings(
            output=directory,
            learning_rate=0.02,
            warmup=0.0,
            schedule="constant",
            weight_decay=0.0,
            max_grad_norm=1.0,
            evaluate_every=1000,
            early_stopping=None,
            checkpoint_every=more.pop("checkpoint_every", 1000),
            gradient_checkpointing=more.pop("gradient_checkpointing", False),
            seed=0,
        )
        store = KeptLayers.of(adapter, steps, EPOCHS, PAD, directory) if keep else None
        assert (store is not None) == keep
        trainer = AdapterTrainer(
            adapter, steps, Choices(targets, words, PAD), settings, None, more.pop("callbacks", ()), store
        )
        whole = trainer.training_step

        def noted(*args: Any, **kwargs: Any) -> Tensor:
            losses.append(float(loss := whole(*args, **kwargs)))
            return loss

        trainer.training_step = noted  # type: ignore[method-assign]
        trainer.run()
        return trainer, losses

    return run


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "parts",
    [
        (PrefixTuning(tokens=3, layers=2),),
        (LlamaAdapter(tokens=3, layers=(1, 3)),),
        (LoRA(rank=2, layers=1),),
        (PrefixTuning(tokens=2, layers=1), LoRA(rank=2, layers=2)),
    ],
    ids=["prefix", "llama_adapter", "lora", "prefix+lora"],
)
def test_the_same_losses_and_the_same_adapter(
    name: str, parts: tuple[Part, ...], train: Callable[..., tuple[AdapterTrainer, list[float]]]
) -> None:
    without, expected = train(make(name, *parts), False, "without")
    with_kept, found = train(make(name, *parts), True, "with")
    assert len(found) == len(expected)
    assert found == pytest.approx(expected, rel=1e-5)
    for (key, tensor), other in zip(
        with_kept.adapter.tensors().items(), without.adapter.tensors().values(), strict=True
    ):
        torch.testing.assert_close(tensor, other, atol=1e-4, rtol=1e-3, msg=key)
    for layer in architecture.stack(with_kept.adapter.model):
        assert "forward" not in vars(layer), "the model is as it was"


def test_lower_layers_run_once_a_row(
    steps: list[list[list[Tree]]], train: Callable[..., tuple[AdapterTrainer, list[float]]]
) -> None:
    adapter = make("gemma3", PrefixTuning(tokens=3, layers=2))
    calls = [0, 0]
    stack = architecture.stack(adapter.model)
    for place, layer in enumerate((stack[0].mlp, stack[3].mlp)):
        layer.register_forward_hook(lambda *_, place=place: calls.__setitem__(place, calls[place] + 1))
    train(adapter, True, "counted")
    forwards = sum(len(step) for step in steps)
    assert calls[1] == forwards
    assert calls[0] == forwards // EPOCHS


@pytest.mark.parametrize("disk", [False, True])
def test_interrupted_in_a_later_epoch(
    train: Callable[..., tuple[AdapterTrainer, list[float]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    disk: bool,
) -> None:
    """The bits of an unbroken training: what was kept is made again in the batches of the first epoch."""
    if disk:
        monkeypatch.setattr(kept, "MEMORY", 0)
    archive = tmp_path / "archive"

    class Copy(TrainerCallback):
        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            shutil.copytree(args.output_dir, archive / str(state.global_step))

    parts = (PrefixTuning(tokens=3, layers=2),)
    dtype = torch.bfloat16
    unbroken, _ = train(make("gemma3", *parts, dtype=dtype), True, "unbroken", checkpoint_every=1, callbacks=[Copy()])
    last = unbroken.state.global_step
    for step in (last // 3 + 1, last - 1):
        resumed, losses = train(make("gemma3", *parts, dtype=dtype), True, f"archive/{step}")
        assert len(losses) == last - step
        for key, tensor in unbroken.adapter.tensors().items():
            assert torch.equal(tensor, resumed.adapter.tensors()[key]), (step, key)
    assert not list(tmp_path.rglob(".kept-layers"))


def test_with_activation_checkpointing(train: Callable[..., tuple[AdapterTrainer, list[float]]]) -> None:
    parts = (PrefixTuning(tokens=3, layers=2),)
    _, expected = train(make("llama", *parts), False, "plain")
    _, found = train(make("llama", *parts), True, "checkpointed", gradient_checkpointing=True)
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("parts", "lowest"),
    [
        ((PrefixTuning(tokens=2),), 0),
        ((PrefixTuning(tokens=2, layers=1),), 3),
        ((LlamaAdapter(tokens=2, layers=(2, 3)),), 2),
        ((LoRA(rank=2, layers=3),), 1),
        ((SoftPrompt(tokens=2),), 0),
        ((SoftPrompt(tokens=2), PrefixTuning(tokens=2, layers=1)), 0),
    ],
)
def test_the_lowest_layer_in_which_something_is_learned(parts: tuple[Part, ...], lowest: int) -> None:
    assert lowest_trained(make("llama", *parts)) == lowest


def test_nothing_is_kept_where_it_would_bring_nothing_or_change_something(
    steps: list[list[list[Tree]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = make("gpt2", PrefixTuning(tokens=2, layers=1))
    assert KeptLayers.of(adapter, steps, 1, PAD, tmp_path) is None
    assert KeptLayers.of(make("gpt2", PrefixTuning(tokens=2)), steps, 3, PAD, tmp_path) is None
    assert KeptLayers.of(adapter, steps, 3, PAD, tmp_path) is not None
    next(m for m in architecture.stack(adapter.model)[0].modules() if isinstance(m, torch.nn.Dropout)).p = 0.1
    assert KeptLayers.of(adapter, steps, 3, PAD, tmp_path) is None
    monkeypatch.setattr(kept, "DISK", 10)
    assert KeptLayers.of(make("gpt2", PrefixTuning(tokens=2, layers=1)), steps, 3, PAD, tmp_path) is None


def test_a_disk_without_room_is_said_before_anything_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with holes would kill the process, without a word, when the disk is full."""

    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StorageError, match="kept-layers cannot be written: No space left on device"):
        kept._room((10, 4), torch.float32, tmp_path / "checkpoints")
