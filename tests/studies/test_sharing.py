"""A study that several processes work on, and whose processes are killed or stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from transfix.storage import lock
from transfix.studies.display import StudyDisplay
from transfix.studies.expansion import StudyRun
from transfix.studies.running import Summary, run_study, status

Make = Callable[..., dict[str, Any]]


def states(summary: Summary) -> list[str]:
    return list(summary.states.values())


# A study in a process of its own; its workers are forked from it.
SHARE = """
import multiprocessing, os, sys, torch
torch.set_num_threads(1)
sys.path.insert(0, here)
sys.stdout = sys.stderr = open(root + ".log", "a", buffering=1)
from forked import Forked
from transfix.studies import running
from transfix.studies.directory import StudyDirectory
from transfix.studies.specification import StudySpec
running.POLL, running.AGAIN = 0.01, 0.05
directory, study = StudyDirectory(root), StudySpec.load(content)
directory.open(study)
summary = running.run_study(directory, running.resolved(study), 1, launch=Forked(multiprocessing.get_context("fork")))
sys.exit(0 if summary.done else 1)
"""


def begin(context: ForkServerContext, root: Path, content: dict[str, Any]) -> Any:
    given = {"root": str(root), "content": content, "here": str(Path(__file__).parent)}
    process = context.Process(target=exec, args=(SHARE, given))
    process.start()
    return process


def test_two_processes_share_a_study(mine: Any, study: Make, three: dict[str, Any]) -> None:
    content = study(matrix={"seed": [0, 1, 2], **three})
    root = mine.directory.root
    processes = [begin(mine.launch.context, root, content) for _ in range(2)]
    for process in processes:
        process.join(60)
    log = Path(f"{root}.log").read_text()
    assert [process.exitcode for process in processes] == [0, 0], log
    names = sorted(run.name for run in mine.directory.store.runs())
    assert len(names) == 7
    assert mine.noted("trained") == [name for name in names if not name.startswith("base")]
    assert mine.noted("asked") == [f"{name} deu_Latn 3" for name in names]
    found = status(mine.directory, mine.plan(content))
    assert (found["done"], found["total"]) == (7, 7)
    assert "by another process" in log


def test_a_study_that_is_killed_goes_on(mine: Any, study: Make, three: dict[str, Any]) -> None:
    content = study(matrix=three)
    root = mine.directory.root
    process = begin(mine.launch.context, root, content)
    while process.is_alive() and not (root / "trained").exists():
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    mine.noted("trained")
    assert mine.run(content).done
    assert all(lock.is_locked(path) is False for path in (root / "work").iterdir())


def test_ctrl_c_ends_the_workers_and_is_no_failure(mine: Any, study: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    content = study()
    shown = StudyDisplay.show

    def interrupted(self: StudyDisplay, states: Any, told: Any) -> None:
        if any(state == "running" for state in states.values()):
            raise KeyboardInterrupt
        shown(self, states, told)

    with monkeypatch.context() as patch:
        patch.setattr(StudyDisplay, "show", interrupted)
        with pytest.raises(KeyboardInterrupt):
            mine.run(content)
    assert mine.launch.running == 0
    found = status(mine.directory, mine.plan(content))
    assert (found["waiting"], [entry["attempts"] for entry in found["runs"]]) == (2, [0, 0])
    assert mine.run(content).done


def test_a_run_that_is_worked_on_elsewhere_is_left_and_taken_up_later(mine: Any, study: Make) -> None:
    content = study()
    planned = mine.plan(content)
    first = mine.directory.store.root / planned[0].name
    first.mkdir(parents=True)
    holder = "import sys; from transfix.storage import lock; from pathlib import Path\n"
    holder += "with lock.hold(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    source = str(Path(lock.__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", holder, str(first)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": source},
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    order = []
    ended_ = StudyDisplay.ended

    class Told(StudyDisplay):
        def ended(self, run: StudyRun, *args: Any, **kwargs: Any) -> None:
            order.append(run.label)
            if process.stdin is not None and not process.stdin.closed:
                process.stdin.close()
            ended_(self, run, *args, **kwargs)

    display = Told(Console(quiet=True))
    summary = run_study(mine.directory, planned, 1, display=display, launch=mine.launch)
    process.wait()
    process.stdout.close()
    assert summary.done
    assert order == ["method prefix", "method base"]
    record = mine.directory.record(planned[0].name)
    assert record is not None
    assert record.attempts == 1
    assert mine.launch.started == 2  # none in vain while it was held


def test_a_killed_worker_hurts_only_its_run(mine: Any, study: Make, three: dict[str, Any]) -> None:
    content = study(matrix=three)
    mine.directory.root.mkdir()
    (mine.directory.root / "killed").write_text("prefix")
    summary = mine.run(content, jobs=2)
    assert states(summary) == ["done", "failed", "done"]
    (error,) = summary.errors.values()
    assert error == "its process was killed (SIGKILL): most often because the machine had no memory left."
