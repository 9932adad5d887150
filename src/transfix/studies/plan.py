"""What a study would do, and how it is doing: the tables of `--dry-run` and of `study status`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transfix.errors import TransfixError
from transfix.runs.classifying import classes_of
from transfix.runs.settings import Evaluation
from transfix.runs.specification import RunSpec
from transfix.studies.calibration import Calibration, Calibrator
from transfix.studies.directory import State, StudyDirectory, number_of_runs
from transfix.studies.display import duration
from transfix.studies.expansion import StudyRun

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One row of the table.

    Attributes:
        trainable: how many numbers it learns; `None` if the model's configuration cannot be had here.
        rows: rows seen in training; `None` is all there are.
        asked: rows asked in all languages; `None` is all there are.
        seconds: what it would take; 0 for a run that is done, `None` if it was not tried out.
        memory: bytes, at the most.
        problem: why it could not be tried out.
    """

    run: StudyRun
    state: State
    trainable: int | None
    rows: int | None
    asked: int | None
    seconds: float | None
    memory: int | None
    problem: str | None = None


def dry_run(directory: StudyDirectory, planned: Sequence[StudyRun], calibrator: Calibrator | None) -> list[PlannedRun]:
    """What each run would take. Trains nothing; `calibrator` does a few steps of each kind of run.

    Args:
        directory: where the study is kept; need not exist.
        planned: the runs.
        calibrator: `None` leaves time and memory out.
    """
    trainable: dict[str, int | None] = {}
    found = []
    for run in planned:
        spec, state = run.spec, directory.state(run.spec)
        key = str((spec.model, spec.adapter))
        if key not in trainable:
            trainable[key] = _trainable(spec)
        measured: Calibration | None = None
        problem = None
        if calibrator is not None and state != "done":
            try:
                measured = calibrator.of(spec)
            except TransfixError as error:
                problem = str(error)
            state = directory.state(spec)  # trying it out took a while
        found.append(
            PlannedRun(
                run,
                state,
                trainable[key],
                training_rows(spec, measured),
                asked_rows(spec, measured),
                0.0 if state == "done" else None if measured is None else estimate(spec, measured),
                None if measured is None else measured.memory,
                problem,
            )
        )
    return found


def training_rows(spec: RunSpec, measured: Calibration | None = None) -> int | None:
    """Rows that training sees, over all epochs; `None` if it takes all there are, and it was not tried how many that is."""
    if spec.train is None:
        return 0
    exposed = spec.train.exposure
    more = exposed.rows * len(exposed.languages) if exposed else 0
    there = None if measured is None else max(0, measured.available - spec.train.development_rows)
    rows = _least(spec.train.rows, there)
    return None if rows is None else (rows + more) * spec.train.epochs


def asked_rows(spec: RunSpec, measured: Calibration | None = None) -> int | None:
    """Rows that are asked; `None` if an evaluation takes all there are, and it was not tried how many that is."""
    found = [_rows_of(evaluation, measured) for evaluation in spec.evaluate]
    return None if None in found else sum(rows or 0 for rows in found)


def _rows_of(evaluation: Evaluation, measured: Calibration | None) -> int | None:
    rows = _least(evaluation.limit, None if measured is None else measured.asked.get(evaluation.result))
    return None if rows is None else rows * len(evaluation.codes)


def _least(*values: int | None) -> int | None:
    return min((value for value in values if value is not None), default=None)


def estimate(spec: RunSpec, measured: Calibration) -> float:
    """Seconds that a run would take, from the rate of the few rows that were tried."""
    seconds = measured.overhead + (training_rows(spec, measured) or 0) * measured.training
    for evaluation in spec.evaluate:
        seconds += (_rows_of(evaluation, measured) or 0) * measured.asking.get(evaluation.result, 0.0)
    return seconds


def known(planned: Sequence[StudyRun], calibrator: Calibrator) -> dict[str, float]:
    """Run -> seconds it would take, for the kinds of runs that were tried before."""
    calibrated = ((run, calibrator.kept(run.spec)) for run in planned)
    return {run.name: estimate(run.spec, kept) for run, kept in calibrated if kept is not None}


def _trainable(spec: RunSpec) -> int | None:
    from transfix.models.inspect import trainable

    try:
        return trainable(spec.model, spec.adapter, len(classes_of(spec)))
    except TransfixError:
        return None


def plan_table(planned: Sequence[PlannedRun], jobs: int) -> RenderableType:
    """The table of `--dry-run`."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    groups = len({cell.group for entry in planned for cell in entry.run.cells}) > 1
    columns = ["", "Run", "Adapter", *["Group"] * groups]
    numbers = ["Trainable", "Rows seen", "Rows asked", "Time", "Memory"]
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for name in numbers:
        table.add_column(name, justify="right")
    table.add_column("State")
    for number, entry in enumerate(planned, start=1):
        names = dict.fromkeys(cell.group for cell in entry.run.cells)
        table.add_row(
            str(number),
            Text(entry.run.label),
            Text(entry.run.spec.title),
            *[Text(", ".join(names))] * groups,
            _number(entry.trainable),
            _number(entry.rows, "all"),
            _number(entry.asked, "all"),
            "?" if entry.seconds is None else duration(entry.seconds),
            "" if entry.memory is None else f"{entry.memory / 1e9:.1f} GB",
            entry.state,
        )
    known = [entry.seconds for entry in planned if entry.seconds is not None]
    seconds = sum(known) / jobs
    unknown = len(planned) - len(known)
    told = f"{duration(seconds)} with {jobs} at once" if known and (seconds or not unknown) else "time not known"
    lines = [
        f"{number_of_runs(len(planned))}, {told}"
        + (f" and {unknown} of unknown length" if unknown and known else "")
        + "."
    ]
    lines += dict.fromkeys(f"Not tried: {entry.problem}" for entry in planned if entry.problem)
    return Group(table, *(Text(line) for line in lines))


def status_table(found: Mapping[str, Any]) -> RenderableType:
    """The table of `study status`."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table("", "Run", "Adapter", "State", "Took", "Attempts", "Directory", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, entry in enumerate(found["runs"], start=1):
        took = "" if entry["seconds"] is None else duration(entry["seconds"])
        state = Text(entry["state"], style={"failed": "red", "done": "green"}.get(entry["state"], ""))
        label, title = Text(entry["label"]), Text(entry["title"])
        table.add_row(str(number), label, title, state, took, str(entry["attempts"]), Text(entry["run"]))
    counted = f"{found['done']} done, {found['running']} running, {found['failed']} failed, {found['waiting']} left"
    lines = [f"{number_of_runs(found['total'])}: {counted}"]
    lines += [f"failed: {entry['label']}: {entry['error']}" for entry in found["runs"] if entry["error"]]
    return Group(table, *(Text(line) for line in lines))


def _number(value: int | None, unknown: str = "?") -> str:
    return unknown if value is None else f"{value:,}"
