"""How fast this machine does a kind of run, and what memory that takes: a few real steps, and a few real rows.

A calibration is kept in the study's directory by everything that changes speed: the model, the adapter's shape, data type,
device, batches and what is asked. Seeds do not, nor what a method says of itself (`Part.same_speed`): learning rates, start
values.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transfix.config import places
from transfix.errors import TransfixError
from transfix.runs.environment import accelerator
from transfix.runs.progress import Bar, Display
from transfix.runs.settings import Frozen
from transfix.runs.specification import RunSpec
from transfix.storage import atomic, checksums, lock
from transfix.studies.directory import StudyDirectory
from transfix.studies.processes import Launch, Subprocess, ended

STEPS = 4
"""Optimiser steps; the first one, in which everything is set up, is not counted."""

LANGUAGES = 4
ROWS = 6
"""Rows asked in each of so many languages, of every evaluation."""

TIME_LIMIT = 900.0

Tell = Callable[[Mapping[str, Any]], object]


class Calibration(Frozen):
    """What a kind of run takes.

    Attributes:
        overhead: seconds that it takes whatever its rows: loading, saving.
        training: seconds a training row.
        asking: result -> seconds a row.
        available: rows there are to train on; 0 if it trains nothing.
        asked: result -> rows there are in a language (the mean of those tried).
        memory: bytes at the most: of the process, or of the GPU where the model is on one.
    """

    overhead: float
    training: float
    asking: dict[str, float]
    available: int
    asked: dict[str, int]
    memory: int


class Calibrator:
    """Calibrations of a study, made when they are first asked for.

    Args:
        directory: where they are kept.
        say: told of each one that is made.
        launch: starts the process.
    """

    def __init__(self, directory: StudyDirectory, say: Callable[[str], object], launch: Launch = Subprocess) -> None:
        self.path = directory.root / "calibration.json"
        self._say, self._launch = say, launch
        self._failed: dict[str, TransfixError] = {}

    def of(self, spec: RunSpec) -> Calibration:
        """The calibration of the kind of run that this one is.

        Raises:
            TransfixError: the few steps could not be done.
        """
        if (kept := self.kept(spec)) is not None:
            return kept
        key = kind_of(spec)
        if key in self._failed:
            raise self._failed[key]
        self._say(f"Trying a few steps: {spec.title} on {spec.model}")
        try:
            made = self._measure(spec)
        except TransfixError as error:
            self._failed[key] = error
            raise
        atomic.make_directory(self.path.parent)
        with lock.hold(self.path.parent):
            content = checksums.sealed(
                {name: entry.model_dump() for name, entry in {**self._read(), key: made}.items()}
            )
            atomic.write_file(self.path, json.dumps(content, indent=2) + "\n")
        return made

    def kept(self, spec: RunSpec) -> Calibration | None:
        """The calibration of the kind of run that this one is, if it was made before."""
        return self._read().get(kind_of(spec))

    def _read(self) -> dict[str, Calibration]:
        try:
            content = checksums.opened(places.read_json(self.path))
            return {key: Calibration.model_validate(entry) for key, entry in content.items()}
        except (OSError, ValueError, TypeError, AttributeError, RecursionError, TransfixError):  # measured again
            return {}

    def _measure(self, spec: RunSpec) -> Calibration:
        with tempfile.TemporaryDirectory(prefix="transfix-") as place:
            log = Path(place) / "log.txt"
            task = {"root": place, "spec": few(spec).model_dump(mode="json"), "calibrate": True}
            worker = self._launch(task, log, {})
            told: list[dict[str, Any]] = []
            began = time.monotonic()
            try:
                while (status := worker.poll()) is None:
                    time.sleep(0.1)
                    if time.monotonic() - began > TIME_LIMIT:
                        raise TransfixError(f"{spec.title}: a few steps take more than {TIME_LIMIT / 60:.0f} minutes.")
                told += worker.messages()
            finally:
                worker.stop()
            errors = [message["error"] for message in told if "error" in message]
            result = next((message["calibration"] for message in told if "calibration" in message), None)
            if status or result is None:
                raise TransfixError(f"{spec.title}: {ended(status, errors[0] if errors else None)}")
            return Calibration.model_validate(result)


def kind_of(spec: RunSpec) -> str:
    """A digest of what decides how fast a run is, after words that a person can read."""
    from transfix.models.loading import choose_device

    device = choose_device(spec.device)
    content = spec.model_dump(mode="json", include={"model", "revision", "dtype"})
    content["device"] = str(device), accelerator(str(device))
    content["adapter"] = [part.model_dump(mode="json", exclude=set(part.same_speed)) for part in spec.adapter]
    if spec.train is not None:
        keys = {"task", "data", "template", "max_tokens", "batch_rows", "batch_tokens", "keep_lower_layers"}
        content["train"] = spec.train.model_dump(mode="json", include=keys | {"gradient_checkpointing"})
    content["evaluate"] = [entry.model_dump(mode="json", exclude={"limit"}) for entry in spec.evaluate]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    return f"{spec.method} {spec.model} {spec.dtype} {device.type} {digest}"


def few(spec: RunSpec) -> RunSpec:
    """The run with a few steps and a few rows of a few languages, spread over those it has."""
    content = spec.model_dump(mode="json")
    if spec.train is not None:
        content["train"] |= {
            "rows": STEPS * spec.train.batch_rows,
            "development_rows": 0,
            "epochs": 1,
            "exposure": None,
            "compile": False,  # in a few steps compilation would be all that is measured
        }
        content["train"] |= {"early_stopping": None, "evaluate_every": 0}
    for entry, evaluation in zip(content["evaluate"], spec.evaluate, strict=True):
        codes = evaluation.codes
        step = max(1, len(codes) // LANGUAGES)
        entry |= {"languages": list(codes[::step][:LANGUAGES]), "limit": min(ROWS, evaluation.limit or ROWS)}
    return RunSpec.load(content)


class _Clocked(Bar):
    """Notes when rows were finished."""

    def __init__(self) -> None:
        self.began = self.last = time.monotonic()
        self.first: float | None = None
        self.first_rows = self.rows = 0

    def advance(self, rows: int, note: str = "") -> None:
        """See `Bar.advance`."""
        self.last = time.monotonic()
        self.rows += rows
        if self.first is None:
            self.first, self.first_rows = self.last, rows

    @property
    def steady(self) -> float:
        """Seconds a row, after the first step."""
        if self.first is None or self.rows == self.first_rows:
            return (self.last - self.began) / max(1, self.rows)
        return (self.last - self.first) / (self.rows - self.first_rows)

    @property
    def whole(self) -> float:
        """Seconds a row, from the beginning."""
        return (self.last - self.began) / max(1, self.rows)


class _Clocks(Display):
    """Keeps the clocks of all bars."""

    def __init__(self) -> None:
        super().__init__()
        self.clocks: list[_Clocked] = []

    @contextmanager
    def bar(self, what: str, total: int, done: int = 0) -> Iterator[Bar]:
        """See `Display.bar`."""
        self.clocks.append(_Clocked())
        yield self.clocks[-1]


def measure(spec: RunSpec, root: Path, tell: Tell) -> int:
    """Does a run of a few steps, in a process of its own, and tells its `Calibration`; returns the exit status."""
    try:
        from transfix.runs import run as experiment
        from transfix.runs.store import RunStore

        began = time.monotonic()
        clocks = _Clocks()
        run = experiment.train(spec, RunStore(root), clocks)
        trained = list(clocks.clocks)
        if spec.evaluate:
            experiment.evaluate(run, display=clocks)
        asking = clocks.clocks[len(trained) :]
        ended_at = time.monotonic()
        available, asked = _available(spec)
    except TransfixError as error:
        tell({"error": str(error)})
        return 2
    counted = sum(clock.last - clock.began for clock in clocks.clocks)
    found = Calibration(
        overhead=round(max(0.0, ended_at - began - counted), 2),
        training=round(sum(clock.steady for clock in trained), 5),
        asking={entry.result: round(clock.whole, 5) for entry, clock in zip(spec.evaluate, asking, strict=False)},
        available=available,
        asked=asked,
        memory=_peak(),
    )
    tell({"calibration": found.model_dump()})
    return 0


def _available(spec: RunSpec) -> tuple[int, dict[str, int]]:
    """How many rows there are: to train on, and of each result in a language."""
    from transfix import data
    from transfix.runs.rows import training_rows
    from transfix.runs.training import task_of

    asked = {}
    for entry in spec.evaluate:
        task = task_of(entry)
        split = entry.split or task.default_split
        counts = [
            len(data.load(task.benchmark, entry.data, code, split, on_bad_rows=entry.on_bad_rows))
            for code in entry.codes
        ]
        asked[entry.result] = round(sum(counts) / len(counts))
    return len(training_rows(spec.train, task_of(spec.train))[0]) if spec.train else 0, asked


def _peak() -> int:
    """Bytes that this process had at the most: on the GPU if it used one."""
    import resource
    import sys

    import torch

    if torch.cuda.is_available() and (there := torch.cuda.max_memory_allocated()):
        return int(there)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
