"""Reads run directories as they are on disk: finished, half done, torn or foreign, never failing on any of them.

Files are read with the functions of `runs.store`; what those raise becomes a note.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from transfix.adapters.methods.registry import METHODS
from transfix.config import places
from transfix.errors import TransfixError
from transfix.runs.specification import RunSpec
from transfix.runs.store import files, label_means, predictions
from transfix.runs.store.label_means import LabelMeans
from transfix.runs.store.run import other_than_begun, torn
from transfix.statistics import calibration, one_run
from transfix.statistics.bootstrap import Floats, Scored
from transfix.statistics.metrics import METRICS

COLUMNS = ("id", "answer", "gold", "score", "truncated")
"""What is read of predictions, besides their metrics."""

OPTIONS = "option_scores"
_AGAIN = {
    files.SPEC: "{}: delete it, then start the run again from the specification it was made with",
    files.ENVIRONMENT: "{}: delete it, then start the run again: it is written anew",
    files.TRAINING: "{}: delete it; to have it anew, delete the run's adapter too and start the run again, which trains it",
}

_NAMED = re.compile(r"-[0-9a-f]{12}\Z")
"""The end of a run's name: the hash of its specification."""

State = Literal["training", "evaluating", "complete"]


@dataclass(frozen=True, slots=True)
class Predictions:
    """The answers of one run on one task in one language.

    Attributes:
        columns: `id`, `answer`, `gold`, `score`, `truncated` and what further metrics read, each one entry a row, in the
            order they were written.
        scored: the rows that have gold, see `one_run.scored`.
        options: of choices the log-probability of each class (n, k); None where the answers are not the likeliest ones.
        meta: what was asked and how: `task`, `split`, `template`, `verbaliser`, `classes`, `data`, `model` ...
        file: where they are.
    """

    columns: Mapping[str, list[Any]]
    scored: Scored = field(repr=False)
    meta: Mapping[str, Any]
    file: Path
    options: Floats | None = field(default=None, repr=False)

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
        label_means: what is kept of its preference for labels, by task.
        notes: what could not be read.
        lacking: what it still has to do, in words.
        damaged: languages whose predictions cannot be read, by task.
        damage: of each damaged file what to do about it, in words.
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
    label_means: Mapping[str, LabelMeans] = field(default_factory=dict)
    damaged: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    damage: tuple[str, ...] = ()

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
        """Whether nothing is trained; a method that is not installed counts as one that is."""
        methods = [METHODS.get(str(part["method"])) for part in self.parts]
        return all(method is not None and not method.learns for method in methods)


def find(directory: Path) -> tuple[list[Path], list[str]]:
    """The run directories below a folder (a run store, a study, a folder of those), or the one run directory given.

    Returns:
        Them, sorted, and notes on folders that look like a run and are none.

    Raises:
        TransfixError: `directory` is not a directory, or holds no run.
    """
    if (kind := places.kind(directory)) != "directory":
        what = {"missing": "does not exist", "file": "is a file"}.get(kind, places.NOT_ORDINARY)
        raise TransfixError(f"{directory} {what}: give the folder of a run, or the folder that holds the runs")
    found: list[Path] = []
    torn: list[Path] = []
    notes: list[str] = []
    waiting, seen = [directory], {directory.resolve()}
    while waiting:
        folder = waiting.pop()
        try:
            if files.is_run(folder):
                found.append(folder)
                continue
            if (folder / files.PREDICTIONS).is_dir():
                torn.append(folder)
        except OSError as error:
            notes.append(f"{folder.name} is left out: it cannot be looked into ({error.strerror})")
            continue
        inside = {path.resolve(): path for path in files.folders(folder)}  # a link may lead back to where we have been
        waiting += [path for target, path in inside.items() if target not in seen]
        seen.update(inside)
    if not found:
        raise TransfixError(
            f"{directory} holds no runs (no folder in it has a spec.yaml): "
            "make one with `transfix train SPEC.yaml` or `transfix quickstart`, or give the folder the runs are in"
        )
    notes += [f"{folder.name} is left out: it has predictions but no spec.yaml" for folder in sorted(torn)]
    return sorted(found), notes


def read(path: Path) -> RunRecord:
    """Read one run directory. Whatever cannot be read is named in `notes` and left out."""
    notes: list[str] = []
    environment = _json(path / files.ENVIRONMENT, path.name, notes)
    spec = _spec(path, environment or {}, notes)
    training = _json(path / files.TRAINING, path.name, notes)
    there = zip((files.SPEC, files.ENVIRONMENT, files.TRAINING), (spec or None, environment, training), strict=True)
    damage = [_AGAIN[name].format(path / name) for name, read in there if read is None and (path / name).exists()]
    found: dict[str, dict[str, Predictions]] = {}
    damaged: dict[str, tuple[str, ...]] = {}
    for task, language, file in _prediction_files(path, notes, damage):
        try:
            found.setdefault(task, {})[language] = _predictions(file)
        except TransfixError as error:
            damaged[task] = (*damaged.get(task, ()), language)
            damage.append(f"{file}: delete it, then run `transfix evaluate {path}`")
            why = error.reason if isinstance(error, files.UnreadableError) else error
            notes.append(
                f"run {path.name}: predictions of {task} in {language} cannot be read ({why}); "
                f"delete {file.relative_to(path)} and evaluate again"
            )
    state, missing, lacking = progress(path.name, spec, training, found)
    means = _label_means(path, found, notes, damage)
    return RunRecord(
        path.name,
        path,
        spec,
        environment or {},
        training,
        found,
        state,
        missing,
        tuple(notes),
        tuple(lacking),
        means,
        damaged,
        tuple(damage),
    )


def sources(path: Path) -> list[Path]:
    """The files that `read` looks at in a run directory, those of them that may be there."""
    own = [path / name for name in (files.SPEC, files.ENVIRONMENT, files.TRAINING)]
    asked = _prediction_files(path, [], [])
    means = [label_means.path_of(path, task) for task in dict.fromkeys(task for task, _, _ in asked)]
    return own + [file for _, _, file in asked] + means


def _prediction_files(path: Path, notes: list[str], damage: list[str]) -> list[tuple[str, str, Path]]:
    try:
        return list(files.prediction_files(path))
    except files.UnreadableError as error:
        notes.append(f"run {path.name}: {error.path.relative_to(path)} cannot be read ({error.reason})")
        damage.append(f"{error}; what is in it is not counted")
        return []


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


def _spec(path: Path, environment: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    try:
        spec = files.read_spec(path)
    except files.UnreadableError as error:
        notes.append(f"run {path.name}: {error.path.name} cannot be read ({error.reason})")
        return {}
    if not isinstance(spec, dict) or "model" not in spec:  # which every version has written
        notes.append(f"run {path.name}: {files.SPEC} is not a specification")
        return {}
    if why := _another(path, spec, environment):
        notes.append(f"run {path.name}: {files.SPEC} is not what the run was made with ({why})")
        return {}
    return spec


def _another(path: Path, spec: Mapping[str, Any], environment: Mapping[str, Any]) -> str | None:
    """Why a specification that has no checksum (any more) is not the run's; None if it is, or nothing tells."""
    if not _NAMED.search(path.name) or files.has_checksum(path):
        return None
    if not isinstance(spec.get("seed"), int):
        return torn(environment)
    if files.has_whole_lines(path):
        return None
    try:
        return other_than_begun(path.name, RunSpec.load(path / files.SPEC), environment)
    except TransfixError:  # a task's file may be gone, a method not installed
        return None


def _json(file: Path, run: str, notes: list[str]) -> dict[str, Any] | None:
    try:
        return files.read_json(file)
    except files.UnreadableError as error:
        notes.append(f"run {run}: {file.name} cannot be read ({error.reason})")
        return None


def _label_means(path: Path, tasks: Collection[str], notes: list[str], damage: list[str]) -> dict[str, LabelMeans]:
    found: dict[str, LabelMeans] = {}
    for task in tasks:
        try:
            means = label_means.read(path, task)
        except files.UnreadableError as error:
            where = error.path.relative_to(path)
            damage.append(f"{error.path}: delete it, then run `transfix evaluate {path}`")
            notes.append(f"run {path.name}: {where} cannot be read ({error.reason}); delete it and evaluate again")
            continue
        if means is not None:
            found[task] = means
    return found


def _predictions(file: Path) -> Predictions:
    """Read one predictions file.

    Raises:
        TransfixError: it is torn or no parquet file, lacks columns, or has rows that `one_run.scored` refuses.
    """
    needed = [name for name in COLUMNS if name != "truncated"]
    table = predictions.read(file, needed, lambda name: name in (*COLUMNS, OPTIONS) or _is_metric(name))
    columns: dict[str, list[Any]] = {
        name: table.column(name).to_pylist() for name in table.column_names if name != OPTIONS
    }
    columns.setdefault("truncated", [False] * table.num_rows)
    meta = predictions.meta(file, table) or {}
    options = _options(table, meta.get("classes"), columns["answer"])
    return Predictions(columns, one_run.scored(columns, file.stem), meta, file, options)


def _options(table: Any, classes: object, answers: list[Any]) -> Floats | None:
    """The log-probabilities of the classes (n, k), if the answers are those with the highest."""
    if OPTIONS not in table.column_names or not isinstance(classes, list) or not classes:
        return None
    numbers = table.column(OPTIONS).combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    if numbers.size != len(classes) * table.num_rows or np.isnan(numbers).any():
        return None
    options: Floats = numbers.reshape(table.num_rows, len(classes))
    return options if calibration.chosen(options, [str(name) for name in classes]) == answers else None


def _is_metric(name: str) -> bool:
    read = {name for metric in METRICS.values() for name in metric.reads}
    return name.startswith(one_run.METRIC) or name == "parsed" or name in read


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
