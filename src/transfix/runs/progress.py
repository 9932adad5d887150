"""What a person sees while a run works: bars with rates and the time left, or plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

LINE_EVERY = 20.0
"""Seconds between two lines where there is no terminal."""


class Unfailing:
    """A stream that may be gone, or on a full disk: what it cannot take is not shown, and ends no work."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """As the stream's, or nothing."""
        with suppress(OSError, ValueError):  # the latter where it was closed
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """As the stream's, or nothing."""
        with suppress(OSError, ValueError):
            self._stream.flush()


class RateColumn(ProgressColumn):
    """Rows a second."""

    def render(self, task: Task) -> Text:
        """The rate, empty before the first step."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} rows/s", style="progress.data.speed")


class Bar:
    """One piece of work that advances by rows."""

    def __init__(self, show: Progress | None, console: Console, what: str, total: int, done: int) -> None:
        self._show, self._console, self._what, self._total = show, console, what, total
        self._done = self._start = done
        self._began = self._said = time.monotonic()
        self._task = None if show is None else show.add_task(what, total=total, completed=done)

    def advance(self, rows: int, note: str = "") -> None:
        """`rows` more are finished; `note` stands beside the bar."""
        self._done += rows
        if self._show is not None and self._task is not None:
            self._show.update(self._task, advance=rows, description=f"{self._what} {note}".rstrip())
            return
        now = time.monotonic()
        if now - self._said >= LINE_EVERY or self._done >= self._total:
            rate = (self._done - self._start) / max(now - self._began, 1e-9)
            left = (self._total - self._done) / rate if rate else float("inf")
            share = f"{self._done:,}/{self._total:,} rows, {rate:.1f} rows/s, {left:.0f} s left"
            self._console.print(f"{self._what}: {share} {note}".rstrip(), soft_wrap=True)
            self._said = now


class Display:
    """Where progress is shown."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(file=cast(IO[str], Unfailing(sys.stderr)), highlight=False)

    def say(self, line: str) -> None:
        """One line of its own."""
        self.console.print(line, markup=False, soft_wrap=True)

    @contextmanager
    def bar(self, what: str, total: int, done: int = 0) -> Iterator[Bar]:
        """A bar for the time of the block."""
        if not self.console.is_terminal:
            yield Bar(None, self.console, what, total, done)
            return
        columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), RateColumn()]
        with Progress(*columns, TimeRemainingColumn(), console=self.console) as show:
            yield Bar(show, self.console, what, total, done)
