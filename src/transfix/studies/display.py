"""What a person sees while a study works: one display for all its runs, or plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import IO, Any, Self, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from transfix.runs.progress import Unfailing
from transfix.studies.directory import State, number_of_runs
from transfix.studies.expansion import StudyRun

LINE_EVERY = 60.0
"""Seconds between two lines about what is running, where there is no terminal."""


class StudyDisplay:
    """Shows how a study goes.

    Args:
        console: where; `None` is stderr.
        estimates: run -> seconds it will take, where that is known before.
        jobs: how many runs work at once.
    """

    def __init__(
        self, console: Console | None = None, estimates: Mapping[str, float] | None = None, jobs: int = 1
    ) -> None:
        self.console = console or Console(file=cast(IO[str], Unfailing(sys.stderr)), highlight=False)
        self.estimates, self.jobs = dict(estimates or {}), jobs
        self._took: dict[str, float] = {}
        self._said = self._began = time.monotonic()
        self._show: Progress | None = None
        self._whole: TaskID | None = None
        self._bars: dict[str, TaskID] = {}
        self._runs: dict[str, StudyRun] = {}

    def begin(self, planned: Sequence[StudyRun], states: Mapping[str, State], took: Mapping[str, float]) -> None:
        """Told of the runs before anything else, and how many seconds those took that are done."""
        self._runs = {run.name: run for run in planned}
        self._took = dict(took)
        self.say(f"{number_of_runs(len(planned))}: {self._counted(states)}{self._left(states)}")

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            columns: list[Any] = [TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()]
            self._show = Progress(*columns, console=self.console, transient=True)
            self._show.start()
            self._whole = self._show.add_task("Study", total=len(self._runs))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._show is not None:
            self._show.stop()
            self._show = None

    def say(self, line: str) -> None:
        """One line of its own."""
        self.console.print(Text(line), soft_wrap=True)

    def began(self, run: StudyRun, states: Mapping[str, State]) -> None:
        """A run has been begun."""
        if self._show is None:
            self.say(f"begun: {run.label}")

    def ended(
        self,
        run: StudyRun,
        state: State,
        error: str | None,
        seconds: float,
        states: Mapping[str, State],
        here: bool = True,
    ) -> None:
        """A run has ended, here or in another process."""
        if here and state == "done":
            self._took[run.name] = seconds
        where = f" after {duration(seconds)}" if here else " by another process"
        self.say(f"{state}: {run.label}{where} ({self._counted(states)}{self._left(states)})")
        if error:
            self.say("    " + error.replace("\n", "\n    "))

    def show(self, states: Mapping[str, State], told: Mapping[str, Mapping[str, Any]]) -> None:
        """How far everything is, a few times a second."""
        if self._show is None or self._whole is None:
            now = time.monotonic()
            if now - self._said >= LINE_EVERY:
                self._said = now
                for name, message in told.items():
                    self.say(f"running: {self._runs[name].label}: {_progress(message)}")
            return
        finished = sum(state in ("done", "failed") for state in states.values())
        about = f"{self._counted(states)}{self._left(states)}"
        self._show.update(self._whole, completed=finished, description=about)
        for name in [name for name in self._bars if name not in told]:
            self._show.remove_task(self._bars.pop(name))
        for name, message in told.items():
            if name not in self._bars:
                self._bars[name] = self._show.add_task("", total=None)
            label = f"  {self._runs[name].label}: {message.get('what', 'starting')}"
            self._show.update(
                self._bars[name], description=label, completed=message.get("done", 0), total=message.get("total")
            )

    def _counted(self, states: Mapping[str, State]) -> str:
        found = list(states.values())
        names = {"done": "done", "running": "running", "failed": "failed", "waiting": "left"}
        return ", ".join(f"{found.count(state)} {name}" for state, name in names.items())  # type: ignore[arg-type]

    def _left(self, states: Mapping[str, State]) -> str:
        """The time left, from the runs that have finished: of the same method, else of all.

        Where it is known what kinds of runs take, they only tell how far off that is.
        """
        mean = sum(self._took.values()) / len(self._took) if self._took else None
        known = [(took, self.estimates[name]) for name, took in self._took.items() if name in self.estimates]
        slower = sum(took for took, _ in known) / max(1e-9, sum(guess for _, guess in known)) if known else 1.0
        seconds = 0.0
        for name, state in states.items():
            if state not in ("running", "waiting"):
                continue
            method = self._runs[name].spec.method
            alike = [took for other, took in self._took.items() if self._runs[other].spec.method == method]
            if name in self.estimates:
                share = slower * self.estimates[name]
            elif mean is not None:
                share = sum(alike) / len(alike) if alike else mean
            else:
                return ""
            seconds += share / 2 if state == "running" else share
        return f", about {duration(seconds / self.jobs)} left" if seconds else ""


def _progress(message: Mapping[str, Any]) -> str:
    if "what" not in message:
        return "starting"
    note = f" {message['note']}" if message.get("note") else ""
    return f"{message['what']}: {message['done']:,}/{message['total']:,} rows{note}"


def duration(seconds: float) -> str:
    """3725 as `1 h 2 min`, 245 as `4 min`, 42 as `42 s`."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
