"""One process at a time in a directory, by a lock that dies with its process: a killed study can be started again.

The lock is filelock's (the kernel's flock on the file `.lock`). What filelock does not do is done here:

- `.lock` says who holds the directory. Only the holder writes it, so whoever waits can read it.
- `is_locked` asks by a *shared* lock, through `fcntl`: filelock's are exclusive, so that two who ask would take each other
  for a holder, and open the file for writing, which somebody who may only read cannot.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfix.errors import TransfixError
from transfix.storage import atomic

if TYPE_CHECKING:
    from filelock import FileLock

LOCK_NAME = ".lock"
INSTANT = 0.05
"""Seconds in which a lock that is only asked about (`is_locked`) is free again."""

_log = logging.getLogger("transfix")
_taking = threading.local()  # .directory: what this thread is about to take


class LockedError(TransfixError):
    """Another process is working in the directory."""


@contextlib.contextmanager
def hold(directory: Path, wait: bool = True) -> Iterator[None]:
    """Holds a directory for this process, all of its threads. Re-entrant; let go when the process ends, however it ends.

    Temporary files found when the lock is taken are removed: whoever wrote them is gone, since writing needs the lock.
    Those below a directory with a lock of its own are left to its holder.

    Args:
        directory: an existing directory; a file `.lock` in it carries the lock and says who holds it.
        wait: wait for another process to finish (saying so once), or raise at once.

    Raises:
        LockedError: another process holds it and `wait` is false.
        StorageError: the directory cannot be written to, or its file system has no locks.
    """
    with atomic.reported(directory):
        place = directory.resolve(strict=True)
    lock = _lock(place)
    _taking.directory = place
    if not _take(lock, directory, INSTANT):
        holder = _holder(place)
        if not wait:
            raise LockedError(f"{directory} is being worked on by {holder}. Wait for it to end, or stop it.")
        _log.warning("%s is being worked on by %s: waiting for it to end", directory, holder)
        _take(lock, directory, -1)
    try:
        yield
    finally:
        lock.release()


def is_locked(directory: Path) -> bool:
    """Whether another process holds a directory. Needs no right to write, and takes nothing away from who wants it."""
    try:
        descriptor = os.open(directory / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return not _lock(directory.resolve()).is_locked
    except OSError:  # its file system has no locks, so nobody can hold it
        return False
    finally:
        os.close(descriptor)
    return False


def _lock(place: Path) -> FileLock:
    """The lock of a directory: one object in the process, whoever asks for it."""
    from filelock import FileLock

    # a file that only exists, which filelock would make do with, outlives a killed process
    return FileLock(
        place / LOCK_NAME, is_singleton=True, thread_local=False, fallback_to_soft=False, on_acquired=_begin
    )


def _take(lock: FileLock, directory: Path, seconds: float) -> bool:
    """Takes a lock, or gives up after so many seconds (negative: never); whether it was taken."""
    from filelock import Timeout

    try:
        lock.acquire(timeout=seconds, poll_interval=INSTANT / 5 if seconds >= 0 else INSTANT)
    except Timeout:
        return False
    except OSError as error:
        reason = str(error.strerror or error)
        if error.filename is None:  # opening the file would have named it
            reason = f"{reason}: its file system has no file locks"
            raise atomic.StorageError(f"{directory} cannot be locked ({reason}).", reason) from error
        raise atomic.StorageError(f"{directory} cannot be written: {reason}.", reason) from error
    return True


def _begin(descriptor: int) -> None:
    """What a new holder does first: it says in the lock file who it is, and removes what the dead left half-written."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    line = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": now}).encode()
    with contextlib.suppress(OSError):  # the lock holds on a full disk too: whoever waits is told of no name then
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, line, 0)
    _remove_temporaries(_taking.directory)


def _holder(place: Path) -> str:
    """Who holds a directory, in words, as far as its lock file says."""
    try:
        record: dict[str, Any] = json.loads((place / LOCK_NAME).read_bytes())
        return f"process {record['pid']} on {record['host']} since {record['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _remove_temporaries(directory: Path) -> None:
    """Removes what was left half-written under a directory, except where a lock of its own says who may."""
    for place, directories, files in os.walk(directory):
        if Path(place) != directory and LOCK_NAME in files:
            directories.clear()
            continue
        if any(atomic.is_temporary(Path(name)) for name in (*files, *directories)):
            atomic.clean(Path(place))
            directories[:] = [name for name in directories if not atomic.is_temporary(Path(name))]
