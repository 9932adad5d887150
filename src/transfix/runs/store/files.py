"""The files of a run directory: what each is called, where runs are found, and how one file is read. Reading raises."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transfix.config import limits, places, yaml_dialect
from transfix.errors import LONGEST_VALUE, TransfixError, message, shortened
from transfix.storage import checksums

SPEC = "spec.yaml"
ENVIRONMENT = "environment.json"
TRAINING = "training.json"
METRICS = "metrics.json"
ADAPTER = "adapter"
ADAPTER_RECORD = "adapter.json"
"""In the adapter's directory; written last, so that an adapter that has it is whole."""

ADAPTER_TENSORS = "adapter.safetensors"

CHECKPOINTS = "checkpoints"
LOGS = "logs"
PREDICTIONS = "predictions"
_PARQUET = ".parquet"
DEFAULT_ROOT = Path("runs")


class UnreadableError(TransfixError):
    """A file of a run that is damaged, or cannot be read.

    Attributes:
        path: the file.
        reason: what is wrong with it, in one line.
    """

    def __init__(self, path: Path, why: object) -> None:
        self.path = path
        first = str(why).splitlines()[0] if str(why) else type(why).__name__
        self.reason = message(shortened(first, 4 * LONGEST_VALUE))
        super().__init__(f"{path} cannot be read: {self.reason}")


def is_run(path: Path) -> bool:
    """Whether a directory is one of a run."""
    return (path / SPEC).is_file()


def is_own_spec(path: Path) -> bool:
    """Whether a specification is the one that a run keeps of itself."""
    return path.name == SPEC and (path.parent / ENVIRONMENT).is_file()


def run_directories(root: Path) -> list[Path]:
    """The run directories right in a directory, sorted by name; none where there is no such directory."""
    return [path for path in sorted(root.iterdir()) if path.is_dir() and is_run(path)] if root.is_dir() else []


def folders(directory: Path) -> list[Path]:
    """The folders in a directory, sorted, but for hidden ones; one that cannot be read has none."""
    return [directory / entry.name for entry in _visible(directory) if _is_directory(entry)]


def read_json(path: Path) -> dict[str, Any] | None:
    """The content of a JSON file, without its checksum; None if it is not there.

    Raises:
        UnreadableError: it is not JSON, holds no mapping, is not what was written, or cannot be read.
    """
    try:
        content = places.read_json(path)
        if isinstance(content, dict):
            return checksums.opened(content)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except places.UnusableFileError as error:
        raise UnreadableError(path, error.reason) from error
    except (ValueError, RecursionError) as error:
        raise UnreadableError(path, error) from error
    raise UnreadableError(path, "it holds no mapping")


def read_spec(run: Path) -> object:
    """What is in a run's `spec.yaml`, as plain data: not checked, and nothing put in its place.

    Raises:
        UnreadableError: it is not YAML, is not what was written, or cannot be read.
    """
    path = run / SPEC
    text = _as_written(path)
    try:
        content, problems = yaml_dialect.parse(text, path.name)
    except TransfixError as error:
        raise UnreadableError(path, str(error).removeprefix(f"{path.name} ")) from error
    if problems:
        raise UnreadableError(path, problems[0])
    return content


def require_spec_as_written(run: Path) -> None:
    """Looks whether a run's `spec.yaml` is as it was written.

    Raises:
        UnreadableError: it is not, or it cannot be read.
    """
    _as_written(run / SPEC)


def has_checksum(run: Path) -> bool:
    """Whether a run's `spec.yaml` has a checksum, and is what was written by it."""
    try:
        return _as_written(run / SPEC) != places.read_bytes(run / SPEC, limits.SETTINGS_BYTES).decode()
    except (OSError, ValueError, UnreadableError):
        return False


def has_whole_lines(run: Path) -> bool:
    """Whether the last line of a run's `spec.yaml` ends, so that no digits of it can be missing."""
    return places.read_bytes(run / SPEC, limits.SETTINGS_BYTES).endswith(b"\n")


def _as_written(path: Path) -> str:
    """The text of a file without its checksum. Raises UnreadableError if it is not what was written, or cannot be read."""
    try:
        return checksums.opened_text(places.read_bytes(path, limits.SETTINGS_BYTES).decode())
    except places.UnusableFileError as error:
        raise UnreadableError(path, error.reason) from error
    except (OSError, ValueError) as error:
        raise UnreadableError(path, error) from error


def has_adapter(run: Path) -> bool:
    """Whether a run's adapter is trained and whole."""
    return (run / ADAPTER / ADAPTER_RECORD).is_file()


def read_adapter(run: Path) -> dict[str, Any] | None:
    """What a run's adapter says of itself; None before it is trained.

    Raises:
        UnreadableError: as `read_json`.
    """
    return read_json(run / ADAPTER / ADAPTER_RECORD)


def predictions_path(run: Path, task: str, language: str) -> Path:
    """Where the predictions of one task and language are, or will be.

    Raises:
        ValueError: a name that cannot be one of a file.
    """
    for part in (task, language):
        if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", part):
            raise ValueError(f"{part!r} cannot be the name of a file")
    return run / PREDICTIONS / task / f"{language}{_PARQUET}"


def prediction_files(run: Path) -> Iterator[tuple[str, str, Path]]:
    """Task, language and file of all predictions that are there; temporary files have other names.

    Raises:
        UnreadableError: a folder of them cannot be read: what is in it would not be counted.
    """
    tasks = [entry for entry in _listed(run / PREDICTIONS) if entry.is_dir()]
    for task in (run / PREDICTIONS / entry.name for entry in tasks):
        for entry in _listed(task):
            if entry.name.endswith(_PARQUET) and entry.is_file():
                yield task.name, entry.name.removesuffix(_PARQUET), task / entry.name


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _visible(directory: Path) -> list[os.DirEntry[str]]:
    """What is in a directory, sorted by name, but for what is hidden or temporary; one that cannot be read has nothing."""
    try:
        return _listed(directory)
    except UnreadableError:
        return []


def _listed(directory: Path) -> list[os.DirEntry[str]]:
    """As `_visible`; one that is there and cannot be read raises UnreadableError."""
    try:
        with os.scandir(directory) as entries:
            return sorted((entry for entry in entries if entry.name[0] not in "._"), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UnreadableError(directory, error.strerror or error) from error
