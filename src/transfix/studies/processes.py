"""Starting the processes of a study, and how many of them a machine takes."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Protocol

import transfix
from transfix.runs.environment import cores
from transfix.runs.specification import RunSpec

_log = logging.getLogger("transfix")

Message = dict[str, Any]
CORES = 4
"""Processor cores a run gets at the least, where several work at once."""

RESERVE = 1.5e9
"""Bytes that Python and its libraries take in each process, besides the weights."""

PATIENCE = 10.0
"""Seconds that a process is given to end when it is told to."""


class Worker(Protocol):
    """A process that works on one run."""

    def poll(self) -> int | None:
        """The exit status (negative: the signal that killed it), or None while it works."""
        ...

    def messages(self) -> list[Message]:
        """What it has told since the last call."""
        ...

    def stop(self) -> None:
        """Ends it, and waits until it has ended."""
        ...


class Launch(Protocol):
    """What starts the process of a run: `Subprocess`, in a real study."""

    def __call__(self, task: Message, log: Path, environment: Mapping[str, str]) -> Worker:
        """See `Subprocess`."""
        ...


def _appended(log: Path) -> IO[bytes]:
    """A file to write after what is there; where it cannot be opened, nothing is kept: a log ends no run."""
    try:
        return log.open("ab")
    except OSError as error:
        _log.warning("%s cannot be written (%s): what its run prints is lost", log, error.strerror)
        return open(os.devnull, "ab")


class Subprocess:
    """A worker in a process of its own (see `worker`).

    Args:
        task: what it is told to do.
        log: where its output goes, after what is there.
        environment: what is changed in its environment.
    """

    def __init__(self, task: Message, log: Path, environment: Mapping[str, str]) -> None:
        source = str(Path(transfix.__file__).parents[1])  # run from a checkout, not installed
        paths = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))
        with _appended(log) as output:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "transfix.studies.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env={**os.environ, "PYTHONPATH": paths, **environment},
                start_new_session=True,  # Ctrl-C reaches the study, which ends its workers
            )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died at once: `poll` says how
            self._process.stdin.write(json.dumps(task).encode() + b"\n")
            self._process.stdin.flush()
        self._queue: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):
                self._queue.put(json.loads(line))

    def poll(self) -> int | None:
        """See `Worker.poll`."""
        status = self._process.poll()
        if status is not None:
            self._reader.join(1)
        return status

    def messages(self) -> list[Message]:
        """See `Worker.messages`."""
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._queue.get_nowait())
        return found

    def stop(self) -> None:
        """See `Worker.stop`."""
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def ended(status: int, error: str | None) -> str:
    """Why a worker failed, in words.

    Args:
        status: its exit status.
        error: what it said itself, if it could.
    """
    if error is not None:
        return error
    if status < 0:
        name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
        often = ": most often because the machine had no memory left" if -status == signal.SIGKILL else ""
        return f"its process was killed ({name}){often}."
    return f"its process ended with status {status}."


def devices() -> int:
    """How many GPUs there are."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def suggested(specs: list[RunSpec]) -> int:
    """How many runs this machine works on at once: one on each GPU; on a processor as cores and memory allow."""
    on_gpu = [spec.device == "auto" or spec.device.startswith("cuda") for spec in specs]
    if all(on_gpu) and (gpus := devices()):
        return gpus
    if cores() < 2 * CORES:
        return 1
    return max(1, min(cores() // CORES, int(_memory() // max(map(_need, _by_model(specs).values()), default=1))))


def _by_model(specs: list[RunSpec]) -> dict[tuple[str, str], RunSpec]:
    return {(spec.model, spec.method): spec for spec in specs}


def _need(spec: RunSpec) -> float:
    """Bytes that a run takes, roughly: its weights once more while they are loaded, or with all that training keeps."""
    from transfix.models.inspect import parameters

    width = 4 if spec.dtype == "float32" else 2
    return RESERVE + parameters(spec.model) * width * (5 if spec.trains_base else 2)


def _memory() -> float:
    """Bytes of memory that are free now."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) / 2


def environments(jobs: int) -> list[dict[str, str]]:
    """What is special in the environment of each of `jobs` workers: its GPU, or its share of the processor's threads.

    A run that goes on keeps the number it was begun with (`runs.continuing`), whatever its share is now.
    """
    gpus = devices()
    if gpus > 1:
        own = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus)))).split(",")
        return [{"CUDA_VISIBLE_DEVICES": own[index % len(own)]} for index in range(jobs)]
    if jobs == 1 or "OMP_NUM_THREADS" in os.environ:
        return [{} for _ in range(jobs)]
    return [{"OMP_NUM_THREADS": str(max(1, cores() // jobs))} for _ in range(jobs)]
