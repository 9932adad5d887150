"""What a study keeps on disk: an ordinary store of runs, and beside it the study itself and how each run is doing.

    STUDY_DIR/
        resolved.yaml         the study as it was last run: scale, models and --set applied
        plan.json             its runs as they were planned; `runs` may have others, from before the study was changed
        runs/                 an ordinary run store
        work/RUN/record.json  state, error, attempts
        work/RUN/log.txt      what the run's process printed
        calibration.json      see `calibration`

Whoever works on a run holds the lock of its `work/RUN`; what is finished is said in its record before the lock is given up.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

from transfix.config import limits, places
from transfix.errors import ProblemsError, TransfixError
from transfix.runs.settings import Frozen
from transfix.runs.specification import RunSpec
from transfix.runs.store import Run, RunStore
from transfix.storage import atomic, checksums, lock
from transfix.studies.expansion import Cell, StudyRun
from transfix.studies.specification import StudySpec

MARK = "# Written by transfix: the study as it was last run. Change your own file, not this one.\n"
STUDIES = Path("studies")
"""Where studies are kept, unless another directory is named."""

State = Literal["done", "running", "failed", "waiting"]

_log = logging.getLogger("transfix")


class Record(Frozen):
    """How a run of a study is doing.

    Attributes:
        state: `running` counts only while the run is locked: else the study was killed, and goes on with it.
        attempts: how often it was begun; those that were stopped with Ctrl-C do not count.
        error: why it failed.
        asked: a digest of what it was measured on; another one makes it unfinished.
        seconds: how long its attempts took, together.
        ended: when, in ISO 8601.
    """

    state: Literal["running", "done", "failed", "stopped"]
    attempts: int = 0
    error: str | None = None
    asked: str
    seconds: float = 0.0
    ended: str | None = None


class StudyDirectory:
    """One study on disk.

    Args:
        root: need not exist yet.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.store = RunStore(self.root / "runs")
        self._told: set[Path] = set()  # of damaged records

    def open(self, study: StudySpec) -> None:
        """Makes the directory, and writes the study into it.

        Raises:
            TransfixError: it is the directory of another study, or cannot be written to.
        """
        path = self.root / "resolved.yaml"
        if places.kind(path) != "missing":
            if not places.read_bytes(path, limits.SETTINGS_BYTES).startswith(MARK.encode()):
                raise TransfixError(
                    f"{path} exists and was not written by transfix: name another directory with --dir."
                )
            other = self.study().name
            if other != study.name:
                raise TransfixError(f"{self.root} holds the study {other}: name another directory with --dir.")
        atomic.make_directory(self.root)
        atomic.make_directory(self.store.root)
        with lock.hold(self.root):
            atomic.write_file(path, checksums.sealed_text(MARK + study.to_yaml()))

    def study(self) -> StudySpec:
        """The study as it was last run.

        Raises:
            TransfixError: there is none, or it is damaged.
        """
        path = self.root / "resolved.yaml"
        if places.kind(path) != "file":
            raise TransfixError(f"{self.root} is not the directory of a study: it has no resolved.yaml.")
        try:
            checksums.opened_text(places.read_bytes(path, limits.SETTINGS_BYTES).decode())
        except (OSError, ValueError, TransfixError) as error:
            raise self._damaged(path, str(error)) from error
        try:
            return StudySpec.load(path)
        except ProblemsError:
            raise
        except TransfixError as error:
            raise self._damaged(path, str(error)) from error

    def keep_plan(self, planned: Sequence[StudyRun]) -> None:
        """Writes down the runs of the study as it is now."""
        entries = [
            {
                "run": run.name,
                "spec": run.spec.model_dump(mode="json"),
                "cells": [{"group": cell.group, "varied": dict(cell.varied)} for cell in run.cells],
            }
            for run in planned
        ]
        content = checksums.sealed({"runs": entries})
        with lock.hold(self.root):
            atomic.write_file(self.root / "plan.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def plan(self) -> tuple[StudyRun, ...] | None:
        """The runs of the study as it was last begun, wherever that was; None if they are not written down.

        Neither their rows nor their models need be there; where a task's file is gone it is as if they were not written down.

        Raises:
            TransfixError: what is written down is damaged.
        """
        path = self.root / "plan.json"
        if places.kind(path) == "missing":
            return None
        try:
            content = places.read_json(path)
            entries = checksums.opened(content)["runs"] if isinstance(content, dict) else content
            if all(isinstance(entry, str) for entry in entries):  # names alone, as they once were written
                return None
            found = [_planned_run(entry) for entry in entries]
        except ProblemsError as error:
            if not all(problem.missing_file for problem in error.problems):
                raise self._damaged(path, str(error)) from error
            _log.warning(
                "%s cannot be read here, and every run beside it is taken for one of the study's: %s", path, error
            )
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, TransfixError) as error:
            raise self._damaged(path, str(error)) from error
        return tuple(found)

    @property
    def has_lost_its_plan(self) -> bool:
        """Whether a study is here, and its runs are not written down any more."""
        there = [places.kind(self.root / name) for name in ("resolved.yaml", "plan.json")]
        return there == ["file", "missing"]

    def _damaged(self, path: Path, why: str) -> TransfixError:
        reason = (why or "it does not hold what it should").splitlines()[0].rstrip(".")
        return TransfixError(
            f"{path} is damaged: {reason}. Delete it, then run the study's command again (transfix study STUDY.yaml --dir "
            f"{self.root}): what is finished is kept."
        )

    def planned(self, plan: Sequence[StudyRun]) -> tuple[set[str], int]:
        """The names of those runs of a plan that have begun, and how many other runs the store has."""
        names = {run.name for run in plan}
        there = {run.name for run in self.store.runs()}
        return names & there, len(there - names)

    def work(self, name: str) -> Path:
        """Where the record and the log of a run are."""
        return self.root / "work" / name

    def log(self, name: str) -> Path:
        """What the process of a run printed."""
        return self.work(name) / "log.txt"

    def claim(self, name: str) -> AbstractContextManager[None]:
        """Holds a run for this process. Raises LockedError if another process works on it."""
        atomic.make_directory(self.work(name))
        return lock.hold(self.work(name), wait=False)

    def record(self, name: str) -> Record | None:
        """The record of a run; None if it was never begun, or its record is damaged (then the run is begun again)."""
        path = self.work(name) / "record.json"
        try:
            return Record.model_validate(checksums.opened(places.read_json(path)))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, RecursionError, TransfixError):
            if path not in self._told:
                self._told.add(path)
                _log.warning(
                    "%s is damaged: the study's command again begins the run again, and finds what it has done", path
                )
            return None

    def write_record(self, name: str, record: Record) -> None:
        """Writes the record of a run that this process holds."""
        content = checksums.sealed(record.model_dump(mode="json"))
        atomic.write_file(self.work(name) / "record.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def state(self, spec: RunSpec) -> State:
        """How a run is doing."""
        record = self.record(spec.name)
        if lock.is_locked(self.work(spec.name)):
            return "running"
        if record is None or record.asked != asked(spec):
            return "waiting"
        if record.state == "done":
            return "done" if self.whole(spec) else "waiting"
        return "failed" if record.state == "failed" else "waiting"

    def whole(self, spec: RunSpec) -> bool:
        """Whether what a finished run left is still there."""
        run = Run(self.store.root / spec.name, spec)
        there = not spec.trained or run.has_adapter
        results = ((evaluation.result, code) for evaluation in spec.evaluate for code in evaluation.codes)
        return there and all(run.predictions_path(name, code).is_file() for name, code in results)


def _planned_run(entry: Any) -> StudyRun:
    """A run as `keep_plan` wrote it. Raises various errors if it did not."""
    spec = RunSpec.load(entry["spec"])
    if entry["run"] != spec.name:
        raise ValueError(f"{entry['run']} is not the run of its specification, {spec.name}")
    return StudyRun(spec, tuple(Cell(cell["group"], cell["varied"], spec) for cell in entry["cells"]))


def asked(spec: RunSpec) -> str:
    """12 hexadecimal digits of a SHA-256 over what a run is measured on."""
    content = [evaluation.model_dump(mode="json") for evaluation in spec.evaluate]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def counts(states: Sequence[State]) -> dict[str, Any]:
    """State -> how many."""
    return {state: states.count(state) for state in ("done", "running", "failed", "waiting")}


def number_of_runs(number: int) -> str:
    """`1 run`, `2 runs`."""
    return f"{number} run" if number == 1 else f"{number} runs"
