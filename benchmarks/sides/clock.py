"""Seconds of training steps, taken alike for every side that runs in transformers' Trainer."""

from __future__ import annotations

import time
from typing import Any

import torch
from transformers import TrainerCallback

from benchmarks.sides import WARM


def now() -> float:
    """Seconds, when all that a GPU was given to do is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class Clock(TrainerCallback):
    """The time at the end of the last step that is not timed, and at the end of the last step."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Notes the time; a GPU is waited for only where it must be."""
        if state.global_step in (WARM, state.max_steps):
            self.ends.append(now())

    def rate(self, per_step: list[int]) -> float:
        """Units (rows, tokens) a second, over the steps after the warm ones; `per_step` has each step's units."""
        return sum(per_step[WARM:]) / (self.ends[1] - self.ends[0])
