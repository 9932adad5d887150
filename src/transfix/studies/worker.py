"""The process of one run: it trains and measures, and tells the study how far it is. Its memory ends with it.

It is given one line of JSON on its standard input, which then stays open: when it closes, the study is gone, and so is the
worker. It tells one JSON object a line on its standard output; all else that is printed goes to the run's log.

    {"what": "Training LoRA r=4", "done": 90, "total": 4800}
    {"error": "..."}
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from transfix.errors import LONGEST_VALUE, TransfixError, shortened
from transfix.runs import process
from transfix.runs.progress import Bar, Display
from transfix.runs.specification import RunSpec
from transfix.storage import atomic, refusals
from transfix.storage.lock import LockedError, hold

LOCKED = 75
"""The exit status of a worker whose run another process is working on (EX_TEMPFAIL)."""

FAILED = 2
TELL_EVERY = 0.5
"""Seconds between two messages of one bar."""

Tell = Callable[[Mapping[str, Any]], object]


class ToldBar(Bar):
    """A bar that another process shows."""

    def __init__(self, tell: Tell, what: str, total: int, done: int) -> None:
        self._tell, self._what, self._total, self._done = tell, what, total, done
        self._told = 0.0
        self.advance(0)

    def advance(self, rows: int, note: str = "") -> None:
        """See `Bar.advance`."""
        self._done += rows
        now = time.monotonic()
        if now - self._told >= TELL_EVERY or self._done >= self._total:
            self._told = now
            self._tell({"what": self._what, "done": self._done, "total": self._total, "note": note})


class ToldDisplay(Display):
    """A display that another process shows."""

    def __init__(self, tell: Tell) -> None:
        super().__init__()
        self._tell = tell

    @contextmanager
    def bar(self, what: str, total: int, done: int = 0) -> Iterator[Bar]:
        """See `Display.bar`."""
        yield ToldBar(self._tell, what, total, done)


def work(root: Path, spec: RunSpec, tell: Tell) -> int:
    """Trains and measures one run; returns the exit status.

    Args:
        root: of the study's runs.
        spec: the run.
        tell: told of progress, and of an error.
    """
    try:
        from transfix.runs import run as experiment
        from transfix.runs.store import RunStore

        atomic.make_directory(root / spec.name)
        with hold(root / spec.name, wait=False):
            display = ToldDisplay(tell)
            run = experiment.train(spec, RunStore(root), display)
            if spec.evaluate:
                experiment.evaluate(run, display=display)
    except LockedError:
        return LOCKED
    except TransfixError as error:
        tell({"error": str(error)})
        return FAILED
    except Exception as error:
        with suppress(OSError):  # a log that cannot be written hides no error
            traceback.print_exc()
        tell({"error": _described(error)})
        return FAILED
    return 0


def _described(error: Exception) -> str:
    first = (str(error).strip() or "no message").splitlines()[0]
    said = f"{type(error).__name__}: {shortened(first, 4 * LONGEST_VALUE)}"
    refused = refusals.refusal(error)
    return f"{said}\n{refused}" if refused else said


def end_with_parent(closed: Callable[[], object]) -> None:
    """Ends this process at once when `closed` returns: what it has written is whole, the rest is made again."""

    def watch() -> None:
        closed()
        os._exit(130)

    threading.Thread(target=watch, daemon=True).start()


def main() -> int:
    """Reads the task from standard input and does it."""
    process.settle()
    task = json.loads(sys.stdin.buffer.readline())
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no message
    # not sys.stdin: a thread that waits inside it makes Python abort when it exits
    end_with_parent(lambda: os.read(0, 1))
    lock = threading.Lock()

    def tell(message: Mapping[str, Any]) -> None:
        with lock:
            out.write(json.dumps(message) + "\n")
            out.flush()

    if task.get("calibrate"):
        from transfix.studies.calibration import measure

        return measure(RunSpec.load(task["spec"]), Path(task["root"]), tell)
    return work(Path(task["root"]), RunSpec.load(task["spec"]), tell)


if __name__ == "__main__":
    sys.exit(main())
