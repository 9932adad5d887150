"""Runs on the tiny model: a few rows, a few steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from transfix.runs.specification import RunSpec
from transfix.runs.store import RunStore

Content = dict[str, Any]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """An empty store."""
    return RunStore(tmp_path / "runs")


@pytest.fixture
def content(tiny_model: Path) -> Callable[..., Content]:
    """What a specification's file holds: `content("lora", train={"rows": 6})`; `train=None` leaves it out."""

    def make(adapter: Any = "prefix", train: Mapping[str, Any] | None = {}, **changes: Any) -> Content:
        training = {
            "task": "mnli",
            "rows": 18,
            "development_rows": 6,
            "max_tokens": 128,
            "epochs": 1,
            "batch_rows": 6,
            "checkpoint_every": 2,
        }
        return {
            "model": str(tiny_model),
            "dtype": "float32",
            "device": "cpu",
            "adapter": adapter,
            "train": None if train is None else {**training, **train},
            "evaluate": [{"task": "xnli", "languages": ["en", "de"], "limit": 6}],
            **changes,
        }

    return make


@pytest.fixture
def spec(content: Callable[..., Content]) -> Callable[..., RunSpec]:
    """A specification on the tiny model, changed as `content` is."""
    return lambda *args, **changes: RunSpec.load(content(*args, **changes))
