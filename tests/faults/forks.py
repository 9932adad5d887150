"""Work in a forked child: everything is imported already, and what breaks there breaks nothing here."""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LONGEST = 120.0
"""Seconds after which a child is taken for one that has no end (machines are busy)."""


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        status: its exit status (negative: the signal that ended it); None where it had no end.
        output: what it wrote on stdout and stderr.
        seconds: of processor time.
        peak: bytes of memory that it took at most.
    """

    status: int | None
    output: str
    seconds: float
    peak: int


def forked(work: Callable[[], object], place: Path, longest: float = LONGEST) -> Ended:
    """Does work in a child whose working directory is `place`.

    The child ends with the status of a SystemExit, with 0 where `work` returns, and with 99 and a traceback where it raises.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    ours, theirs = os.pipe()  # not a file: a limit on the size of files is none of what is said
    gc.freeze()  # what was made before the fork stays shared
    child = os.fork()
    if child == 0:
        os.close(ours)
        _in_child(work, place, theirs)
    os.close(theirs)
    os.set_blocking(ours, False)
    said = bytearray()
    status, usage = _waited(child, time.monotonic() + longest, lambda: _drain(ours, said))
    _drain(ours, said)
    os.close(ours)
    return Ended(status, said.decode(errors="replace"), usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def _drain(pipe: int, said: bytearray) -> None:
    with suppress(BlockingIOError):
        while block := os.read(pipe, 1 << 16):
            said += block


def _in_child(work: Callable[[], object], place: Path, out: int) -> None:
    status = 99
    try:
        os.setpgid(0, 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
        os.chdir(place)
        work()
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1 if error.code else 0
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


def _waited(child: int, until: float, drain: Callable[[], object]) -> tuple[int | None, resource.struct_rusage]:
    pause = 0.001
    while True:
        drain()
        found, status, usage = os.wait4(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status), usage
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            _, _, usage = os.wait4(child, 0)
            return None, usage
        time.sleep(pause)
        pause = min(0.02, pause * 1.3)
