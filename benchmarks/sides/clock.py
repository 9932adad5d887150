"""Seconds of training steps, taken alike for every side that runs in transformers' Trainer."""

from __future__ import annotations

import time
from typing import Any

from transformers import TrainerCallback

from benchmarks.sides import WARM


class Clock(TrainerCallback):
    """The time at the end of every step."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Notes the time."""
        self.ends.append(time.perf_counter())

    def rate(self, per_step: list[int]) -> float:
        """Units (rows, tokens) a second, over the steps after the warm ones; `per_step` has each step's units."""
        return sum(per_step[WARM:]) / (self.ends[-1] - self.ends[WARM - 1])
