"""Studies on the tiny model."""

from __future__ import annotations

import importlib.util
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Content = dict[str, Any]
PRELOADED = ["transfix.experiments.run", "transfix.training.trainer", "transfix.models.loading", "pandas"]


@pytest.fixture
def study(tiny_model: Path) -> Callable[..., Content]:
    """What a study's file holds: base and prefix tuning; `study(matrix=...)` changes it."""

    def make(**changes: Any) -> Content:
        training = {"task": "mnli", "rows": 6, "development_rows": 0, "max_tokens": 64, "epochs": 1, "batch_rows": 6}
        return {
            "name": "tiny",
            "base": {
                "model": str(tiny_model),
                "dtype": "float32",
                "device": "cpu",
                "adapter": {"method": "prefix", "tokens": 2},
                "train": training,
                "evaluate": [{"task": "xnli", "languages": ["de"], "limit": 3}],
            },
            "matrix": {"method": {"base": {"adapter": "base"}, "prefix": {}}},
            **changes,
        }

    return make


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Starts workers that need no second to start."""
    from transfix.experiments.study import running

    monkeypatch.setattr(running, "POLL", 0.01)
    monkeypatch.setattr(running, "AGAIN", 0.05)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    spec = importlib.util.spec_from_file_location("forked", Path(__file__).with_name("forked.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Forked(context)
