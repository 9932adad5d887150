"""Running a study: what is done once, shared, killed, failed, retried, edited; and what its directory says of it."""

from __future__ import annotations

import io
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
import yaml
from rich.console import Console

from transfix import atomic
from transfix.errors import TransfixError
from transfix.experiments.study.directory import StudyDirectory
from transfix.experiments.study.display import StudyDisplay
from transfix.experiments.study.expansion import StudyRun
from transfix.experiments.study.processes import Subprocess, ended, environments, suggested
from transfix.experiments.study.running import Summary, resolved, run_study, status
from transfix.experiments.study.spec import StudySpec

Make = Callable[..., dict[str, Any]]
LORA = {"adapter": {"method": "lora", "rank": 2}}
THREE = {"method": {"base": {"adapter": "base"}, "prefix": {}, "lora": LORA}}


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
    return Study(tmp_path / "study", launch)


def states(summary: Summary) -> list[str]:
    return list(summary.states.values())


def test_a_study_is_done_once_and_growing_it_does_only_what_is_new(mine: Study, study: Make) -> None:
    content = study(matrix={"seed": [0], **THREE})
    summary = mine.run(content, jobs=2)
    assert summary.done
    assert mine.launch.most == 2
    names = sorted(summary.states)
    trained = [name for name in names if not name.startswith("base")]
    assert mine.noted("trained") == trained
    assert mine.noted("asked") == [f"{name} deu_Latn 3" for name in names]
    assert [run.name for run in mine.directory.store.runs()] == names
    assert mine.said[0] == "3 runs: 0 done, 0 running, 0 failed, 3 left"
    assert any("3 done, 0 running, 0 failed, 0 left" in line for line in mine.said)
    assert sum(line.startswith("done: ") for line in mine.said) == 3

    mine.run(content)
    assert mine.noted("trained") == mine.noted("asked") == []
    assert mine.said == ["3 runs: 3 done, 0 running, 0 failed, 0 left"]

    content["matrix"]["seed"] = [0, 1]  # a seed more: base has none
    summary = mine.run(content)
    new = sorted(set(summary.states) - set(names))
    assert len(new) == 2
    assert mine.noted("trained") == new
    assert mine.noted("asked") == [f"{name} deu_Latn 3" for name in new]

    content["base"]["evaluate"][0].update(languages=["de", "fr"], limit=6)  # a language and rows more
    summary = mine.run(content)
    assert summary.done
    assert mine.noted("trained") == []
    everything = sorted(summary.states)
    assert mine.noted("asked") == sorted(
        f"{name} {code}" for name in everything for code in ("deu_Latn 3", "fra_Latn 6")
    )

    content["matrix"]["seed"] = [0]  # less again: nothing is lost
    assert mine.run(content).done
    assert mine.noted("trained") == mine.noted("asked") == []
    assert len(mine.directory.store.runs()) == 5


def test_a_failed_run_is_recorded_the_rest_goes_on_and_it_is_retried_when_asked(mine: Study, study: Make) -> None:
    content = study(matrix=THREE)
    mine.directory.root.mkdir()
    (mine.directory.root / "broken").write_text("prefix")
    summary = mine.run(content)
    assert states(summary) == ["done", "failed", "done"]
    ((name, error),) = summary.errors.items()
    assert error.startswith("MemoryError: nothing left\nThere was not enough memory: lower train.batch_tokens")
    assert "Traceback" in mine.directory.log(name).read_text()
    assert any(line.strip().startswith("MemoryError: nothing left") for line in mine.said)
    mine.noted("trained")

    assert states(mine.run(content)) == ["done", "failed", "done"]  # not again by itself
    assert mine.noted("trained") == []
    assert status(mine.directory, mine.plan(content))["failed"] == 1

    assert states(mine.run(content, retry_failed=True)) == ["done", "failed", "done"]
    assert mine.noted("trained") == [name]
    record = mine.directory.record(name)
    assert record is not None
    assert record.attempts == 2

    (mine.directory.root / "broken").unlink()
    assert mine.run(content, retry_failed=True).done
    found = status(mine.directory, mine.plan(content))
    assert (found["done"], found["failed"], found["runs"][1]["attempts"], found["runs"][1]["error"]) == (3, 0, 3, None)


def test_a_killed_worker_hurts_only_its_run(mine: Study, study: Make) -> None:
    content = study(matrix=THREE)
    mine.directory.root.mkdir()
    (mine.directory.root / "killed").write_text("prefix")
    summary = mine.run(content, jobs=2)
    assert states(summary) == ["done", "failed", "done"]
    (error,) = summary.errors.values()
    assert error == "its process was killed (SIGKILL): most often because the machine had no memory left."


def test_a_mistake_that_only_the_model_shows(mine: Study, study: Make) -> None:
    content = study(matrix={"adapter.layers": [[9], [1]]})
    summary = mine.run(content)
    assert states(summary) == ["failed", "done"]
    (error,) = summary.errors.values()
    assert "9" in error
    assert "Error" not in error


def test_what_a_finished_run_left_must_still_be_there(mine: Study, study: Make) -> None:
    content = study()
    mine.run(content)
    _, prefix = mine.directory.store.runs()
    prefix.predictions_path("xnli", "deu_Latn").unlink()
    mine.noted("trained")
    mine.noted("asked")
    assert mine.run(content).done
    assert (mine.noted("trained"), mine.noted("asked")) == ([], [f"{prefix.name} deu_Latn 3"])
    (mine.directory.work(prefix.name) / "record.json").write_text("{")  # a damaged record is begun again, at no cost
    assert mine.run(content).done
    assert mine.noted("trained") == mine.noted("asked") == []


# A study in a process of its own; its workers are forked from it.
SHARE = """
import multiprocessing, os, sys, torch
torch.set_num_threads(1)
sys.path.insert(0, here)
sys.stdout = sys.stderr = open(root + ".log", "a", buffering=1)
from forked import Forked
from transfix.experiments.study import running
from transfix.experiments.study.directory import StudyDirectory
from transfix.experiments.study.spec import StudySpec
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


def test_two_processes_share_a_study(mine: Study, study: Make) -> None:
    content = study(matrix={"seed": [0, 1, 2], **THREE})
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


def test_a_study_that_is_killed_goes_on(mine: Study, study: Make) -> None:
    content = study(matrix=THREE)
    root = mine.directory.root
    process = begin(mine.launch.context, root, content)
    while process.is_alive() and not (root / "trained").exists():
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    mine.noted("trained")
    assert mine.run(content).done
    assert all(atomic.is_locked(path) is False for path in (root / "work").iterdir())


def test_ctrl_c_ends_the_workers_and_is_no_failure(mine: Study, study: Make, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_run_that_is_worked_on_elsewhere_is_left_and_taken_up_later(mine: Study, study: Make) -> None:
    content = study()
    planned = mine.plan(content)
    first = mine.directory.store.root / planned[0].name
    first.mkdir(parents=True)
    holder = "import sys; from transfix import atomic; from pathlib import Path\n"
    holder += "with atomic.lock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    source = str(Path(atomic.__file__).parents[1])
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


def test_a_directory_of_something_else_is_left_alone(mine: Study, study: Make, tmp_path: Path) -> None:
    mine.plan(study())
    with pytest.raises(TransfixError, match="holds the study tiny: name another directory"):
        mine.plan(study(name="other"))
    (tmp_path / "study" / "resolved.yaml").write_text("mine: 1\n")
    with pytest.raises(TransfixError, match="was not written by transfix"):
        mine.plan(study())
    with pytest.raises(TransfixError, match="is not the directory of a study"):
        StudyDirectory(tmp_path).study()


def test_rows_that_are_not_there_are_said_before_anything_is_run(mine: Study, study: Make) -> None:
    files = {"a": {"train.data": {"files": "no/{lang}.tsv"}}, "b": {"train.data": {"files": "none/{lang}.tsv"}}}
    with pytest.raises(TransfixError) as caught:
        mine.plan(study(matrix={"rows": files}))
    assert "no/" in str(caught.value)
    assert "none/" in str(caught.value)


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
    from transfix.experiments.study import processes

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


def test_the_time_that_is_left(study: Make) -> None:
    planned = resolved(StudySpec.load(study(matrix={"seed": [0, 1, 2], **THREE})))
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


def test_the_copy_of_the_study_says_what_was_run(mine: Study, study: Make) -> None:
    planned = mine.plan(study())
    kept = yaml.safe_load((mine.directory.root / "resolved.yaml").read_text())
    assert kept["matrix"] == study()["matrix"]
    assert [run.name for run in resolved(mine.directory.study())] == [run.name for run in planned]
