"""What faults are injected into: a command, the directory it starts from, and what must be there in the end.

The model is loaded once, before anything is forked; a study's runs are done in the study's own process.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from tests import tiny
from tests.faults import forks
from tests.faults.forks import Ended
from tests.faults.operations import Operation, watch

SPECIFICATION = "spec.yaml"
STUDY = "study.yaml"
UNLABELLED = "unlabelled.jsonl"


@dataclass(frozen=True)
class Scene:
    """A command that is disturbed.

    Attributes:
        name: of the scene.
        start: the directory that it starts from, copied for every fault.
        commands: what is called; `RUN` in them is the directory of the one run.
        again: what is called afterwards, undisturbed.
        kept: what must be the same in the end, whatever happened: path -> digest.
        said: what the undisturbed commands print, where that is the result; `None` where files are.
    """

    name: str
    start: Path
    commands: tuple[tuple[str, ...], ...]
    again: tuple[tuple[str, ...], ...]
    kept: Mapping[str, str]
    said: str | None = None

    def run(self, place: Path, disturb: Callable[[Path], object] | None = None) -> Ended:
        """Calls the commands in a copy of the start, after `disturb`."""
        return call(place, self.commands if disturb else self.again, disturb)

    def place(self, place: Path) -> Path:
        """An own copy of the start at `place`."""
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.start, place, symlinks=True)
        return place


def call(place: Path, commands: Sequence[Sequence[str]], disturb: Callable[[Path], object] | None = None) -> Ended:
    """Calls commands of transfix one after the other in a child, until one fails."""

    run = run_of(place) if any("RUN" in command for command in commands) else ""

    def work() -> None:
        from transfix.cli.app import app

        if disturb:
            disturb(place)
        for command in commands:
            try:
                app([run if part == "RUN" else part for part in command], prog_name="transfix")
            except SystemExit as error:
                if error.code:
                    raise

    return forks.forked(work, place)


def run_of(place: Path) -> str:
    """The directory of the one run in a place, relative to it."""
    with os.scandir(place / "runs") as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    return f"runs/{names[0]}" if names else "runs/none"


def kept(place: Path) -> dict[str, str]:
    """What runs and studies promise to be the same, whenever and however often they were stopped: path -> digest."""
    found = {}
    for path in sorted(place.rglob("*")):
        name = str(path.relative_to(place))
        parts = path.relative_to(place).parts
        if not path.is_file() or path.name.startswith(".") or "checkpoints" in parts:
            continue
        is_result = path.suffix == ".parquet" or "adapter" in parts or "calibration" in parts
        if is_result or path.name in ("metrics.json", "spec.yaml", "plan.json", "resolved.yaml", "label_means.json"):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.name == "record.json":
            found[name] = str(json.loads(path.read_text())["state"])
        elif path.name == "training.json":
            content = json.loads(path.read_text())
            found[name] = json.dumps({key: content[key] for key in ("rows", "steps", "development")})
    return found


def left(place: Path) -> list[str]:
    """Temporary files and directories that nobody removed."""
    return sorted(str(path.relative_to(place)) for path in place.rglob(".*.tmp"))


class _Inline:
    """A worker that has done its run when it is started: whatever hits the study hits it too."""

    def __init__(self, task: dict[str, Any], log: Path, environment: Mapping[str, str]) -> None:
        from transfix.runs.specification import RunSpec
        from transfix.studies import processes, worker

        self.told: list[dict[str, Any]] = []
        output = io.TextIOWrapper(processes._appended(log))
        with redirect_stderr(output):
            self.status = worker.work(
                Path(task["root"]), RunSpec.load(task["spec"]), lambda told: self.told.append(dict(told))
            )
        with suppress(OSError):
            output.close()

    def poll(self) -> int | None:
        return self.status

    def messages(self) -> list[dict[str, Any]]:
        told, self.told = self.told, []
        return told

    def stop(self) -> None:
        pass


@contextmanager
def settled(home: Path) -> Iterator[Path]:
    """Makes this process one whose children need nothing more: all imported, the model loaded. Gives the model.

    Args:
        home: an empty directory, for the model.
    """
    import torch

    from transfix.cli.app import app  # noqa: F401
    from transfix.models.loading import LoadedModel
    from transfix.runs import answering
    from transfix.studies import running

    directory = tiny.save(home / "tiny-gemma")
    load = answering.load_model
    loaded: dict[str, LoadedModel] = {}

    def load_model(spec: Any) -> LoadedModel:
        if spec.model != str(directory):
            return load(spec)
        if not loaded:
            loaded[spec.model] = load(spec)
        return copy.deepcopy(loaded[spec.model])

    cache = {"TRANSFIX_CACHE": str(home / "cache")}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with (
        mock.patch.object(answering, "load_model", load_model),
        mock.patch.object(running, "run_study", functools.partial(running.run_study, launch=_Inline)),
        mock.patch.object(running, "POLL", 0.0),
        mock.patch.dict(os.environ, cache),
    ):
        yield directory
    torch.set_num_threads(threads)


class Stage:
    """The scenes, each prepared when it is first asked for, in a process that `settled` has made ready.

    Args:
        home: an empty directory.
        model: what `settled` gives.
    """

    def __init__(self, home: Path, model: Path) -> None:
        self.home, self.model = home, model
        self._starts: dict[str, Path] = {}
        self._scenes: dict[str, Scene] = {}
        self._is_warm = False

    def __getitem__(self, name: str) -> Scene:
        if name not in self._scenes:
            start, commands, again, said = _SCENES[name]
            self._scenes[name] = _scene(name, self.start(start), commands, self.home, again, said)
        return self._scenes[name]

    def start(self, name: str) -> Path:
        """The directory that scenes start from."""
        if name not in self._starts:
            place = self.home / name
            if name in ("fresh", "study"):
                place.mkdir()
                kind = SPECIFICATION if name == "fresh" else STUDY
                _write(place / kind, self._specification() if name == "fresh" else self._study())
                if name == "fresh":
                    (place / UNLABELLED).write_text(_unlabelled(), encoding="utf-8")
                self._warm(place)
            elif name == "halfway":
                _stopped(self.start("fresh"), place)
            else:
                before, command = {
                    "trained": ("fresh", TRAIN),
                    "measured": ("trained", EVALUATE),
                    "calibrated": ("trained", CALIBRATE),
                    "studied": ("study", RUN_STUDY),
                }[name]
                _after(self.start(before), place, command)
            self._starts[name] = place
        return self._starts[name]

    def _warm(self, start: Path) -> None:
        """Imports all, and loads the model, once."""
        if not self._is_warm and (start / SPECIFICATION).exists():
            _import_all(start, self.home / "first")
            self._is_warm = True

    def _specification(self) -> dict[str, Any]:
        train = {
            "task": "mnli",
            "rows": 4,
            "development_rows": 2,
            "epochs": 1,
            "batch_rows": 2,
            "max_tokens": 64,
            "checkpoint_every": 1,
            "evaluate_every": 1,
            "early_stopping": 2,
        }
        evaluate = [{"task": "xnli", "languages": ["en", "de"], "limit": 2, "calibration": {"rows": 2}}]
        common = {"model": str(self.model), "dtype": "float32", "device": "cpu"}
        return {**common, "adapter": {"method": "lora", "rank": 2}, "train": train, "evaluate": evaluate}

    def _study(self) -> dict[str, Any]:
        base = {**self._specification(), "evaluate": [{"task": "xnli", "languages": ["de"], "limit": 2}]}
        base["train"] |= {"development_rows": 0, "early_stopping": None, "evaluate_every": 0}
        return {"name": "tiny", "base": base, "matrix": {"method": {"base": {"adapter": "base"}, "lora": {}}}}


TRAIN = ("train", SPECIFICATION)
EVALUATE = ("evaluate", "RUN")
CALIBRATE = ("calibrate", "RUN", "--input", UNLABELLED)
PREDICT = ("predict", "RUN", "--input", UNLABELLED, "--output", "answers.parquet")
REPORT = ("report", "RUN", "--csv")
RUN_STUDY = ("study", STUDY, "--jobs", "1", "--dir", "study")
_SCENES: Mapping[str, tuple[str, Sequence[Sequence[str]], Sequence[Sequence[str]] | None, bool]] = {
    "train": ("fresh", [TRAIN], None, False),
    "train, from a checkpoint": ("halfway", [TRAIN], None, False),
    "evaluate": ("trained", [EVALUATE], None, False),
    "calibrate": ("trained", [CALIBRATE], None, False),
    "predict, calibrated": ("calibrated", [PREDICT], None, False),
    "report": ("measured", [REPORT], None, True),
    "runs": ("measured", [("runs", "runs")], None, True),
    "study": ("study", [RUN_STUDY], [(*RUN_STUDY, "--retry-failed")], False),
    "study status": ("studied", [("study", "status", "study", "--json")], None, True),
    "report of a study": ("studied", [("report", "study", "--csv")], None, True),
}
"""Scene -> where it starts, what is called, what is called afterwards (None: the same), whether what it prints counts."""


def _unlabelled() -> str:
    """Eight rows in each of two languages."""
    rows = [
        {"premise": f"{word} {number}", "hypothesis": f"{number} {word}", "language": code}
        for code, word in (("en", "number"), ("de", "Zahl"))
        for number in range(8)
    ]
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def _write(path: Path, content: object) -> None:
    from transfix.config import yaml_dialect

    path.write_text(yaml_dialect.dump(content), encoding="utf-8")


def _import_all(start: Path, place: Path) -> None:
    """Imports here what a child had to import for itself, and loads the model."""
    shutil.copytree(start, place)
    names = place / "names"

    def work() -> None:
        from transfix.cli.app import app

        for command in (["train", SPECIFICATION], ["evaluate", "RUN"], ["report", "RUN"], ["runs", "runs"]):
            try:
                app([run_of(place) if part == "RUN" else part for part in command], prog_name="transfix")
            except SystemExit as error:
                if error.code:
                    raise
        names.write_text("\n".join(sys.modules))

    ended = forks.forked(work, place)
    assert ended.status == 0, ended.output
    for name in names.read_text().split():
        if name not in sys.modules:
            try:
                __import__(name)
            except Exception:  # made while another was imported
                continue
    from transfix.runs import answering
    from transfix.runs.specification import RunSpec

    answering.load_model(RunSpec.load(start / SPECIFICATION))
    shutil.rmtree(place)


def _after(start: Path, place: Path, *commands: Sequence[str]) -> None:
    shutil.copytree(start, place)
    ended = call(place, commands)
    assert ended.status == 0, ended.output


def _stopped(start: Path, place: Path) -> None:
    """The start of a training that was stopped halfway."""

    def stop(operation: Operation) -> None:
        if operation.kind == "rename" and operation.path.endswith("/checkpoint-2"):
            os._exit(7)

    shutil.copytree(start, place)
    ended = call(place, [("train", SPECIFICATION)], lambda _: watch(place, stop))
    assert ended.status == 7, ended.output
    assert list(place.glob("runs/*/checkpoints/checkpoint-1"))


def _scene(
    name: str,
    start: Path,
    commands: Sequence[Sequence[str]],
    home: Path,
    again: Sequence[Sequence[str]] | None = None,
    said: bool = False,
) -> Scene:
    place = home / "undisturbed"
    shutil.copytree(start, place)
    ended = call(place, commands)
    assert ended.status == 0, ended.output
    found, text = kept(place), table(ended.output) if said else None
    shutil.rmtree(place)
    return Scene(
        name, start, tuple(map(tuple, commands)), tuple(map(tuple, commands if again is None else again)), found, text
    )


def table(output: str) -> str:
    """What a command printed, without the lines that are notes and the place of a page."""
    lines = [line for line in output.splitlines() if not line.startswith(("!", "Page:"))]
    return "\n".join(lines)


def says(output: str, expected: str) -> bool:
    """Whether a command printed what it should, in one piece; notes may stand before it."""
    return expected in table(output)
