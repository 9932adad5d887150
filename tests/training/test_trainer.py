"""A training step: its loss, its gradients, what it moves and how far."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from transfix import FullFineTuning, LlamaAdapter, LoRA, PrefixTuning, SoftPrompt, batches
from transfix.adapters.methods import Part
from transfix.adapters.start_values import root_mean_square
from transfix.batches import Tree
from transfix.training import AdapterTrainer, Objective

Prepared = Callable[..., AdapterTrainer]
Steps = Callable[..., list[list[list[Tree]]]]
Tensors = Callable[[AdapterTrainer], dict[str, Tensor]]

METHODS: dict[str, tuple[Part, ...]] = {
    "prefix": (PrefixTuning(tokens=3),),
    "llama_adapter": (LlamaAdapter(tokens=3),),
    "soft_prompt": (SoftPrompt(tokens=3),),
    "lora": (LoRA(rank=2),),
    "prefix+lora": (PrefixTuning(tokens=3, norm="layer"), LoRA(rank=2)),
    "full": (FullFineTuning(),),
}


@pytest.mark.parametrize("method", METHODS)
def test_the_loss_of_the_first_step(
    prepared: Prepared,
    steps: Steps,
    rows: tuple[batches.TokenSequence, ...],
    targets: Tensor,
    words: Tensor,
    method: str,
) -> None:
    step = steps()[0]
    chosen = [s.index for forward in step for tree in forward for s in tree.sequences]
    trainer = prepared(*METHODS[method], steps=[step])
    with torch.no_grad():
        losses = []
        for index in chosen:  # a row at a time, the whole vocabulary's logits
            logits = trainer.adapter.model(torch.tensor([rows[index].tokens])).logits[0, -1, words]
            losses.append(float(torch.logsumexp(logits, 0) - logits[targets[index]]))
    trainer.run()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(sum(losses) / len(losses), abs=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_step_in_several_forwards_is_one_step(prepared: Prepared, steps: Steps, method: str) -> None:
    found = []
    for budget in (1000, 30):
        trainer = prepared(*METHODS[method])
        (step, *_) = steps(1, budget)
        found.append(
            (
                len(step),
                trainer.training_step(trainer.adapter.model, {"forwards": step}),
                {name: p.grad for name, p in trainer.adapter.tensors().items()},
            )
        )
    (one, loss, gradients), (several, same_loss, same_gradients) = found
    assert (one, several > 1) == (1, True)
    torch.testing.assert_close(same_loss, loss)
    assert gradients.keys() == same_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(same_gradients[name], gradient, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_only_the_adapter_moves(prepared: Prepared, tensors: Tensors, method: str) -> None:
    trainer = prepared(*METHODS[method])
    own = {id(parameter) for parameter in trainer.adapter.parameters()}
    frozen = {name: p for name, p in trainer.adapter.model.named_parameters() if id(p) not in own}
    before, still = tensors(trainer), {name: p.detach().clone() for name, p in frozen.items()}
    trainer.run()
    for name, tensor in trainer.adapter.tensors().items():
        assert not torch.equal(tensor, before[name]), name
    for name, tensor in frozen.items():
        assert torch.equal(tensor, still[name]), name
    assert bool(frozen) == (method != "full")


def test_training_on_separate_rows_is_the_same(
    prepared: Prepared, steps: Steps, tensors: Tensors, rows: tuple[batches.TokenSequence, ...]
) -> None:
    alone = [
        [[Tree((s,), len(s.tokens)) for tree in forward for s in tree.sequences] for forward in step]
        for step in steps()
    ]
    ends = []
    for plan in (steps(), alone):
        trainer = prepared(steps=plan)
        trainer.run()
        ends.append(tensors(trainer))
    for name, tensor in ends[0].items():
        torch.testing.assert_close(ends[1][name], tensor, atol=1e-4, rtol=1e-3)


def test_gradient_checkpointing_changes_nothing(prepared: Prepared, tensors: Tensors) -> None:
    ends = []
    for on in (False, True):
        trainer = prepared(PrefixTuning(tokens=3), LoRA(rank=2), gradient_checkpointing=on)
        trainer.run()
        assert trainer.adapter.model.is_activation_checkpointing == on
        ends.append(tensors(trainer))
    for name, tensor in ends[0].items():
        torch.testing.assert_close(ends[1][name], tensor, atol=1e-5, rtol=1e-4)


def assert_moved_by(now: Tensor, before: Tensor, rate: float) -> None:
    """AdamW's first step moves every entry with a gradient by the learning rate."""
    moved = (now.detach() - before).abs()
    assert float(moved.max()) == pytest.approx(rate, rel=1e-2)
    assert float(moved.median()) == pytest.approx(rate, rel=1e-2)


def test_learning_rates_per_part_and_relative(prepared: Prepared, steps: Steps, tensors: Tensors) -> None:
    trainer = prepared(
        PrefixTuning(tokens=3, learning_rate_scale="relative", init_scale=2.0),
        LlamaAdapter(tokens=3, learning_rate=0.003, gate_learning_rate=0.5, learning_rate_scale="absolute"),
        LoRA(rank=2, learning_rate=0.0007),
        steps=steps()[:1],
        learning_rate=0.04,
        schedule="constant",
        max_grad_norm=None,
    )
    before = tensors(trainer)
    trainer.run()
    for name, now in trainer.adapter.tensors().items():
        if name.startswith("prefix"):
            assert_moved_by(now, before[name], 0.04 * root_mean_square(before[name]))
        elif name.endswith("gate"):
            assert_moved_by(now, before[name], 0.5)
        elif "lora_B" in name:
            assert_moved_by(now, before[name], 0.0007)
        else:  # behind a gate of zero, or a B of zero: no gradient yet
            assert torch.equal(now, before[name]), name
    rates = {group["initial_lr"] for group in trainer.optimizer.param_groups}
    assert {0.003, 0.5, 0.0007} < rates


@pytest.mark.parametrize("before", [(), (PrefixTuning(tokens=3),)], ids=["alone", "second"])
def test_weight_decay(prepared: Prepared, steps: Steps, tensors: Tensors, before: tuple[Part, ...]) -> None:
    """Of every part of an adapter."""
    trainer = prepared(
        *before, LoRA(rank=2), steps=steps()[:1], schedule="constant", learning_rate=0.1, weight_decay=0.5
    )
    start = tensors(trainer)
    trainer.run()
    for name, now in trainer.adapter.tensors().items():
        if "lora_A" in name:  # no gradient: nothing but the decay
            torch.testing.assert_close(now.detach(), start[name] * (1 - 0.1 * 0.5))


class Rates(TrainerCallback):
    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_pre_optimizer_step(self, *args: Any, optimizer: Any, **kwargs: Any) -> None:
        self.seen.append(optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize(
    ("schedule", "warmup", "shares"),
    [
        ("constant", 0.0, [1, 1, 1, 1]),
        ("constant", 0.5, [0, 0.5, 1, 1]),
        ("linear", 0.0, [1, 0.75, 0.5, 0.25]),
        ("linear", 0.5, [0, 0.5, 1, 0.5]),
        ("cosine", 0.0, [(1 + math.cos(math.pi * step / 4)) / 2 for step in range(4)]),
    ],
)
def test_schedules(prepared: Prepared, schedule: str, warmup: float, shares: list[float]) -> None:
    rates = Rates()
    prepared(callbacks=[rates], learning_rate=0.03, schedule=schedule, warmup=warmup).run()
    assert rates.seen == pytest.approx([0.03 * share for share in shares])


def test_gradients_are_clipped(prepared: Prepared, steps: Steps) -> None:
    norms: list[float] = []

    class Norms(TrainerCallback):
        def on_pre_optimizer_step(self, *args: Any, optimizer: Any, **kwargs: Any) -> None:
            grads = [p.grad for group in optimizer.param_groups for p in group["params"]]
            norms.append(float(torch.cat([grad.flatten() for grad in grads]).norm()))

    for limit in (None, 1e-3):
        prepared(steps=steps()[:1], callbacks=[Norms()], max_grad_norm=limit).run()
    assert norms[0] > 1e-2
    assert norms[1] == pytest.approx(1e-3, rel=1e-3)


class Steep:
    """An objective whose gradients are a thousand times as large."""

    def __init__(self, whole: Objective) -> None:
        self.whole, self.pad, self.weight = whole, whole.pad, whole.weight

    def loss(self, *args: Any) -> Tensor:
        return 1000 * self.whole.loss(*args)


@pytest.mark.parametrize("limit", [None, 3.0])
def test_large_gradients_are_clipped_all_together_or_not_at_all(
    prepared: Prepared, steps: Steps, limit: float | None
) -> None:
    """Their direction stays: the norm is that of all learned tensors, not of each."""
    found: list[Tensor] = []

    class Gradients(TrainerCallback):
        def on_pre_optimizer_step(self, *args: Any, optimizer: Any, **kwargs: Any) -> None:
            grads = [p.grad for group in optimizer.param_groups for p in group["params"]]
            found.append(torch.cat([grad.flatten() for grad in grads]))

    made = prepared(
        PrefixTuning(tokens=3), LoRA(rank=2), steps=steps()[:1], max_grad_norm=limit, callbacks=[Gradients()]
    )
    made.objective = Steep(made.objective)
    made.training_step(made.adapter.model, {"forwards": steps()[0]})
    whole = torch.cat([p.grad.flatten() for group in made.adapter.groups() for p in group.parameters])  # type: ignore[union-attr]
    made.adapter.model.zero_grad()
    made.run()
    assert float(whole.norm()) > 10
    torch.testing.assert_close(found[0], whole if limit is None else whole * limit / whole.norm(), atol=1e-4, rtol=1e-3)


def test_nothing_is_printed(prepared: Prepared, capfd: pytest.CaptureFixture[str]) -> None:
    prepared(develop=lambda: {"accuracy": 0.5, "loss": 1.0}, evaluate_every=2).run()
    assert capfd.readouterr() == ("", "")


def test_the_same_seed_is_the_same_training(prepared: Prepared, tensors: Tensors) -> None:
    parts = (PrefixTuning(tokens=3), LoRA(rank=2, dropout=0.3))
    ends = []
    for seed, noise in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(noise)
        trainer = prepared(*parts, seed=seed)
        torch.manual_seed(noise)  # Trainer has set its own in between
        trainer.run()
        ends.append(nn.utils.parameters_to_vector(tensors(trainer).values()))
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])
