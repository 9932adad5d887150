"""Files and directories that are whole if they exist: the one way anything is written that must survive a kill.

What is new is written under a temporary name beside its final place, flushed to the disk and renamed; then the directory it
is in is flushed. A reader sees the old file, the new one or none, never a part of one, whether the process is killed or the
machine loses its power.

A killed process leaves a temporary file. The next holder of the directory removes it (`lock`), or whoever writes the same
file next: the kernel's lock on it tells that its process is gone. A directory that was being replaced has its old self
beside it, which gets its name back (`clean`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from transfix.errors import TransfixError
from transfix.storage import refusals

_OLD = re.compile(r"\.(.+)\.\d+-[0-9a-f]{8}\.old\.tmp", re.DOTALL)
"""A directory that is being replaced, and what it was called."""


class StorageError(TransfixError):
    """A place that cannot be written to.

    Attributes:
        reason: why, in a few words (`No space left on device`).
    """

    def __init__(self, message: str, reason: str) -> None:
        self.reason = reason
        super().__init__(message)


def write_file(path: Path, write: bytes | str | Callable[[Path], object]) -> None:
    """Writes a file atomically.

    Args:
        path: where it shall be; its directory must exist.
        write: the content (text as UTF-8), or a function that writes into the empty file it is given the path of.

    Raises:
        StorageError: the disk is full, or the place cannot be written to.
    """
    temporary = _temporary(path)
    with reported(path):
        try:
            with _kept(temporary):
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
    _remove_dead(path)


def write_directory(path: Path, fill: Callable[[Path], object]) -> None:
    """Writes a directory atomically: `fill` gets an empty temporary directory, which then takes the place of `path`.

    An existing directory at `path` is replaced: for an instant there is none, never a mix of both; `clean` brings back the
    old one after a kill in that instant. What is raised while `fill` or the replacement is going on leaves it as it was.

    Raises:
        StorageError: the disk is full, or the place cannot be written to.
    """
    temporary, old = _temporary(path), _temporary(path, ".old")
    with reported(path):
        try:
            temporary.mkdir()
            fill(temporary)
            for entry in sorted(temporary.rglob("*")):
                _sync(entry)
            _sync(temporary)
            if path.exists():
                os.rename(path, old)
            os.rename(temporary, path)
        except BaseException:
            if old.exists():
                os.rename(old, path)
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _sync(path.parent)  # before the old one goes
        shutil.rmtree(old, ignore_errors=True)


def remove_directory(path: Path) -> None:
    """Removes a directory that may not be there: at once it has its name no more, whatever a kill leaves of it."""
    old = _temporary(path)
    try:
        os.rename(path, old)
    except FileNotFoundError:
        return
    except OSError:  # of a place that cannot be written to nothing can be taken away
        old = path
    shutil.rmtree(old, ignore_errors=True)


def make_directory(path: Path) -> None:
    """Creates a directory and its parents, if they are not there. Raises StorageError where that cannot be done."""
    with reported(path):
        absent = [place for place in (path, *path.parents) if not place.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for place in absent:
            _sync(place.parent)


def clean(directory: Path) -> None:
    """Removes what was left half-written in a directory (not in those below it), by processes that are gone.

    A directory that was replaced when its process was killed is there again under its name: the new one if it had got so
    far, else the old one.
    """
    for path in filter(is_temporary, _entries(directory)):
        replaced = _OLD.fullmatch(path.name)
        with contextlib.suppress(OSError):  # it may not be ours to remove
            if replaced and not os.path.lexists(directory / replaced[1]):
                os.rename(path, directory / replaced[1])
            elif path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def is_temporary(path: Path) -> bool:
    """Whether a path is a file or directory that `write_file` or `write_directory` has not finished."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


@contextlib.contextmanager
def reported(path: Path) -> Iterator[None]:
    """Says for an OSError, and for a library's error that a full disk is behind, what could not be written, and where."""
    try:
        yield
    except TransfixError:
        raise
    except Exception as error:
        full = refusals.full(error)
        number = error.errno if isinstance(error, OSError) else None
        if full is None and not isinstance(error, OSError):
            raise
        reason = full or str(getattr(error, "strerror", None) or error)
        advice = refusals.advice(number or (errno.ENOSPC if full else None))
        raise StorageError(f"{path} cannot be written: {reason}{advice}.", reason) from error


def _temporary(path: Path, what: str = "") -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{what}.tmp")


@contextlib.contextmanager
def _kept(temporary: Path) -> Iterator[None]:
    """Makes an empty file, and tells `_remove_dead` for the time of the block that its process lives."""
    while True:
        with temporary.open("xb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # just taken for one of the dead
                temporary.unlink(missing_ok=True)
                continue
            except OSError:  # without locks nobody is taken for dead
                pass
            if os.fstat(file.fileno()).st_nlink:
                yield
                return


def _remove_dead(path: Path) -> None:
    """Removes what killed processes left of earlier writings of a file, where the kernel says that they are gone."""
    left = re.compile(rf"\.{re.escape(path.name)}\.\d+-[0-9a-f]{{8}}\.tmp", re.DOTALL)
    for other in _entries(path.parent):
        if not left.fullmatch(other.name):
            continue
        with contextlib.suppress(OSError), other.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            other.unlink()


def _entries(directory: Path) -> list[Path]:
    """What is in a directory, sorted; nothing where it cannot be read."""
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def _sync(path: Path) -> None:
    """Flushes a file, or the entries of a directory, to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
