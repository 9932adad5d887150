"""What is shown while the trainer works: the progress bar, and TensorBoard curves where it is installed."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from transfix.errors import shortened
from transfix.runs.progress import Bar

_log = logging.getLogger("transfix")


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


class Unfailing(TrainerCallback):
    """A callback that only writes logs: once it fails, that is said, and the training goes on without it.

    Args:
        make: makes the callback when the training begins.
        what: it is, for the warning.
    """

    def __init__(self, make: Callable[[], TrainerCallback], what: str) -> None:
        self._what = what
        self._inner: TrainerCallback | None = None
        self._guarded(lambda: setattr(self, "_inner", make()))

    def _guarded(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:  # whatever a library makes of a full disk, or of a directory that is none
            self._inner = None
            first = (str(error) or type(error).__name__).splitlines()[0]
            _log.warning("%s are written no more (%s); the training goes on", self._what, shortened(first))

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: D102
        self._pass("on_train_begin", args, state, control, kwargs)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: D102
        self._pass("on_log", args, state, control, kwargs)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: D102
        self._pass("on_train_end", args, state, control, kwargs)

    def _pass(self, event: str, args: Any, state: Any, control: Any, kwargs: dict[str, Any]) -> None:
        inner = self._inner
        if inner is not None:
            self._guarded(lambda: getattr(inner, event)(args, state, control, **kwargs))


def tensorboard(directory: Path) -> list[TrainerCallback]:
    """A writer of TensorBoard curves into `directory`, if TensorBoard is installed. It fails no training."""
    if find_spec("tensorboard") is None:
        return []

    def writer() -> TrainerCallback:
        from torch.utils.tensorboard import SummaryWriter
        from transformers.integrations.integration_utils import TensorBoardCallback

        _quiet_threads()
        return TensorBoardCallback(SummaryWriter(log_dir=str(directory)))

    return [Unfailing(writer, f"curves in {directory}")]


@functools.cache
def _quiet_threads() -> None:
    """TensorBoard's thread prints no traceback: it tells its writer of its error, which is how `Unfailing` hears of it."""
    others = threading.excepthook

    def hook(failed: threading.ExceptHookArgs) -> None:
        if not type(failed.thread).__module__.startswith("tensorboard."):
            others(failed)

    threading.excepthook = hook
