"""What is shown while the trainer works: the progress bar, and TensorBoard curves where it is installed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from transfix.runs.progress import Bar


class ProgressBarCallback(TrainerCallback):
    """Advances a bar by the rows of each step, with the last loss and development accuracy beside it."""

    def __init__(self, bar: Bar, rows: Sequence[int]) -> None:
        self.bar, self.rows = bar, rows
        self._loss = self._accuracy = ""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: D102
        self.bar.advance(self.rows[state.global_step - 1], ", ".join(filter(None, (self._loss, self._accuracy))))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:  # noqa: D102
        if logs and "loss" in logs:
            self._loss = f"loss {logs['loss']:.3f}"
        if logs and "eval_accuracy" in logs:
            self._accuracy = f"development {logs['eval_accuracy']:.1%}"


def tensorboard(directory: Path) -> list[TrainerCallback]:
    """A writer of TensorBoard curves into `directory`, if TensorBoard is installed."""
    if find_spec("tensorboard") is None:
        return []
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations.integration_utils import TensorBoardCallback

    return [TensorBoardCallback(SummaryWriter(log_dir=str(directory)))]
