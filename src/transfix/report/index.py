"""All runs below a folder as one table, a row a run, task and language: computed from the predictions, and remembered.

What was computed is kept in a hidden file of the folder and used again as long as a run's files have the same times and
sizes. The file may be deleted at any time, and need not be writable.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfix import __version__
from transfix.config import limits, places
from transfix.errors import TransfixError
from transfix.report import labels
from transfix.runs.records import RunRecord, find, progress, read, sources
from transfix.statistics import bootstrap, one_run
from transfix.storage import atomic, checksums

CACHE = ".transfix-runs.json"
FORMAT = 2
"""Counted up whenever what is computed or kept changes."""

SETTLED = 2.0
"""Seconds after which a file that still has its time and size is known to be the same: clocks of disks are coarse."""

FIRST = (
    *("run", "folder", "model", "method", "title", "seed", "task", "lang", "n", "score", "low", "high", "truncated"),
    *("left_out", "trained_parameters", "seconds", "state", "device", "transfix"),
)
"""The columns every row has; settings come after them."""

_ASKED = ("split", "data", "template", "few_shot", "metric", "temperature", "top_p", "max_new_tokens", "dtype")
"""What is shown of how rows were asked, as `asked.NAME`."""


@dataclass(frozen=True, slots=True)
class Index:
    """The table.

    Attributes:
        rows: by column; a column that a row lacks does not apply to it.
        columns: all that occur, `FIRST` first.
        notes: what is unfinished, torn or foreign.
        damage: of each damaged file what to do about it, in words.
    """

    rows: tuple[Mapping[str, Any], ...]
    columns: tuple[str, ...]
    notes: tuple[str, ...]
    damage: tuple[str, ...] = ()


def index(directory: Path) -> Index:
    """The table of all runs below a folder.

    Raises:
        TransfixError: the folder is not there, or holds no run.
    """
    paths, notes = find(directory)
    remembered, kept = _remembered(directory / CACHE), {}
    rows: list[dict[str, Any]] = []
    damage: list[str] = []
    started = time.time()
    for path in paths:
        name = path.relative_to(directory).as_posix()
        files, newest = _fingerprint(path)
        facts = remembered.get(name)
        if facts is None or facts.get("files") != files:
            facts = {"files": files, **_facts(path)}
        damage += facts["damage"]
        if newest < started - SETTLED and not facts["damage"]:  # which names files from where it is read
            kept[name] = facts
        run = RunRecord(path.name, path, facts["spec"], facts["environment"], facts["training"])
        state, _, lacking = progress(path.name, run.spec, run.training, facts["results"])
        notes += [*facts["notes"], *lacking]
        rows += _rows(run, name, state, facts["results"])
    if kept != remembered:
        _remember(directory / CACHE, kept)
    columns = dict.fromkeys(FIRST) | dict.fromkeys(sorted({key for row in rows for key in row} - set(FIRST)))
    return Index(tuple(rows), tuple(columns), tuple(notes), tuple(damage))


def _facts(path: Path) -> dict[str, Any]:
    """What is read and computed of one run, as JSON keeps it."""
    run = read(path)
    results: dict[str, dict[str, Any]] = {}
    for task, predictions in run.predictions.items():
        summary = one_run.summarise({code: found.columns for code, found in predictions.items()}, None)
        for code, entry in summary["languages"].items():
            low, high = entry["interval"] or (None, None)
            numbers = {"n": entry["n"], "score": entry["score"], "low": low, "high": high}
            counts = {"truncated": entry["truncated"], "left_out": entry["left_out"]}
            said = predictions[code].meta
            asked = {f"asked.{key}": _cell(said[key]) for key in _ASKED if said.get(key) is not None}
            results.setdefault(task, {})[code] = numbers | counts | asked
    facts = {
        "spec": run.spec,
        "environment": run.environment,
        "training": run.training,
        "results": results,
        "notes": list(run.notes),
        "damage": list(run.damage),
    }
    plain: dict[str, Any] = json.loads(json.dumps(facts, default=str))  # what is remembered is what was computed
    return plain


def _rows(run: RunRecord, folder: str, state: str, results: Mapping[str, Any]) -> list[dict[str, Any]]:
    training, environment = run.training or {}, run.environment
    versions = environment.get("versions")
    about = {
        "run": run.name,
        "folder": folder,
        "model": run.spec.get("model"),
        "method": "+".join(str(part["method"]) for part in run.parts) if run.spec else None,
        "title": labels.method(run) if run.spec else None,
        "seed": run.spec.get("seed"),
        "trained_parameters": 0 if run.spec and run.is_base else training.get("trainable_parameters"),
        "seconds": training.get("seconds"),
        "state": state,
        "device": environment.get("device"),
        "transfix": versions.get("transfix") if isinstance(versions, Mapping) else None,
    }
    settings = _settings(run)
    return [
        {**about, "task": task, "lang": code, **numbers, **settings}
        for task, languages in results.items()
        for code, numbers in languages.items()
    ]


def _settings(run: RunRecord) -> dict[str, Any]:
    """Settings by dotted names: `train.rows`, `adapter.tokens`, of a hybrid's further parts `adapter.lora.rank`."""
    found: dict[str, Any] = {}
    for number, part in enumerate(run.parts):
        prefix = f"adapter.{part['method']}" if number else "adapter"
        found |= _flat({key: value for key, value in part.items() if key != "method"}, prefix)
    apart = {"adapter", "evaluate", "model", "seed"}
    for key, value in run.spec.items():
        if key not in apart:
            found |= _flat(value, str(key))
    return found


def _flat(value: Any, name: str) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {path: cell for key, entry in value.items() for path, cell in _flat(entry, f"{name}.{key}").items()}
    return {} if value is None else {name: _cell(value)}


def _cell(value: Any) -> Any:
    """Text, a number, or true and false; anything else in few words."""
    return value if isinstance(value, str | int | float) else labels.brief(value)


# ---- what is remembered


def _fingerprint(path: Path) -> tuple[list[list[Any]], float]:
    """Name, times and size of every file that is read, and the newest of the times in seconds."""
    files: list[list[Any]] = []
    newest = 0
    for name in sources(path):
        try:
            stat = name.stat()
        except OSError:
            continue
        newest = max(newest, stat.st_mtime_ns, stat.st_ctime_ns)
        files.append([name.relative_to(path).as_posix(), stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size])
    return files, newest / 1e9


def _version() -> list[Any]:
    return [FORMAT, __version__, bootstrap.RESAMPLES, bootstrap.LEVEL, bootstrap.SEED]


def _remembered(file: Path) -> dict[str, Any]:
    """By a run's folder what was computed of it; empty where the file is not there, torn or of another version."""
    try:
        content = places.read_json(file, limits.INDEX_BYTES)
        if not isinstance(content, dict) or content.get("version") != _version() or checksums.KEY not in content:
            return {}
        content = checksums.opened(content)
    except (OSError, ValueError, RecursionError, TransfixError):
        return {}
    wanted = {"files": list, "spec": dict, "environment": dict, "results": dict, "notes": list, "damage": list}
    runs = content.get("runs")
    return {
        name: facts
        for name, facts in (runs.items() if isinstance(runs, dict) else ())
        if isinstance(facts, dict)
        and "training" in facts
        and all(isinstance(facts.get(key), kind) for key, kind in wanted.items())
    }


def _remember(file: Path, runs: Mapping[str, Any]) -> None:
    try:
        content = checksums.sealed({"version": _version(), "runs": runs})
        atomic.write_file(file, json.dumps(content, ensure_ascii=False))
    except (TransfixError, ValueError):
        return  # a folder that cannot be written to is read again the next time
