"""The checkpoints of a training on disk: each with the digests of its files, and the newest whole one found.

A checkpoint is a directory that appears whole or not at all, so what is wrong in one was damaged later. It is named and left
where it is; the training goes on from the newest that is whole, or from the start, and ends with the same adapter.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

from transfix.adapters.files import AdapterFileError, read_whole
from transfix.storage import checksums

_NAME = re.compile(r"checkpoint-(\d+)")
_DIGESTS = "digests.json"
_LIBRARY_FILES = (".pt", ".pth", ".bin")

Say = Callable[[str], object]


def name_of(step: int) -> str:
    """What the directory of a checkpoint is called."""
    return f"checkpoint-{step}"


def step_of(path: Path) -> int | None:
    """After how many steps a checkpoint was written; None if the directory is none."""
    found = _NAME.fullmatch(path.name)
    return int(found[1]) if found else None


def in_order(output: Path) -> list[Path]:
    """The checkpoints in a directory, damaged ones too, from the oldest to the newest."""
    found = [(step, path) for path in output.glob("checkpoint-*") if (step := step_of(path)) is not None]
    return [path for _, path in sorted(found)]


def newest(output: Path, say: Say | None = None) -> Path | None:
    """The whole checkpoint with the most steps; None if there is none.

    Args:
        output: where checkpoints are.
        say: told of every damaged one that is newer.
    """
    damaged: dict[Path, str] = {}
    whole = None
    for path in reversed(in_order(output)):
        wrong = damage(path)
        if wrong is None:
            whole = path
            break
        damaged[path] = wrong
    for path, wrong in damaged.items() if say else ():
        instead = f"goes on from {whole.name}" if whole else "begins from the start"
        say(f"{path} is damaged ({wrong}): training {instead}, and ends with the same adapter.")  # type: ignore[misc]
    return whole


def seal(directory: Path) -> None:
    """Writes down the digests of the files of a checkpoint, when all of them are there."""
    digests = {file.name: checksums.of_file(file) for file in sorted(directory.iterdir())}
    (directory / _DIGESTS).write_text(json.dumps(checksums.sealed({"files": digests}), indent=2), encoding="utf-8")


def damage(directory: Path) -> str | None:
    """What is wrong with the files of a checkpoint; None if it is whole."""
    try:
        written = checksums.opened(json.loads((directory / _DIGESTS).read_text(encoding="utf-8")))["files"]
    except FileNotFoundError:
        return _damage_without_digests(directory)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"{_DIGESTS} is not what was written"
    for name, digest in written.items():
        try:
            if checksums.of_file(directory / name) != digest:
                return f"{name} is not what was written"
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror or error}"
    return None


def _damage_without_digests(directory: Path) -> str | None:
    """The same for a checkpoint of an earlier version, as far as its files tell: torch's have sums of their own."""
    try:
        read_whole(directory)
    except AdapterFileError as error:
        return str(error).splitlines()[0]
    for file in sorted(directory.iterdir()):
        try:
            if file.suffix == ".json":
                json.loads(file.read_text(encoding="utf-8"))
            elif file.suffix in _LIBRARY_FILES:
                with zipfile.ZipFile(file) as archive:
                    if archive.testzip() is not None:
                        return f"{file.name} is damaged"
        except (OSError, ValueError, RecursionError, zipfile.BadZipFile) as error:
            return f"{file.name}: {error}"
    missing = [
        name for name in ("trainer_state.json", "optimizer.pt", "scheduler.pt") if not (directory / name).is_file()
    ]
    return f"{missing[0]} is missing" if missing else None
