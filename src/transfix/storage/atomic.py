"""Files and directories that are whole if they exist: the one way anything is written that must survive a kill.

What is new is written under a temporary name beside its final place, flushed to the disk and renamed; then the directory it
is in is flushed. A reader sees the old file, the new one or none, never a part of one, whether the process is killed or the
machine loses its power. A killed process leaves a temporary file, which the next holder of the directory removes (`lock`).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from transfix.errors import TransfixError


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
        write: the content (text as UTF-8), or a function that writes the file it is given the temporary path of.

    Raises:
        StorageError: the disk is full, or the place cannot be written to.
    """
    temporary = _temporary(path)
    with reported(path):
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

    An existing directory at `path` is replaced: for an instant there is none, never a mix of both. What is raised while
    `fill` or the replacement is going on leaves it as it was.

    Raises:
        StorageError: the disk is full, or the place cannot be written to.
    """
    temporary, old = _temporary(path), _temporary(path)
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


def is_temporary(path: Path) -> bool:
    """Whether a path is a file or directory that `write_file` or `write_directory` has not finished."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


@contextlib.contextmanager
def reported(path: Path) -> Iterator[None]:
    """Says for an OSError what could not be written, and where."""
    try:
        yield
    except OSError as error:
        reason = str(error.strerror or error)
        raise StorageError(f"{path} cannot be written: {reason}.", reason) from error


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def _sync(path: Path) -> None:
    """Flushes a file, or the entries of a directory, to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
