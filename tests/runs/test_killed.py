"""A run killed with SIGKILL at any moment and started again ends as the unbroken one; two processes share one run.

Most processes here are forked from a server that has torch imported already, so that each starts at once.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from transfix.adapters.files import read_tensors
from transfix.runs.store import Run, RunStore

# What a user's shell would do. Each training that is begun leaves a line in `began`.
COMMANDS = """
import os, sys, torch
torch.set_num_threads(1)
os.chdir(place)
sys.stdout = sys.stderr = open("log", "a", buffering=1)
from transfix.cli import app
from transfix.runs import run
whole = run.train_adapter
def counted(*args):
    with open("began", "a") as file:
        file.write(f"{os.getpid()}\\n")
    whole(*args)
run.train_adapter = counted
for command in (["train", "spec.yaml"], ["evaluate", os.listdir("runs")[0] if os.path.isdir("runs") else ""]):
    if command[0] == "evaluate":
        command[1] = "runs/" + [name for name in os.listdir("runs") if not name.startswith(".")][0]
    code = app(command, standalone_mode=False)
    if code:
        sys.exit(code)
"""
CHECKPOINT = {"adapter.json", "adapter.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json"}
PRELOADED = [
    "transfix.runs.run",
    "transfix.training.trainer",
    "transfix.models.loading",
    "pandas",
    "transfix.report",
]


@pytest.fixture(scope="module")
def server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


@pytest.fixture
def place(tmp_path: Path, content: Callable[..., dict[str, Any]]) -> Callable[[str], Path]:
    """A directory with the specification in it."""

    def make(name: str) -> Path:
        directory = tmp_path / name
        directory.mkdir()
        training = {"rows": 60, "epochs": 2, "checkpoint_every": 1, "evaluate_every": 4}
        adapter = [{"method": "prefix", "tokens": 3}, {"method": "lora", "rank": 2, "dropout": 0.2}]
        evaluation = [{"task": "xnli", "languages": "all", "limit": 6}]
        (directory / "spec.yaml").write_text(yaml.safe_dump(content(adapter, training, evaluate=evaluation)))
        return directory

    return make


def start(server: ForkServerContext, directory: Path) -> BaseProcess:
    process = server.Process(target=exec, args=(COMMANDS, {"place": str(directory)}))
    process.start()
    return process


def finish(process: BaseProcess, directory: Path) -> None:
    process.join(120)
    assert process.exitcode == 0, (directory / "log").read_text()


def only_run(directory: Path) -> Run:
    (run,) = RunStore(directory / "runs").runs()
    return run


def kill_when(process: BaseProcess, there: Callable[[], object]) -> bool:
    """Kills a process as soon as something is there; whether it was still alive."""
    while process.is_alive() and not there():
        time.sleep(0.002)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def files(directory: Path, pattern: str) -> list[Path]:
    return list(directory.glob(f"runs/*/{pattern}"))


def steps_done(directory: Path) -> int:
    return max((int(path.name.split("-")[1]) for path in files(directory, "checkpoints/checkpoint-*")), default=0)


def assert_same_end(directory: Path, unbroken: Path) -> None:
    run, whole = only_run(directory), only_run(unbroken)
    assert run.name == whole.name
    adapters = [(r.adapter_dir / "adapter.safetensors").read_bytes() for r in (run, whole)]
    assert adapters[0] == adapters[1]
    assert (run.path / "metrics.json").read_bytes() == (whole.path / "metrics.json").read_bytes()
    assert run.predicted() == whole.predicted()
    for task, code in whole.predicted():
        frames = [r.predictions(task, code) for r in (run, whole)]
        assert frames[0] is not None
        assert frames[1] is not None
        pd.testing.assert_frame_equal(frames[0], frames[1])
    left = [path for path in run.path.rglob(".*") if path.name != ".lock"]
    assert not left, "what killed processes left half-written is removed"
    assert not run.checkpoints_dir.exists()


def test_killed_and_started_again(server: ForkServerContext, place: Callable[[str], Path]) -> None:
    unbroken, broken = place("unbroken"), place("broken")
    finish(start(server, unbroken), unbroken)
    training = only_run(unbroken).read_json("training.json")
    assert training is not None
    assert training["steps"] == 18

    draw = random.Random(0)
    moments: list[Callable[[], object]] = [
        lambda: steps_done(broken) >= 1,  # at the first checkpoint
        lambda: files(broken, "checkpoints/.checkpoint-*.tmp") and steps_done(broken) >= 5,  # while one is written
        lambda: steps_done(broken) >= 9,
        lambda: files(broken, "training.json"),  # trained, but not yet written
        lambda: files(broken, "adapter/adapter.json"),
        lambda: files(broken, "predictions/xnli/*.parquet"),  # after the first language
        lambda: len(files(broken, "predictions/xnli/*.parquet")) >= 6 + draw.randrange(5),
    ]
    killed = []
    for moment in moments:
        killed.append(kill_when(start(server, broken), moment))
        for checkpoint in files(broken, "checkpoints/checkpoint-*"):
            assert {path.name for path in checkpoint.iterdir()} >= CHECKPOINT, "a checkpoint that is there is whole"
            read_tensors(checkpoint / "adapter.safetensors")
            json.loads((checkpoint / "trainer_state.json").read_text())
    assert sum(killed) >= 5, "the work was over before it could be interrupted"
    finish(start(server, broken), broken)
    assert_same_end(broken, unbroken)
    again = only_run(broken).read_json("training.json")
    assert again is not None
    assert again["resumed_at_step"] > 0, "training went on where it was"
    its_own = {"seconds", "examples_per_second", "resumed_at_step"}
    assert again.keys() == training.keys() > its_own
    assert {key: again[key] for key in again.keys() - its_own} == {key: training[key] for key in again.keys() - its_own}
    assert again["examples_per_second"] == pytest.approx(again["rows_seen"] / again["seconds"], rel=0.05)

    # the whole way again, at moments that nobody chose
    anywhere = place("anywhere")
    for _ in range(8):
        end = time.monotonic() + draw.uniform(0.2, 1.5)
        kill_when(start(server, anywhere), lambda end=end: time.monotonic() > end)
    finish(start(server, anywhere), anywhere)
    assert_same_end(anywhere, unbroken)


def test_two_processes_on_one_run(server: ForkServerContext, place: Callable[[str], Path]) -> None:
    both, alone = place("both"), place("alone")
    first, second, third = start(server, both), start(server, both), start(server, alone)
    for process, directory in ((first, both), (second, both), (third, alone)):
        finish(process, directory)
    assert len((both / "began").read_text().splitlines()) == 1, "both trained"
    assert "is being worked on by process" in (both / "log").read_text()
    assert_same_end(both, alone)


def test_a_process_of_its_own(place: Callable[[str], Path], server: ForkServerContext) -> None:
    """The command itself, killed once and started again."""
    broken, unbroken = place("broken"), place("unbroken")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "transfix", "train", "spec.yaml"]
    with subprocess.Popen(command, cwd=broken, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and steps_done(broken) < 3:
            time.sleep(0.01)
        process.kill()
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    assert process.returncode == -signal.SIGKILL
    assert not files(broken, "adapter")
    for directory in (broken, unbroken):
        finish(start(server, directory), directory)
    assert_same_end(broken, unbroken)
    assert json.loads((only_run(broken).path / "training.json").read_text())["resumed_at_step"] >= 3
