"""Reads run directories as they are on disk: finished, half done, torn or foreign, never failing on any of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from transfix.errors import TransfixError
from transfix.statistics import one_run
from transfix.statistics.bootstrap import Scored
from transfix.statistics.metrics import METRICS

COLUMNS = ("id", "answer", "gold", "score", "truncated")
METADATA_KEY = b"transfix"

State = Literal["training", "evaluating", "complete"]


@dataclass(frozen=True, slots=True)
class Predictions:
    """The answers of one run on one task in one language.

    Attributes:
        columns: `id`, `answer`, `gold`, `score`, `truncated` and what further metrics read, each one entry a row, in the
            order they were written.
        scored: the rows that have gold, see `one_run.scored`.
        meta: what was asked and how: `task`, `split`, `template`, `verbaliser`, `classes`, `data`, `model` ...
    """

    columns: Mapping[str, list[Any]]
    scored: Scored = field(repr=False)
    meta: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.columns["id"])


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run directory.

    Attributes:
        name: the directory's name.
        spec: the resolved specification, plain data.
        environment: versions, device, times; empty if not there.
        training: facts of the training (`trainable_parameters`, `rows_seen`, `seconds`, `steps` ...); None while
            there are none.
        predictions: by task, then by language code.
        state: how far it has come.
        missing: languages that the specification asks for and that have no predictions yet, by task.
        notes: what could not be read.
        lacking: what it still has to do, in words.
    """

    name: str
    path: Path
    spec: Mapping[str, Any]
    environment: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] | None = None
    predictions: Mapping[str, Mapping[str, Predictions]] = field(default_factory=dict)
    state: State = "complete"
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[Mapping[str, Any], ...]:
        """The parts of the adapter, each with its `method`."""
        adapter = self.spec.get("adapter")
        found = adapter if isinstance(adapter, list) else [adapter]
        parts = [{"method": part} if isinstance(part, str) else part for part in found]
        return tuple(part for part in parts if isinstance(part, Mapping) and part.get("method")) or (
            {"method": "base"},
        )

    @property
    def is_base(self) -> bool:
        """Whether nothing is trained."""
        return all(part["method"] == "base" for part in self.parts)


def find(directory: Path) -> tuple[list[Path], list[str]]:
    """The run directories below a folder (a run store, a study, a folder of those), or the one run directory given.

    Returns:
        Them, sorted, and notes on folders that look like a run and are none.

    Raises:
        TransfixError: `directory` is not a directory, or holds no run.
    """
    if not directory.is_dir():
        what = "is a file" if directory.exists() else "does not exist"
        raise TransfixError(f"{directory} {what}: give the folder of a run, or the folder that holds the runs")
    found: list[Path] = []
    torn: list[Path] = []
    waiting, seen = [directory], {directory.resolve()}
    while waiting:
        folder = waiting.pop()
        if (folder / "spec.yaml").is_file():
            found.append(folder)
            continue
        if (folder / "predictions").is_dir():
            torn.append(folder)
        inside = {path.resolve(): path for path in _folders(folder)}  # a link may lead back to where we have been
        waiting += [path for target, path in inside.items() if target not in seen]
        seen.update(inside)
    if not found:
        raise TransfixError(
            f"{directory} holds no runs (no folder in it has a spec.yaml): "
            "make one with `transfix train SPEC.yaml` or `transfix quickstart`, or give the folder the runs are in"
        )
    return sorted(found), [f"{folder.name} is left out: it has predictions but no spec.yaml" for folder in sorted(torn)]


def _folders(directory: Path) -> list[Path]:
    """The folders in a directory; one that cannot be read has none."""
    try:
        return sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith((".", "_")))
    except OSError:
        return []


def read(path: Path) -> RunRecord:
    """Read one run directory. Whatever cannot be read is named in `notes` and left out."""
    notes: list[str] = []
    spec = _spec(path, notes)
    environment = _json(path / "environment.json", path.name, notes)
    training = _json(path / "training.json", path.name, notes)
    predictions: dict[str, dict[str, Predictions]] = {}
    for task, language, file in _prediction_files(path / "predictions"):
        try:
            predictions.setdefault(task, {})[language] = _predictions(file)
        except TransfixError as error:
            notes.append(
                f"run {path.name}: predictions of {task} in {language} cannot be read ({error}); "
                f"delete {file.relative_to(path)} and evaluate again"
            )
    state, missing, lacking = progress(path.name, spec, training, predictions)
    return RunRecord(
        path.name, path, spec, environment or {}, training, predictions, state, missing, tuple(notes), tuple(lacking)
    )


def progress(
    name: str,
    spec: Mapping[str, Any],
    training: Mapping[str, Any] | None,
    predictions: Mapping[str, Collection[str]],
) -> tuple[State, dict[str, tuple[str, ...]], list[str]]:
    """How far a run has come.

    Args:
        name: of the run.
        spec: its specification.
        training: see `RunRecord`.
        predictions: the languages there are, by task.

    Returns:
        Its state, the languages that are missing by task, and notes on what it still lacks.
    """
    missing = {
        task: lacking
        for task, expected in _expected(spec).items()
        if (lacking := tuple(code for code in expected if code not in predictions.get(task, ())))
    }
    untrained = spec.get("train") is not None and not RunRecord(name, Path(), spec).is_base and training is None
    state: State = "training" if untrained and (missing or not predictions) else "evaluating" if missing else "complete"
    again = "if it is not running, the same command again continues it"
    if state == "training":
        so_far = "has predictions, but" if predictions else "has no predictions yet:"
        return state, missing, [f"run {name} {so_far} its training has not ended ({again})"]
    if not predictions:
        if missing:
            return state, missing, [f"run {name} has no predictions yet ({again})"]
        return state, missing, [f"run {name} has no predictions: run `transfix evaluate {name} --task TASK`"]
    to_go = {task: f"{len(codes)} languages" if len(codes) > 1 else codes[0] for task, codes in missing.items()}
    notes = [f"run {name} has not finished {task}: {codes} to go ({again})" for task, codes in to_go.items()]
    return state, missing, notes


def _spec(path: Path, notes: list[str]) -> dict[str, Any]:
    import yaml

    try:
        spec = yaml.safe_load((path / "spec.yaml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        notes.append(f"run {path.name}: spec.yaml cannot be read ({str(error).splitlines()[0]})")
        return {}
    if not isinstance(spec, dict):
        notes.append(f"run {path.name}: spec.yaml is not a specification")
        return {}
    return spec


def _json(file: Path, run: str, notes: list[str]) -> dict[str, Any] | None:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        notes.append(f"run {run}: {file.name} cannot be read ({str(error).splitlines()[0]})")
        return None
    return value if isinstance(value, dict) else None


def _prediction_files(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Task, language and file of every whole predictions file; temporary files have other names."""
    if not folder.is_dir():
        return
    for task in _folders(folder):
        for file in sorted(task.glob("*.parquet")):
            if file.is_file() and not file.name.startswith((".", "_")):
                yield task.name, file.stem, file


def _predictions(file: Path) -> Predictions:
    """Read one predictions file.

    Raises:
        TransfixError: it is torn or no parquet file, holds other columns, or rows that `one_run.scored` refuses.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as parquet:
            names = parquet.schema_arrow.names
            lacking = [name for name in COLUMNS if name not in names and name != "truncated"]
            if lacking:
                raise TransfixError(f"it has no column {', '.join(lacking)}")
            read = {"parsed", *(name for metric in METRICS.values() for name in metric.reads)} - set(COLUMNS)
            further = [name for name in names if name.startswith(one_run.METRIC) or name in read]
            table = parquet.read(columns=[*(name for name in COLUMNS if name in names), *further])
        meta = json.loads((table.schema.metadata or {}).get(METADATA_KEY, b"{}"))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise TransfixError(str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    columns: dict[str, list[Any]] = {name: table.column(name).to_pylist() for name in table.column_names}
    columns.setdefault("truncated", [False] * table.num_rows)
    return Predictions(columns, one_run.scored(columns, file.stem), meta if isinstance(meta, dict) else {})


def _expected(spec: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The languages a specification evaluates, by task; a task this installation does not know expects none."""
    expected: dict[str, tuple[str, ...]] = {}
    entries = spec.get("evaluate")
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, Mapping) or not isinstance(entry.get("task"), str):
            continue
        wanted = entry.get("languages", "all")
        codes = wanted if isinstance(wanted, list) else _task_languages(entry["task"]) if wanted == "all" else [wanted]
        name = entry.get("name") or _task_name(entry["task"])
        expected[name] = (*expected.get(name, ()), *(_code(str(code)) for code in codes))
    return expected


def _task_name(task: str) -> str:
    """The name that results of a task are kept under; a task file that is gone is known by its path."""
    from transfix import tasks

    try:
        return tasks.get(task).name
    except TransfixError:
        return task


def _task_languages(task: str) -> tuple[str, ...]:
    from transfix import tasks

    try:
        return tuple(tasks.get(task).languages)
    except TransfixError:
        return ()


def _code(name: str) -> str:
    from transfix import languages

    try:
        return languages.get(name).code
    except TransfixError:
        return name
