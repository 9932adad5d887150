"""Files that are whole if they exist, and locks that die with their process: a killed study can be started again.

A file is written under a temporary name beside its final place, flushed to the disk and renamed. A reader sees the old
file, the new one or none, never a part of one; a process killed in the middle leaves a temporary file, which the next
holder of the directory's lock removes.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import secrets
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from transfix.errors import TransfixError

LOCK_NAME = ".lock"
_log = logging.getLogger("transfix")
_held: dict[Path, list[int]] = {}  # of each lock this process has: the descriptor, and how often it was taken
_guard = threading.Lock()


class LockedError(TransfixError):
    """Another process is working in the directory."""


def write_file(path: Path, write: bytes | str | Callable[[Path], object]) -> None:
    """Writes a file atomically.

    Args:
        path: where it shall be; its directory must exist.
        write: the content (text as UTF-8), or a function that writes the file it is given the temporary path of.

    Raises:
        TransfixError: the disk is full, or the place cannot be written to.
    """
    temporary = _temporary(path)
    with _reported(path):
        try:
            if callable(write):
                write(temporary)
            else:
                temporary.write_bytes(write.encode() if isinstance(write, str) else write)
            _sync(temporary)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync(path.parent)


def write_directory(path: Path, fill: Callable[[Path], object]) -> None:
    """Writes a directory atomically: `fill` gets an empty temporary directory, which then takes the place of `path`.

    An existing directory at `path` is replaced: for an instant there is none, never a mix of both.

    Raises:
        TransfixError: the disk is full, or the place cannot be written to.
    """
    temporary = _temporary(path)
    with _reported(path):
        try:
            temporary.mkdir()
            fill(temporary)
            for entry in sorted(temporary.rglob("*")):
                _sync(entry)
            _sync(temporary)
            if path.exists():
                old = _temporary(path)
                os.rename(path, old)
                os.rename(temporary, path)
                shutil.rmtree(old, ignore_errors=True)
            else:
                os.rename(temporary, path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _sync(path.parent)


def make_directory(path: Path) -> None:
    """Creates a directory and its parents, if they are not there. Raises TransfixError where that cannot be done."""
    with _reported(path):
        path.mkdir(parents=True, exist_ok=True)
        _sync(path.parent)


def is_temporary(path: Path) -> bool:
    """Whether a path is a file or directory that `write_file` or `write_directory` has not finished."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


@contextlib.contextmanager
def lock(directory: Path, wait: bool = True) -> Iterator[None]:
    """Holds a directory for this process. Re-entrant; released when the process ends, however it ends.

    Temporary files found when the lock is taken are removed: whoever wrote them is gone, since writing needs the lock.

    Args:
        directory: an existing directory; a file `.lock` in it carries the lock and says who holds it.
        wait: wait for another process to finish (saying so once), or raise at once.

    Raises:
        LockedError: another process holds it and `wait` is false.
        TransfixError: the directory cannot be written to.
    """
    key = directory.resolve()
    with _guard:
        again = key in _held
        if again:
            _held[key][1] += 1
    if not again:
        with _reported(directory):
            descriptor = os.open(key / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _take(descriptor, directory, wait)
            _clean(key)
        except BaseException:
            os.close(descriptor)
            raise
        with _guard:
            _held[key] = [descriptor, 1]
    try:
        yield
    finally:
        with _guard:
            _held[key][1] -= 1
            if _held[key][1] == 0:
                os.close(_held.pop(key)[0])


def is_locked(directory: Path) -> bool:
    """Whether another process holds a directory. Needs no right to write, and takes nothing away from who wants it."""
    if directory.resolve() in _held:
        return False
    try:
        descriptor = os.open(directory / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _take(descriptor: int, directory: Path, wait: bool) -> None:
    """Takes the lock of an open lock file and writes into it who has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _holder(descriptor)
        if not wait:
            raise LockedError(f"{directory} is being worked on by {holder}. Wait for it to end, or stop it.") from None
        _log.warning("%s is being worked on by %s: waiting for it to end", directory, holder)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        raise TransfixError(
            f"{directory} cannot be locked ({error.strerror}): its file system has no file locks."
        ) from error
    now = datetime.now(UTC).isoformat(timespec="seconds")
    line = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": now}).encode()
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, line, 0)


def _holder(descriptor: int) -> str:
    """Who holds a lock, in words, as far as the lock file says."""
    try:
        record: dict[str, Any] = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {record['pid']} on {record['host']} since {record['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"


def _clean(directory: Path) -> None:
    """Removes the temporary files and directories under `directory`."""
    for place, directories, files in os.walk(directory):
        for name in files:
            if is_temporary(Path(name)):
                Path(place, name).unlink(missing_ok=True)
        for name in [name for name in directories if is_temporary(Path(name))]:
            shutil.rmtree(Path(place, name), ignore_errors=True)
            directories.remove(name)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def _sync(path: Path) -> None:
    """Flushes a file, or the entries of a directory, to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Says for an OSError what could not be written, and where."""
    try:
        yield
    except OSError as error:
        raise TransfixError(f"{path} cannot be written: {error.strerror or error}.") from error
