"""Workers that are forked with everything imported already, so that each starts at once; they count what they do."""

from __future__ import annotations

from collections.abc import Mapping
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

# Leaves lines in `trained` and `asked`; `killed` and `broken` beside them name a method that dies, or fails.
WORK = """
import os, signal, sys, torch
from pathlib import Path
torch.set_num_threads(1)
sys.stdout = sys.stderr = open(log, "a", buffering=1)
from transfix.runs import answering, run
from transfix.runs.specification import RunSpec
from transfix.studies import worker
place = Path(task["root"]).parent
spec = RunSpec.load(task["spec"])
train_adapter, answers = run.train_adapter, answering.Session.answers

def note(name, text):
    with open(place / name, "a") as file:
        file.write(text + "\\n")

def named(name):
    return (place / name).exists() and spec.method == (place / name).read_text()

def learned(*args):
    note("trained", spec.name)
    if named("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    if named("broken"):
        raise MemoryError("nothing left")
    train_adapter(*args)

def answered(session, task, examples, *args):
    note("asked", f"{spec.name} {examples[0].language} {len(examples)}")
    return answers(session, task, examples, *args)

run.train_adapter, answering.Session.answers = learned, answered
sys.exit(worker.work(Path(task["root"]), spec, connection.send))
"""


class Forked:
    """Starts workers in processes of a multiprocessing context."""

    def __init__(self, context: BaseContext) -> None:
        self.context = context
        self.running = self.most = self.started = 0

    def __call__(self, task: dict[str, Any], log: Path, environment: Mapping[str, str]) -> ForkedWorker:
        self.running += 1
        self.started += 1
        self.most = max(self.most, self.running)
        return ForkedWorker(self, task, log)


class ForkedWorker:
    def __init__(self, launch: Forked, task: dict[str, Any], log: Path) -> None:
        self.launch = launch
        self.ours, theirs = launch.context.Pipe(duplex=False)
        content = {"task": task, "log": str(log), "connection": theirs}
        self.process = launch.context.Process(target=exec, args=(WORK, content))  # type: ignore[attr-defined]
        self.process.start()
        theirs.close()

    def poll(self) -> int | None:
        self.process.join(0)
        return self.process.exitcode

    def messages(self) -> list[dict[str, Any]]:
        found = []
        try:
            while self.ours.poll():
                found.append(self.ours.recv())
        except EOFError:
            pass
        return found

    def stop(self) -> None:
        self.launch.running -= 1
        self.process.terminate()
        self.process.join()
        self.ours.close()
