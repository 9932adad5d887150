"""Running a study: each run in a process of its own, as many at once as the machine takes, together with other processes.

A run is claimed by the lock of its `work/RUN` before its process is started, and its record says how it ended before the
lock is given up: two studies on one directory do no run twice, and one that is killed leaves nothing locked.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from transfix.errors import Problem, ProblemsError, TransfixError
from transfix.runs.specification import RunSpec
from transfix.storage.lock import LockedError, is_locked
from transfix.studies.directory import Record, State, StudyDirectory, asked, counts, number_of_runs
from transfix.studies.display import StudyDisplay
from transfix.studies.expansion import Cell, StudyRun, expand, runs
from transfix.studies.processes import Launch, Message, Subprocess, Worker, ended, environments
from transfix.studies.specification import StudySpec
from transfix.studies.worker import LOCKED

POLL = 0.2
SHOWN = 10
"""Runs that a sentence names; the others are counted."""
AGAIN = 2.0
"""Seconds until a run that another process works on is looked at again."""


@dataclass(frozen=True, slots=True)
class Summary:
    """How a study ended.

    Attributes:
        states: run -> state.
        errors: run -> why it failed.
    """

    states: Mapping[str, State]
    errors: Mapping[str, str]

    @property
    def done(self) -> bool:
        """Whether every run is finished."""
        return all(state == "done" for state in self.states.values())


def resolved(study: StudySpec) -> tuple[StudyRun, ...]:
    """The runs of a study as this machine would do them (see `run.resolve`), in their order.

    Raises:
        ProblemsError: with the problems of all of them, or with all rows that are not there.
    """
    from transfix.runs.run import resolve

    cells = expand(study)
    _check_data(cells)
    known: dict[str, RunSpec] = {}  # files are read once, however many runs train on them
    found = []
    for cell in cells:
        spec = cell.spec
        key = spec.model_dump_json(include={"train", "dtype", "device"}) + spec.method
        if key not in known:
            known[key] = resolve(spec)
        like = known[key]
        # the device is chosen by the process that does the run
        spec = spec.resolved(dtype=like.dtype, rows_digest=like.train.rows_digest if like.train else None)
        found.append(Cell(cell.group, cell.varied, spec))
    return runs(study, found)


def _check_data(cells: Sequence[Cell]) -> None:
    """Finds out, before hours of work, whether the rows of all runs are there.

    Raises:
        ProblemsError: with everything that is missing.
    """
    problems: dict[str, Problem] = {}
    for run in _by_data(cells):
        try:
            run.spec.check_data()
        except ProblemsError as error:
            for found in error.problems:
                named = found.at(f"run {run.label}: {found.where}")
                problems.setdefault(str(found), named)
    if problems:
        raise ProblemsError("the data of this study is not all there:", list(problems.values()))


def _by_data(cells: Sequence[Cell]) -> list[StudyRun]:
    """A run for each of the data there are."""
    found: dict[str, StudyRun] = {}
    for cell in cells:
        found.setdefault(cell.spec.model_dump_json(include={"train", "evaluate"}), StudyRun(cell.spec, (cell,)))
    return list(found.values())


def run_study(
    directory: StudyDirectory,
    planned: Sequence[StudyRun],
    jobs: int,
    retry_failed: bool = False,
    display: StudyDisplay | None = None,
    launch: Launch = Subprocess,
) -> Summary:
    """Does what is not done.

    Args:
        directory: of the study, opened.
        planned: its runs.
        jobs: how many at once.
        retry_failed: begin those again that have failed before.
        display: where progress is shown.
        launch: starts the process of a run.

    Raises:
        KeyboardInterrupt: after its processes have ended; what they finished is kept.
    """
    scheduler = _Scheduler(directory, planned, jobs, retry_failed, display or StudyDisplay(), launch)
    return scheduler.run()


@dataclass(slots=True)
class _Job:
    """A run that this process works on."""

    run: StudyRun
    worker: Worker
    claim: contextlib.ExitStack
    slot: int
    before: Record | None
    began: float = field(default_factory=time.monotonic)
    error: str | None = None
    told: Message = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long its process has worked."""
        return time.monotonic() - self.began


class _Scheduler:
    """The queue of one study, and the processes that empty it."""

    def __init__(
        self,
        directory: StudyDirectory,
        planned: Sequence[StudyRun],
        jobs: int,
        retry_failed: bool,
        display: StudyDisplay,
        launch: Launch,
    ) -> None:
        self.directory, self.planned, self.display, self.launch = directory, planned, display, launch
        self.environments = environments(jobs)
        self.free = list(range(jobs))
        self.active: list[_Job] = []
        self.states: dict[str, State] = {run.name: directory.state(run.spec) for run in planned}
        # a failed run is begun once more by whoever comes first: its attempts tell that someone has
        self.retried = {
            name: record.attempts
            for name, state in self.states.items()
            if retry_failed and state == "failed" and (record := directory.record(name))
        }
        self.queue = deque(
            (run, 0.0) for run in planned if self.states[run.name] in ("waiting", "running") or run.name in self.retried
        )

    def run(self) -> Summary:
        self.display.begin(self.planned, self.states, self._took())
        try:
            with self.display:
                while self.queue or self.active:
                    self._start()
                    self._collect()
                    self.display.show(self.states, {job.run.name: job.told for job in self.active})
                    if self.queue or self.active:
                        time.sleep(POLL)
        finally:
            for job in self.active:
                self._stop(job)
        errors = {}
        for run in self.planned:
            record = self.directory.record(run.name)
            if self.states[run.name] == "failed" and record is not None:
                errors[run.name] = record.error or ""
        return Summary(dict(self.states), errors)

    def _took(self) -> dict[str, float]:
        """Run -> seconds, for those that are done already."""
        done = [run.name for run in self.planned if self.states[run.name] == "done"]
        return {name: record.seconds for name in done if (record := self.directory.record(name)) is not None}

    def _start(self) -> None:
        """Starts what can be started now."""
        now = time.monotonic()
        for _ in range(len(self.queue)):
            if not self.free:
                return
            run, not_before = self.queue.popleft()
            if not_before > now or not self._begin(run):
                self.queue.append((run, max(not_before, now + AGAIN) if not_before <= now else not_before))

    def _begin(self, run: StudyRun) -> bool:
        """Begins a run, or finds it finished; False if another process works on it."""
        claim = contextlib.ExitStack()
        try:
            claim.enter_context(self.directory.claim(run.name))
        except LockedError:
            self.states[run.name] = "running"
            return False
        with contextlib.ExitStack() as undo:
            undo.push(claim)
            if is_locked(self.directory.store.root / run.name):  # by a command outside the study
                self.states[run.name] = "running"
                return False
            before = self.directory.record(run.name)
            state = self._found(run.spec, before)
            if state in ("done", "failed"):  # by another process, since this one looked
                self.states[run.name] = state
                self.display.ended(run, state, before.error if before else None, 0.0, self.states, here=False)
                return True
            self._write(run, "running", before, attempts=1)
            slot = self.free.pop(0)
            task: Message = {"root": str(self.directory.store.root), "spec": run.spec.model_dump(mode="json")}
            worker = self.launch(task, self.directory.log(run.name), self.environments[slot])
            self.active.append(_Job(run, worker, claim, slot, before))
            undo.pop_all()
        self.states[run.name] = "running"
        self.display.began(run, self.states)
        return True

    def _found(self, spec: RunSpec, record: Record | None) -> State:
        """How a run is doing that this process holds."""
        if record is None or record.asked != asked(spec) or record.state in ("running", "stopped"):
            return "waiting"
        if record.state == "failed":
            return "waiting" if self.retried.get(spec.name) == record.attempts else "failed"
        return "done" if self.directory.whole(spec) else "waiting"

    def _collect(self) -> None:
        """Takes what the processes have told, and records those that have ended."""
        for job in list(self.active):
            status = job.worker.poll()
            for message in job.worker.messages():
                if "error" in message:
                    job.error = str(message["error"])
                else:
                    job.told = message
            if status is not None:
                self._end(job, status)

    def _end(self, job: _Job, status: int) -> None:
        run = job.run
        self.active.remove(job)
        self.free.append(job.slot)
        job.worker.stop()
        with job.claim:
            if status == LOCKED:  # a command outside the study was quicker
                self._undo(job)
                self.queue.append((run, time.monotonic() + AGAIN))
                return
            error = ended(status, job.error) if status else None
            state: Any = "failed" if status else "done"
            self.states[run.name] = state
            record = self._write(run, state, job.before, 1, error, job.seconds)
        self.display.ended(run, state, error, record.seconds, self.states)

    def _stop(self, job: _Job) -> None:
        """Ends a process because the study ends; the attempt does not count."""
        job.worker.stop()
        with job.claim:
            self._undo(job)

    def _undo(self, job: _Job) -> None:
        before = job.before
        if before is None or before.state == "running":
            self._write(job.run, "stopped", before, seconds=job.seconds)
        else:  # it is still what it was, after more time
            more = round(before.seconds + job.seconds, 1)
            self.directory.write_record(job.run.name, before.model_copy(update={"seconds": more}))

    def _write(
        self,
        run: StudyRun,
        state: Any,
        before: Record | None,
        attempts: int = 0,
        error: str | None = None,
        seconds: float = 0.0,
    ) -> Record:
        """Writes the record of a run: `attempts` and `seconds` are added to those before."""
        record = Record(
            state=state,
            attempts=attempts + (before.attempts if before else 0),
            error=error,
            asked=asked(run.spec),
            seconds=round(seconds + (before.seconds if before else 0.0), 1),
            ended=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self.directory.write_record(run.name, record)
        return record


def made_again(directory: StudyDirectory) -> tuple[StudyRun, ...]:
    """The plan of a study that has lost it, from its `resolved.yaml`.

    Raises:
        TransfixError: it cannot be made here: rows or a model are elsewhere, or this machine would do other runs than those
            that are there. The message says what becomes of a report, and what to do.
    """
    try:
        planned = resolved(directory.study())
        names, others = directory.planned(planned)
        if others and not names:
            raise TransfixError("this machine would do other runs")
    except TransfixError as error:
        raise TransfixError(
            f"{directory.root / 'plan.json'} is missing, and cannot be made again from resolved.yaml "
            f"({_first(str(error))}): every run beside it is counted, those from before the study was changed, too. "
            f"Run the study's command again (transfix study STUDY.yaml --dir {directory.root}): what is finished is kept"
        ) from error
    return planned


def _first(text: str) -> str:
    """An error in one line."""
    return "; ".join(line.strip(" -") for line in text.splitlines()[:2]).rstrip(".")


def unfinished(found: Mapping[str, Any]) -> list[str]:
    """What `status` found, in sentences for a report: nothing if all runs are done."""
    if found["done"] == found["total"]:
        return []
    runs = found["runs"]
    lines = [f"{found['done']} of {number_of_runs(found['total'])} of this study are done: its numbers are not final"]
    for entry in runs:
        if entry["state"] == "failed":
            error = str(entry["error"] or "").splitlines() or ["no reason is known"]
            lines.append(
                f"failed: {entry['label']}: {error[0]} (the study's command with --retry-failed begins it again)"
            )
    for state, words in (("running", "at work"), ("waiting", "not done; the study's command again goes on with them")):
        if labels := [entry["label"] for entry in runs if entry["state"] == state]:
            more = f" and {len(labels) - SHOWN} more" if len(labels) > SHOWN else ""
            lines.append(f"{words}: {'; '.join(labels[:SHOWN])}{more}")
    return lines


def status(directory: StudyDirectory, planned: Sequence[StudyRun]) -> dict[str, Any]:
    """How a study is doing, as plain data: the states of all runs, counted, and one by one."""
    entries = []
    states: list[State] = []
    for run in planned:
        record = directory.record(run.name)
        state = directory.state(run.spec)
        states.append(state)
        entries.append(
            {
                "run": run.name,
                "label": run.label,
                "title": run.spec.title,
                "groups": list(dict.fromkeys(cell.group for cell in run.cells)),
                "settings": [dict(cell.varied) for cell in run.cells],
                "state": state,
                "attempts": record.attempts if record else 0,
                "error": record.error if record and state == "failed" else None,
                "seconds": record.seconds if record and state == "done" else None,
            }
        )
    return {"directory": str(directory.root), "total": len(entries), **counts(states), "runs": entries}
