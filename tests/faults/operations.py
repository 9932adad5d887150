"""The file operations of a process, seen before they are done: noted, refused with an error, or never reached.

Python tells its audit hooks of every open, rename, removal and lock; `os.fsync` is wrapped beside that. What libraries write
without Python (tensors, tables, optimizer states) lies between two such operations, and meets a disk that is full by the
limit on a file's size (`limited`).
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHANGES = frozenset({"write", "rename", "remove", "rmdir", "mkdir", "flush", "chmod", "link", "truncate"})
GROWS = frozenset({"write", "mkdir", "rename", "flush", "link"})
"""Operations that a full disk refuses."""

_EVENTS = {
    "os.rename": "rename",
    "os.remove": "remove",
    "os.rmdir": "rmdir",
    "os.mkdir": "mkdir",
    "os.chmod": "chmod",
    "os.link": "link",
    "os.symlink": "link",
    "os.truncate": "truncate",
    "os.listdir": "list",
    "os.scandir": "list",
    "fcntl.flock": "lock",
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True)
class Operation:
    """One file operation: what kind of, and on which path (of a rename, the new one)."""

    kind: str
    path: str


def watch(place: Path, act: Callable[[Operation], object]) -> None:
    """Calls `act` before every file operation below a directory, for the rest of this process."""
    root = f"{os.path.realpath(place)}/"
    busy = [False]

    def meet(kind: str, path: Any) -> None:
        if busy[0]:
            return
        busy[0] = True
        try:
            if isinstance(path, int):
                found = os.readlink(f"/proc/self/fd/{path}") if path >= 0 else os.getcwd()
            else:
                found = os.path.abspath(os.fsdecode(path))
            if f"{found}/".startswith(root):
                act(Operation(kind, found[len(root) :]))
        finally:
            busy[0] = False

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, str | bytes | os.PathLike) and isinstance(flags, int):
                meet("write" if flags & _WRITES else "read", path)
        elif event in _EVENTS:
            kind = _EVENTS[event]
            path = arguments[1] if kind in ("rename", "link") else arguments[0]
            meet(kind, "." if path is None else path)

    flush = os.fsync

    def flushed(descriptor: Any) -> None:
        meet("flush", descriptor if isinstance(descriptor, int) else descriptor.fileno())
        flush(descriptor)

    os.fsync = flushed
    sys.addaudithook(hook)


def kill_at(place: Path, number: int, unflushed_is_lost: bool = False) -> None:
    """Kills this process before its `number`-th change below `place`, counted from 0.

    Args:
        place: the directory.
        number: of the change.
        unflushed_is_lost: as if the machine had lost its power: of files that were not flushed since they were written, the
            second half is zeros.
    """
    seen = [0]
    flushed = _states(place) if unflushed_is_lost else {}

    def act(operation: Operation) -> None:
        if operation.kind not in CHANGES:
            return
        if seen[0] == number:
            if unflushed_is_lost:
                _lose(place, flushed)
            os.kill(os.getpid(), signal.SIGKILL)
        seen[0] += 1
        if operation.kind == "flush" and unflushed_is_lost:
            flushed.update({key: state for key, state in _states(place).items() if key == _inode(place, operation)})

    watch(place, act)


def _inode(place: Path, operation: Operation) -> int:
    return os.stat(place / operation.path).st_ino


def _states(place: Path) -> dict[int, tuple[int, int]]:
    """Of every file: inode -> size and time."""
    found = (path.stat() for path in place.rglob("*") if path.is_file() and not path.is_symlink())
    return {state.st_ino: (state.st_size, state.st_mtime_ns) for state in found}


def _lose(place: Path, flushed: dict[int, tuple[int, int]]) -> None:
    for path in place.rglob("*"):
        if not path.is_file() or path.is_symlink():
            continue
        state = path.stat()
        if flushed.get(state.st_ino) != (state.st_size, state.st_mtime_ns):
            with path.open("r+b") as file:
                file.seek(state.st_size // 2)
                file.write(b"\0" * (state.st_size - state.st_size // 2))


def refuse_at(place: Path, number: int, code: int) -> None:
    """Refuses the `number`-th operation below `place` that an error can come of, and what the same cause refuses after it.

    `ENOSPC` and `EDQUOT` refuse everything that grows from then on, `EROFS` every change, `EACCES` everything on the same
    path, `EIO` this one operation.
    """
    seen = [0]
    began: list[Operation] = []

    def act(operation: Operation) -> None:
        if not can_be_refused(operation, code):
            return
        if began:
            if code in (errno.EIO, errno.EACCES) and (code == errno.EIO or operation.path != began[0].path):
                return
        elif seen[0] < number:
            seen[0] += 1
            return
        else:
            began.append(operation)
        raise OSError(code, os.strerror(code), str(place / operation.path))

    watch(place, act)


def can_be_refused(operation: Operation, code: int) -> bool:
    """Whether an error comes of an operation."""
    if code in (errno.ENOSPC, errno.EDQUOT):
        return operation.kind in GROWS
    if code == errno.EROFS:
        return operation.kind in CHANGES
    if code == errno.EACCES:
        return operation.kind not in ("flush", "lock")
    return operation.kind in ("read", "write", "flush", "list")


def limited(size: int) -> None:
    """From now on no file of this process can become larger than `size` bytes, whoever writes it."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
