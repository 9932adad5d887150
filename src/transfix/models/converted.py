"""Whether the files of a converted model are still what was written.

Their digests are kept beside the directory. To compute them reads everything (a second a gigabyte), so a file whose size and
times are those of the last look is taken to be the same, for `TRUSTED` seconds: what a program overwrites is noticed at the
next start, what a disk loses by itself within that time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from transfix.storage import atomic, checksums

TRUSTED = 7 * 24 * 3600.0

_RECORD = ".files.json"
_known: dict[Path, Mapping[str, Any]] = {}  # what this process has looked at


def remember(directory: Path) -> None:
    """Writes down what is in a directory, as far as there is room for it."""
    files = {path.name: {"sha256": checksums.of_file(path), "state": _state(path)} for path in _files(directory)}
    _keep(directory, files)


def forget(directory: Path) -> None:
    """What was written down of a directory is not of what will be there."""
    _known.pop(directory, None)
    _record(directory).unlink(missing_ok=True)


def damage(directory: Path) -> str | None:
    """What is wrong with the files of a directory; None where nothing is, and where nothing was written down of them yet.

    Directories of earlier versions are written down when they are first looked at.
    """
    try:
        record = _read(directory)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"{_record(directory).name} is not what was written"
    if record is None:
        remember(directory)
        return None
    looked, files = record
    recent = 0 <= time.time() - looked < TRUSTED
    now: dict[str, Any] = {}
    for name, entry in files.items():
        path = directory / name
        try:
            state = _state(path)
            if not (recent and state == entry["state"]) and checksums.of_file(path) != entry["sha256"]:
                return f"{name} is not what was written"
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror or error}"
        now[name] = {"sha256": entry["sha256"], "state": state}
    if not recent or now != files:
        _keep(directory, now)
    return None


def _read(directory: Path) -> tuple[float, Mapping[str, Any]] | None:
    """When the files were looked at, and what they were then."""
    if directory in _known:
        return time.time(), _known[directory]
    try:
        content = checksums.opened(json.loads(_record(directory).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    return float(content["looked"]), dict(content["files"])


def _keep(directory: Path, files: Mapping[str, Any]) -> None:
    _known[directory] = files
    content = checksums.sealed({"looked": time.time(), "files": files})
    with suppress(atomic.StorageError):  # then the next process looks again
        atomic.write_file(_record(directory), json.dumps(content, indent=2))


def _record(directory: Path) -> Path:
    return directory.with_name(directory.name + _RECORD)


def _files(directory: Path) -> list[Path]:
    there = (path for path in sorted(directory.iterdir()) if path.is_file() and not path.name.startswith("."))
    return [path for path in there if not path.name.endswith(_RECORD)]


def _state(path: Path) -> list[int]:
    """What changes when a file is written: its size, and its times (the second one no program can set back)."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]
