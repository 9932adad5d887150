"""The processes of a study: how many, how they end, and the time that is left."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from transfix.studies.directory import StudyDirectory
from transfix.studies.display import StudyDisplay
from transfix.studies.processes import Subprocess, ended, environments, suggested
from transfix.studies.running import Summary, resolved, run_study
from transfix.studies.specification import StudySpec

Make = Callable[..., dict[str, Any]]


def states(summary: Summary) -> list[str]:
    return list(summary.states.values())


def test_a_real_process_that_is_killed(study: Make, tmp_path: Path) -> None:
    planned = resolved(StudySpec.load(study()))
    directory = StudyDirectory(tmp_path / "real")
    directory.open(StudySpec.load(study()))
    workers: list[Subprocess] = []

    def launch(task: Any, log: Path, environment: Any) -> Subprocess:
        workers.append(Subprocess(task, log, environment))
        if len(workers) == 1:
            os.kill(workers[0].pid, signal.SIGKILL)
        return workers[-1]

    summary = run_study(directory, planned, 2, display=StudyDisplay(Console(quiet=True)), launch=launch)
    assert states(summary) == ["failed", "done"]
    assert "SIGKILL" in summary.errors[planned[0].name]
    assert (directory.store.root / planned[1].name / "metrics.json").exists()


def test_how_a_process_ended() -> None:
    assert ended(2, "said so") == "said so"
    assert ended(-9, None).startswith("its process was killed (SIGKILL): most often because the machine had no memory")
    assert ended(-15, None) == "its process was killed (SIGTERM)."
    assert ended(3, None) == "its process ended with status 3."


def test_how_many_at_once(study: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from transfix.studies import processes

    specs = [run.spec for run in resolved(StudySpec.load(study()))]
    for cores, memory, jobs in ((2, 64e9, 1), (16, 64e9, 4), (64, 8e9, 5), (64, 1e9, 1)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        monkeypatch.setattr(processes, "_memory", lambda memory=memory: memory)
        assert suggested(specs) == jobs
    monkeypatch.setattr(processes, "devices", lambda: 3)
    assert suggested([spec.model_copy(update={"device": "auto"}) for spec in specs]) == 3
    assert [own["CUDA_VISIBLE_DEVICES"] for own in environments(4)] == ["0", "1", "2", "0"]
    monkeypatch.setattr(processes, "devices", lambda: 0)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert environments(4) == [{"OMP_NUM_THREADS": "16"}] * 4
    assert environments(1) == [{}]


def test_the_time_that_is_left(study: Make, three: dict[str, Any]) -> None:
    planned = resolved(StudySpec.load(study(matrix={"seed": [0, 1, 2], **three})))
    one, two, three = (run.name for run in planned[:3])
    states: dict[str, Any] = dict.fromkeys((run.name for run in planned), "waiting")

    def said(estimates: dict[str, float], took: dict[str, float], seconds: float) -> tuple[str, str]:
        """What is said at the beginning, and when the second run has taken so long."""
        out = io.StringIO()
        display = StudyDisplay(Console(file=out, width=200), estimates, jobs=2)
        display.begin(planned, states | dict.fromkeys(took, "done"), took)
        display.ended(planned[1], "done", None, seconds, states | dict.fromkeys(took, "done") | {two: "done"})
        first, last = out.getvalue().splitlines()
        return first, last

    # two more of the method that took 10 minutes, four others that may take as long, two at once
    assert said({}, {}, 600.0) == (
        "7 runs: 0 done, 0 running, 0 failed, 7 left",
        "done: seed 0, method prefix after 10 min (1 done, 0 running, 0 failed, 6 left, about 30 min left)",
    )
    # base was done before: the time of each method, and for the one that has none yet the mean
    first, last = said({}, {one: 240.0}, 600.0)
    assert first.endswith("6 left, about 12 min left")
    assert last.endswith("5 left, about 20 min left)")
    # calibrated, and twice as slow as that
    estimates = {run.name: 300.0 for run in planned} | {three: 900.0}
    first, last = said(estimates, {}, 600.0)
    assert first.endswith("7 left, about 22 min left")
    assert last.endswith("6 left, about 40 min left)")
