"""What the machine refuses (room on a disk, memory, a path), told from whatever a library raised for it, in words.

It is no fault of the program, and nothing that a traceback explains. Libraries put it in errors of their own, often with the
system's words in the text alone (`PytorchStreamWriter failed writing file`, `I/O error: No space left on device (os error
28)`), so the causes of an error are looked at too.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

_ROOM = "make room there, or name another place"
_RIGHTS = "give the command the right to it, or name another place"
_ADVICE = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "name a place that takes larger files",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: "name a place that can be written to",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ELOOP: "it is a link to itself: name the file itself",
    errno.ENOTDIR: "a part of this path is a file, not a directory",
    errno.EISDIR: "name a file",
    errno.ENOENT: "look whether its name is right",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine",
    errno.EIO: "the disk may be failing",
    errno.ESTALE: "the file system was lost: mount it again",
    errno.ENOMEM: "close other programs",
    errno.EAGAIN: "the limit of processes or threads may be reached (ulimit -u)",
}
_FULL = re.compile(
    r"no space left on device|disk quota exceeded|file too large|os error (?:28|122|27)\b", re.IGNORECASE
)
_QUOTA, _LARGE = ("quota", "122"), ("large", "27")
_TORN = re.compile(
    r"PytorchStreamWriter failed writing|file write failed|unexpected pos \d+ vs|\d+ requested and \d+ written"
)
"""What torch and numpy say of a file that could not be written to its end; they do not say why."""

_MEMORY = re.compile(
    r"DefaultCPUAllocator|can't allocate memory|cannot allocate memory|out of memory|not enough memory|bad_alloc"
    r"|unable to allocate|malloc of size",
    re.IGNORECASE,
)
_TRIED = re.compile(r"tried to allocate ([\d.]+ (?:[KMGT]i?B|bytes))|allocate ([\d.]+ [KMGTPE]i?B)", re.IGNORECASE)
_NO_HOME = re.compile(r"(?:could not|can't) determine home directory", re.IGNORECASE)
_LESS_MEMORY = (
    "lower train.batch_tokens, or set train.gradient_checkpointing; where nothing is trained take a smaller model or another "
    "dtype, or close other programs"
)


def _causes(error: BaseException, handled: bool = False) -> Iterator[BaseException]:
    """An error and what it came from, the latest first; `handled`: also what was being handled when it was raised."""
    seen: set[int] = set()
    left: BaseException | None = error
    while left is not None and id(left) not in seen:
        seen.add(id(left))
        yield left
        left = left.__cause__ or (left.__context__ if handled else None)


def no_memory(error: BaseException) -> str | None:
    """That memory did not suffice, with how much was wanted and what to do; None if the error says something else."""
    for cause in _causes(error, handled=True):
        first = str(cause)[:2_000]
        if isinstance(cause, MemoryError) or (isinstance(cause, RuntimeError) and _MEMORY.search(first)):
            tried = _TRIED.search(first)
            amount = f" for another {_readable(tried[1] or tried[2])}" if tried else ""
            where = " of the GPU" if "CUDA" in first or "HIP" in first else ""
            return f"there was not enough memory{where}{amount}: {_LESS_MEMORY}."
    return None


def full(error: BaseException) -> str | None:
    """The system's words for a disk that has no room; None if the error says something else."""
    for cause in _causes(error, handled=True):
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return os.strerror(cause.errno)
        said = str(cause)[:2_000]
        if found := _FULL.search(said):
            kinds = {errno.EDQUOT: _QUOTA, errno.EFBIG: _LARGE}
            named = (number for number, words in kinds.items() if any(word in found[0].lower() for word in words))
            return os.strerror(next(named, errno.ENOSPC))
        if _TORN.search(said):
            return "not all of it was written (is the disk full?)"
    return None


def refusal(error: BaseException) -> str | None:
    """What the machine refused, as a message of a sentence or two; None if the error is a fault of a program."""
    if found := no_memory(error):
        return f"{found[0].upper()}{found[1:]}"
    for cause in _causes(error):
        if (
            isinstance(cause, OSError)
            and cause.errno in errno.errorcode
            and cause.errno not in (errno.EBADF, errno.EINVAL)
        ):
            return _of_system(cause)
        if isinstance(cause, RuntimeError) and _NO_HOME.search(str(cause)):
            return "The home directory cannot be had: set HOME, or write paths without ~."
        if isinstance(cause, RecursionError):
            return "Something that was given is nested too deep: a file, a setting, or a condition."
        if isinstance(cause, ValueError) and "embedded null" in str(cause):
            return "A path holds a NUL character, which no file's name can."
        if isinstance(cause, UnicodeDecodeError):
            where = f"byte {cause.start}: {cause.reason}"
            return f"A file that was given is not {cause.encoding} text ({where}). Save it as UTF-8."
        if isinstance(cause, UnicodeEncodeError):
            return f"A text or a path holds half a character ({cause.reason}): write it as UTF-8."
    if reason := full(error):
        return f"A file could not be written: {reason}. {_ROOM[0].upper()}{_ROOM[1:]}."
    return None


def advice(number: int | None) -> str:
    """What to do about an error of the system, as the end of a message: `: make room there, or ...`; empty if unknown."""
    return f": {_ADVICE[number]}" if number in _ADVICE else ""


def _of_system(error: OSError) -> str:
    reason = error.strerror or os.strerror(error.errno or 0)
    place = error.filename
    if place is None and error.errno == errno.ENOENT:
        return "The current directory is not there any more: go to another one (cd)."
    if isinstance(place, bytes):
        place = os.fsdecode(place)
    where = f"{place}: " if place is not None else ""
    return f"{where}{reason}{advice(error.errno)}."


def _readable(amount: str) -> str:
    number, _, unit = amount.partition(" ")
    return f"{float(number) / 1e9:,.1f} GB" if unit == "bytes" else amount
