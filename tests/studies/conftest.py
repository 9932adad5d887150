"""Studies on the tiny model."""

from __future__ import annotations

import importlib.util
import io
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from transfix.studies.directory import StudyDirectory
from transfix.studies.display import StudyDisplay
from transfix.studies.expansion import StudyRun
from transfix.studies.running import Summary, resolved, run_study
from transfix.studies.specification import StudySpec

Content = dict[str, Any]
LORA = {"adapter": {"method": "lora", "rank": 2}}
PRELOADED = ["transfix.runs.run", "transfix.training.trainer", "transfix.models.loading", "pandas"]


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
    from transfix.studies import running

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


class Study:
    """A study in a directory, run with workers that count."""

    def __init__(self, root: Path, launch: Any) -> None:
        self.directory, self.launch = StudyDirectory(root), launch
        self.said: list[str] = []

    def plan(self, content: dict[str, Any]) -> tuple[StudyRun, ...]:
        study = StudySpec.load(content)
        self.directory.open(study)
        return resolved(study)

    def run(self, content: dict[str, Any], jobs: int = 1, retry_failed: bool = False) -> Summary:
        out = io.StringIO()
        display = StudyDisplay(Console(file=out, width=400), jobs=jobs)
        summary = run_study(self.directory, self.plan(content), jobs, retry_failed, display, self.launch)
        self.said = out.getvalue().splitlines()
        return summary

    def noted(self, name: str) -> list[str]:
        """The lines of `trained` or `asked` since the last call."""
        path = self.directory.root / name
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return sorted(lines)


@pytest.fixture
def mine(tmp_path: Path, launch: Any) -> Study:
    """A study in an empty directory."""
    return Study(tmp_path / "study", launch)


@pytest.fixture
def three() -> dict[str, Any]:
    """A matrix of three methods."""
    return {"method": {"base": {"adapter": "base"}, "prefix": {}, "lora": LORA}}
