"""How a training ends: early with the best adapter, or with a message when a number is not finite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import TrainerCallback

from transfix import FullFineTuning
from transfix.adapters.files import read_tensors
from transfix.batches import Tree
from transfix.errors import TransfixError
from transfix.training import AdapterTrainer, checkpoints, objectives

Prepared = Callable[..., AdapterTrainer]
Steps = Callable[..., list[list[list[Tree]]]]
Tensors = Callable[[AdapterTrainer], dict[str, Tensor]]


class History(TrainerCallback):
    """Keeps what was learned after each step."""

    def __init__(self, tensors: Tensors) -> None:
        self.tensors = tensors
        self.trainer: AdapterTrainer | None = None
        self.after: dict[int, dict[str, Tensor]] = {}

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        assert self.trainer is not None
        self.after[state.global_step] = self.tensors(self.trainer)


def assert_equal(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize(
    ("measured", "patience", "best", "last"),
    [
        ([(0.3, 1), (0.6, 1), (0.5, 1), (0.4, 1), (0.9, 1)], 2, 2, 4),  # the last one is never reached
        ([(0.3, 1), (0.6, 1), (0.5, 1), (0.7, 1), (0.6, 1), (0.6, 1)], 2, 4, 6),
        ([(0.5, 1.0), (0.5, 0.9), (0.5, 0.95)], 1, 2, 3),  # at the same accuracy less loss is better
        ([(0.5, 1.0), (0.5, 1.0), (0.5, 1.0)], 2, 1, 3),  # and the earlier one of equals
        ([(0.1 * step, 1) for step in range(8)], 3, 8, 8),  # better and better
        ([(0.6, 1), (0.3, 1), (0.5, 1), (0.4, 1)], 3, 1, 4),  # better than the one before, not than all
    ],
)
def test_early_stopping_keeps_the_best(
    prepared: Prepared,
    steps: Steps,
    tensors: Tensors,
    measured: Sequence[tuple[float, float]],
    patience: int,
    best: int,
    last: int,
) -> None:
    history = History(tensors)
    script = iter(measured)

    def develop() -> dict[str, float]:
        accuracy, loss = next(script)
        return {"accuracy": accuracy, "loss": loss}

    made = prepared(steps=steps(2), develop=develop, callbacks=[history], evaluate_every=1, early_stopping=patience)
    history.trainer = made
    made.run()
    assert made.state.global_step == last
    assert_equal(read_tensors(made.best_dir / "adapter.safetensors"), history.after[best])


def test_without_early_stopping_nothing_is_kept(prepared: Prepared, steps: Steps) -> None:
    made = prepared(steps=steps(2), develop=lambda: {"accuracy": 0.5, "loss": 1.0}, evaluate_every=3)
    made.run()
    assert not made.best_dir.exists()
    # in the course, and at the end in any case
    assert [entry["step"] for entry in made.state.log_history if "eval_accuracy" in entry] == [3, 6, 8]


def test_a_loss_that_is_not_a_number(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, calls = objectives.word_logits, []

    def third_is_broken(*args: Any) -> Tensor:
        calls.append(None)
        return whole(*args) * (float("nan") if len(calls) == 3 else 1.0)

    monkeypatch.setattr(objectives, "word_logits", third_is_broken)
    made = prepared(checkpoint_every=1)
    with pytest.raises(TransfixError, match=r"after 2 steps: the loss is nan.*learning rate \(0\.02 now\)"):
        made.run()
    assert len(calls) == 3
    found = checkpoints.newest(made.settings.output)
    assert found is not None
    assert found.name == "checkpoint-2"


def test_a_model_that_gives_no_numbers(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    """No learning rate has had a say before the first step: none is advised."""
    whole = objectives.word_logits
    monkeypatch.setattr(objectives, "word_logits", lambda *args: whole(*args) * float("nan"))
    made = prepared()
    with pytest.raises(TransfixError, match="is nan before the first step: the weights of the model are damaged"):
        made.run()


@pytest.mark.parametrize("rate", [1e30, 1e39])
def test_a_learning_rate_that_is_far_too_high(prepared: Prepared, rate: float) -> None:
    made = prepared(FullFineTuning(), learning_rate=rate, schedule="constant")
    with pytest.raises(TransfixError, match="Lower the learning rate"):
        made.run()


def test_a_last_step_that_breaks_it(prepared: Prepared, steps: Steps) -> None:
    """No loss is computed after the last step."""

    class Breaks(TrainerCallback):
        def on_step_end(self, *args: Any, optimizer: Any, **kwargs: Any) -> None:
            optimizer.param_groups[0]["params"][0].data.fill_(float("nan"))

    made = prepared(steps=steps()[:1], callbacks=[Breaks()])
    with pytest.raises(TransfixError, match="after 1 steps: the sum of a learned tensor is"):
        made.run()


def test_development_rows_that_break_it(prepared: Prepared) -> None:
    made = prepared(develop=lambda: {"accuracy": 0.5, "loss": float("inf")}, evaluate_every=2)
    with pytest.raises(TransfixError, match="after 2 steps: the loss on the development rows is inf"):
        made.run()


def test_what_is_logged_is_looked_at_where_losses_are_not(prepared: Prepared) -> None:
    """On a GPU no loss is looked at before it is logged."""
    with pytest.raises(TransfixError, match="the loss is nan"):
        prepared().log({"loss": float("nan")})


def test_no_checkpoints_no_newest(tmp_path: Path) -> None:
    assert checkpoints.newest(tmp_path) is None
    for name in ("checkpoint-9", "checkpoint-10", ".checkpoint-11.7-ab.tmp", "checkpoint-x", "best"):
        (tmp_path / name).mkdir()
    assert checkpoints.in_order(tmp_path)[-1] == tmp_path / "checkpoint-10"
    assert checkpoints.newest(tmp_path) is None, "nothing is in them"
