"""The training loop: transformers' Trainer, fed with whole optimiser steps and asked for logits only at targets.

The list of steps is fixed before training starts (`batches.training_steps`), so step k of a run is the same whether the run
was killed and resumed or not. A checkpoint is a directory that appears whole or not at all.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from transformers.trainer import TRAINER_STATE_NAME

from transfix import batches
from transfix.adapters import Adapter, architecture
from transfix.adapters.files import AdapterFileError, read_whole
from transfix.batches import Tree
from transfix.errors import TransfixError
from transfix.storage import atomic
from transfix.training import checkpoints
from transfix.training.compiling import compiled_layers
from transfix.training.kept import KeptLayers
from transfix.training.objectives import Objective

CLOCK = "seconds.json"
LOSS = "loss.json"
"""The sum of the losses since the last that was logged, and over how many steps: a mean in the log is of all its steps."""
LOG_EVERY = 10
FUSED_FROM = 1_000_000
"""Trainable parameters from which on the optimiser's update takes long enough to be fused."""
_SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}


@dataclass(frozen=True, slots=True)
class Settings:
    """How to train; see `runs.settings.Train` for the meaning of each.

    Attributes:
        output: where checkpoints go.
    """

    output: Path
    learning_rate: float
    warmup: float
    schedule: str
    weight_decay: float
    max_grad_norm: float | None
    evaluate_every: int
    early_stopping: int | None
    checkpoint_every: int
    gradient_checkpointing: bool
    seed: int
    compile: bool = False


class Steps(Dataset[list[list[Tree]]]):
    """Optimiser steps as a dataset."""

    def __init__(self, steps: Sequence[list[list[Tree]]]) -> None:
        self.steps = steps

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> list[list[Tree]]:
        return self.steps[index]


class AdapterTrainer(Trainer):
    """Trains one adapter.

    Args:
        adapter: what is trained.
        steps: the optimiser steps.
        objective: what is minimised over them.
        settings: how.
        develop: measures the adapter on the development rows; `accuracy` and `loss`. None: there are none.
        callbacks: transformers' callbacks, told of every step.
        kept: the output of the frozen lower layers, where it is kept.
    """

    def __init__(
        self,
        adapter: Adapter,
        steps: Sequence[list[list[Tree]]],
        objective: Objective,
        settings: Settings,
        develop: Callable[[], dict[str, float]] | None = None,
        callbacks: Sequence[TrainerCallback] = (),
        kept: KeptLayers | None = None,
    ) -> None:
        self.adapter = adapter
        self.kept = kept
        self.objective: Objective = objective
        self.settings = settings
        self.develop = develop
        self.stopping = EarlyStopping(settings.early_stopping)
        self._earlier, self._began = 0.0, time.monotonic()
        self._losses, self._unlogged = torch.zeros(()), 0
        super().__init__(
            model=adapter.model,
            args=_arguments(settings, len(steps), develop is not None, adapter.model),
            train_dataset=Steps(steps),
            eval_dataset=Steps(()) if develop is not None else None,  # `evaluate` below asks `develop` instead
            data_collator=_one_step,
            callbacks=[*callbacks, self.stopping],
        )
        self.remove_callback(PrinterCallback)  # it would print the log on stdout

    def run(self, found: Path | None = None) -> None:
        """Trains from a checkpoint, or from the start.

        Args:
            found: a whole checkpoint; None looks for the newest one.

        Raises:
            TransfixError: if the loss, or what was learned, is not finite; or if the best adapter so far is damaged.
        """
        atomic.make_directory(self.settings.output)
        atomic.clean(self.settings.output)
        found = found or checkpoints.newest(self.settings.output)
        self._earlier = json.loads((found / CLOCK).read_text()) if found and (found / CLOCK).exists() else 0.0
        self._began = time.monotonic()
        if found and (found / LOSS).exists():
            since = json.loads((found / LOSS).read_text())
            self._losses, self._unlogged = torch.tensor(since["sum"], device=self.args.device), since["steps"]
        state = TrainerState.load_from_json(str(found / TRAINER_STATE_NAME)) if found else None
        if state is not None and self.settings.early_stopping and _evaluations(state):
            self.best()  # before the rest of the training, not after it
        if state is not None and self.stopping.reached(state):  # killed between its last checkpoint and its end
            self.state = state
            self._load_from_checkpoint(str(found))
        else:
            set_seed(self.settings.seed)  # dropout must not depend on what this process did before
            with compiled_layers(self.adapter.model) if self.settings.compile else nullcontext():
                self.train(resume_from_checkpoint=str(found) if found else None)
        for tensor in self.adapter.parameters():  # the last step's update is in no loss
            self._require_finite(float(tensor.detach().sum()), "the sum of a learned tensor")

    @property
    def seconds(self) -> float:
        """How long training took, in all processes that worked on it, up to now (work that a kill undid not counted)."""
        return self._earlier + time.monotonic() - self._began

    @property
    def best_dir(self) -> Path:
        """Where the adapter with the best development accuracy is kept, if early stopping is on."""
        return self.settings.output / "best"

    def best(self) -> dict[str, Tensor]:
        """The tensors of the adapter with the best development accuracy.

        Raises:
            TransfixError: they are damaged.
        """
        try:
            return read_whole(self.best_dir)
        except AdapterFileError as error:
            raise TransfixError(
                f"{error}\nThe best adapter so far is lost. Delete {self.settings.output}, then run the same command again: "
                "it trains from the start."
            ) from error

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """One optimiser step's gradients: the mean loss over its rows (or target tokens), forward by forward."""
        model.train()
        forwards: list[list[Tree]] = inputs["forwards"]
        weight = sum(self.objective.weight(trees) for trees in forwards)
        total = torch.zeros((), device=self.args.device)
        for trees in forwards:
            batch = batches.collate(trees, self.objective.pad)
            with nullcontext() if self.kept is None else self.kept.skipping(trees, batch):
                loss = self.objective.loss(self.adapter.model, batch) / weight
            self.accelerator.backward(loss)
            total += loss.detach()
        if total.device.type == "cpu":  # elsewhere looking at every loss would make the device wait: see `log`
            self._require_finite(float(total))
        self._losses, self._unlogged = self._losses.to(total.device) + total, self._unlogged + 1
        return total

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Logs, and stops a training whose loss is no number. Trainer's own mean begins where the process did."""
        if "loss" in logs:
            if self._unlogged:
                logs["loss"] = float(self._losses) / self._unlogged
            self._losses, self._unlogged = torch.zeros_like(self._losses), 0
            self._require_finite(logs["loss"])
        super().log(logs, start_time)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW over the adapter's parameter groups."""
        if self.optimizer is None:
            groups = self.adapter.parameter_groups(self.settings.learning_rate)
            rate = max((group["lr"] for group in groups), default=0.0)
            if rate > torch.finfo(torch.float32).max / 10:  # AdamW's first step divides it by 1 - 0.9
                raise TransfixError(f"learning rate {rate:g}: steps beyond float32. Lower the learning rate.")
            weights = [weight for group in groups for weight in group["params"]]
            # one pass over weights, gradients and moments: ten times as fast where a whole model is updated (2 cores)
            fused = sum(weight.numel() for weight in weights) >= FUSED_FROM
            fused = fused and all(weight.device.type in ("cpu", "cuda") for weight in weights)
            self.optimizer = torch.optim.AdamW(groups, weight_decay=self.settings.weight_decay, fused=fused)
        return self.optimizer

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Accuracy and loss on the development rows; keeps the best adapter if early stopping is on."""
        assert self.develop is not None
        with torch.compiler.set_stance("force_eager") if self.settings.compile else nullcontext():
            metrics = {f"eval_{name}": float(value) for name, value in self.develop().items()}
        self._require_finite(metrics["eval_loss"], "the loss on the development rows")
        earlier = [_rank(entry) for entry in _evaluations(self.state)]
        if self.settings.early_stopping and all(_rank(metrics) > rank for rank in earlier):
            atomic.write_directory(self.best_dir, self.adapter.save)
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted."""
        return 0

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> None:
        return None

    def _move_model_to_device(self, model: nn.Module, device: torch.device) -> None:
        if not architecture.offloaded(self.adapter.model):  # Trainer would only warn that it stays where it is
            super()._move_model_to_device(model, device)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        self.adapter.save(output_dir or str(self.settings.output))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        directory = Path(resume_from_checkpoint)
        self.adapter.fill(read_whole(directory), directory)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Writes a checkpoint, and removes the ones before it."""
        name = checkpoints.name_of(self.state.global_step)

        def write(staging: Path) -> None:
            self._staging = staging
            super(AdapterTrainer, self)._save_checkpoint(model, trial)
            for file in (staging / name).iterdir():
                file.rename(staging / file.name)
            (staging / name).rmdir()
            (staging / CLOCK).write_text(json.dumps(self.seconds))
            (staging / LOSS).write_text(json.dumps({"sum": float(self._losses), "steps": self._unlogged}))
            checkpoints.seal(staging)

        atomic.write_directory(self.settings.output / name, write)
        for path in checkpoints.in_order(self.settings.output):
            if path.name == name:  # those after it are damaged, and stay
                break
            atomic.remove_directory(path)

    def _get_output_dir(self, trial: Any) -> str:
        return str(getattr(self, "_staging", self.settings.output))

    def _require_finite(self, value: float, what: str = "the loss") -> None:
        if not math.isfinite(value):
            wide = self.adapter.model.dtype == torch.float32
            if not self.state.global_step and what == "the loss":  # no step was taken: no learning rate has had a say
                tried = (
                    "the weights of the model are damaged" if wide else "use dtype float32, which holds larger numbers"
                )
                raise TransfixError(f"{what} is {value} before the first step: {tried}.")
            wider = "" if wide else ", or use dtype float32"
            raise TransfixError(
                f"training stopped after {self.state.global_step} steps: {what} is {value}. "
                f"Lower the learning rate ({self.settings.learning_rate:g} now){wider}; start the run again after that."
            )


class EarlyStopping(TrainerCallback):
    """Ends training after `patience` evaluations without a better one. Reads the log, keeps no count of its own."""

    def __init__(self, patience: int | None) -> None:
        self.patience = patience

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: D102
        if self.reached(state):
            control.should_training_stop = True

    def reached(self, state: TrainerState) -> bool:
        """Whether the evaluations logged so far end the training."""
        ranks = [_rank(entry) for entry in _evaluations(state)]
        return bool(self.patience and ranks and len(ranks) - 1 - ranks.index(max(ranks)) >= self.patience)


def _evaluations(state: TrainerState) -> list[dict[str, float]]:
    """What was logged of the development rows."""
    return [entry for entry in state.log_history if "eval_accuracy" in entry]


def _rank(metrics: dict[str, float]) -> tuple[float, float]:
    """More accuracy is better; at the same accuracy less loss is."""
    return metrics["eval_accuracy"], -metrics["eval_loss"]


def _one_step(items: Sequence[list[list[Tree]]]) -> dict[str, Any]:
    (forwards,) = items
    return {"forwards": forwards}


def _arguments(settings: Settings, steps: int, develops: bool, model: PreTrainedModel) -> TrainingArguments:
    # a recomputation that stops early would leave its last weights on the device
    checkpointing = {"use_reentrant": False} | ({"early_stop": False} if architecture.offloaded(model) else {})
    arguments = TrainingArguments(
        output_dir=str(settings.output),
        max_steps=steps,
        per_device_train_batch_size=1,  # one item of the dataset is a whole optimiser step
        learning_rate=settings.learning_rate,
        lr_scheduler_type=_SCHEDULES[settings.schedule],
        warmup_steps=round(settings.warmup * steps),
        max_grad_norm=settings.max_grad_norm or 0.0,
        activation_checkpointing=settings.gradient_checkpointing,
        activation_checkpointing_kwargs=checkpointing if settings.gradient_checkpointing else None,
        eval_strategy="steps" if develops else "no",
        eval_steps=settings.evaluate_every or None,
        save_strategy="steps",
        save_steps=settings.checkpoint_every,
        logging_strategy="steps",
        logging_steps=max(1, min(LOG_EVERY, steps)),
        logging_nan_inf_filter=False,
        report_to=[],
        disable_tqdm=True,
        use_cpu=model.device.type == "cpu",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        train_sampling_strategy="sequential",
        seed=settings.seed,
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # Trainer would give each of several GPUs an item, and batch them here
    return arguments
