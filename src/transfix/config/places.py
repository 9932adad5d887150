"""What lies at a path that an input names, and files that are read whole: whatever the system refuses is said in words.

`Path.is_file` and its like answer no for what may not be looked at, or raise; and opening a pipe waits for whoever writes
into it. Here a place that cannot be looked at is never called missing, and only ordinary files of a bounded size are read.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, Literal

from transfix.config import limits
from transfix.errors import TransfixError

Kind = Literal["file", "directory", "other", "missing"]

NOT_ORDINARY = "is no ordinary file (a pipe, a socket or a device)"


class UnusableFileError(TransfixError):
    """A file that is there and cannot be used.

    Attributes:
        reason: why, in a few words: `Permission denied`.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"{path} {reason}." if reason.startswith(("is ", "holds ")) else f"{path} cannot be read: {reason}."
        )


def kind(path: Path) -> Kind:
    """What lies at a path, links followed.

    Raises:
        UnusableFileError: the system does not say: a part of the path may not be looked into, is too long, or is a link
            to itself.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except OSError as error:
        raise UnusableFileError(path, error.strerror or str(error)) from error
    except ValueError as error:  # a NUL
        raise UnusableFileError(path, str(error)) from error
    return "file" if stat.S_ISREG(mode) else "directory" if stat.S_ISDIR(mode) else "other"


def expanded(path: str | Path) -> Path:
    """A path with `~` and `~user` replaced by the home directory.

    Raises:
        UnusableFileError: there is no such user, or the home directory cannot be had.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        first = Path(path).parts[0]
        why = "HOME is not set" if first == "~" else f"there is no user {first[1:]!r}"
        raise UnusableFileError(path, f"{why}, so that {first} stands for no directory") from error


def missing(path: Path) -> str:
    """What is wrong with a path where there is no ordinary file: `does not exist`, `is a directory`.

    Raises:
        UnusableFileError: see `kind`.
    """
    found = kind(path)
    return {"directory": "is a directory", "missing": "does not exist"}.get(found, NOT_ORDINARY)


def refused(path: Path) -> str | None:
    """Why a file that is there may not be read; None if there is none, or nothing forbids it."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None


def here() -> str:
    """The current directory, for messages: it may have been deleted."""
    try:
        return os.getcwd()
    except OSError:
        return "the current directory, which was deleted"


def read_bytes(path: Path, largest: int) -> bytes:
    """An ordinary file as a whole.

    Args:
        path: the file.
        largest: bytes that it may have.

    Raises:
        FileNotFoundError: there is none.
        UnusableFileError: it is a directory, a pipe or a device, too large, or cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # opening a pipe does not wait
        with open(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise UnusableFileError(path, "is a directory" if stat.S_ISDIR(mode) else NOT_ORDINARY)
            content = file.read(largest + 1)
    except FileNotFoundError:
        raise
    except IsADirectoryError as error:
        raise UnusableFileError(path, "is a directory") from error
    except OSError as error:
        raise UnusableFileError(path, error.strerror or str(error)) from error
    except ValueError as error:  # a NUL in its name
        raise UnusableFileError(path, str(error)) from error
    if len(content) > largest:
        raise UnusableFileError(path, f"is larger than {largest:,} bytes, which no such file is")
    return content


def read_json(path: Path, largest: int = limits.RECORD_BYTES) -> Any:
    """The value in a JSON file.

    Raises:
        FileNotFoundError: there is none.
        UnusableFileError: see `read_bytes`; or it is no JSON, or is nested too deep.
    """
    content = read_bytes(path, largest)
    try:
        return json.loads(content.decode())
    except RecursionError as error:
        raise UnusableFileError(path, "it is nested too deep") from error
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, a number of 5,000 digits
        raise UnusableFileError(path, str(error)) from error
