"""What a run learns that says nothing but its model, its method and its task: an hour, so only with TRANSFIX_LONG_TESTS=1."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from transfix.runs import run as experiment
from transfix.runs.specification import RunSpec
from transfix.runs.store import RunStore

CHANCE = 1 / 3
SURELY = 0.1
"""Three standard errors of the 200 development rows."""


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("TRANSFIX_LONG_TESTS"), reason="trains five real models: an hour")
@pytest.mark.parametrize("method", ["soft_prompt", "prefix", "llama_adapter", "lora", "full"])
def test_every_method_learns_where_nothing_is_said(method: str, tmp_path: Path) -> None:
    spec = RunSpec.load({"model": "gemma-3-270m", "adapter": method, "train": {"task": "mnli"}})
    training = experiment.train(spec, RunStore(tmp_path)).training
    assert training is not None
    assert training["development"][-1]["accuracy"] > CHANCE + SURELY
