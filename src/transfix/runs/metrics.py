"""The metrics of a run, computed from its predictions alone: which ones they have, and what they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfix.errors import TransfixError
from transfix.runs import calibration, records
from transfix.runs.environment import version
from transfix.runs.store import Run, counts, files, label_means
from transfix.statistics import bootstrap, metrics, one_run
from transfix.statistics.bootstrap import Scored
from transfix.statistics.metrics import Counted, Metric
from transfix.tasks.judges import JUDGES

if TYPE_CHECKING:
    import pandas as pd

OWN = ("skipped_rows", "answer_language")
"""What predictions say of their own language's rows."""


def compute_metrics(run: Run) -> dict[str, Any]:
    """The metrics of every result that has predictions, by the name of the result.

    Beside the main score (`languages`, `macro` ...): the further metrics (`metrics`), of choices the score calibrated in
    every form that the run has (`calibrated`), and of generated answers how many could not be parsed and how many were cut.

    Raises:
        TransfixError: predictions are damaged, or a package that a metric needs is not installed.
    """
    found: dict[str, dict[str, pd.DataFrame]] = {}
    for name, code in run.predicted():
        frame = run.predictions(name, code)
        assert frame is not None
        found.setdefault(name, {})[code] = frame
    computed = {}
    record = records.read(run.path)
    own = (str(run.path / folder) for folder in (files.PREDICTIONS, label_means.DIRECTORY))
    if lost := [line for line in record.damage if line.startswith(tuple(own))]:  # it would be missing in the metrics
        raise TransfixError("\n".join(lost))
    for name, frames in found.items():
        metas = {code: run.predictions_meta(name, code) or {} for code in frames}
        meta = _said(metas)
        chances = [chance for m in metas.values() if (chance := _chance(m)) is not None]
        summary = one_run.summarise(frames, chance=sum(chances) / len(chances) if chances else None)
        main = {"metric": meta.get("metric", "accuracy")}
        paths = {code: run.predictions_path(name, code) for code in frames}
        calibrated = {"calibrated": forms} if (forms := calibration.summaries(record, name)) else {}
        further_ones = _further(metas, frames, paths)
        computed[name] = {**meta, **summary, **main, "metrics": further_ones, **calibrated, **_failed(frames)}
    return computed


def further(meta: Mapping[str, Any], columns: Iterable[str]) -> list[Metric]:
    """The metrics that predictions have beside their main one.

    Args:
        meta: what the predictions say of themselves.
        columns: the names of their columns.
    """
    judge = JUDGES.get(str(meta.get("judge")))
    kind = meta.get("kind") or ("choice" if meta.get("classes") else None)
    names = [column.removeprefix(one_run.METRIC) for column in columns if column.startswith(one_run.METRIC)]
    names += [metric.name for metric in metrics.METRICS.values() if kind in metric.kinds]
    names += judge.corpus if judge else ()
    return [metrics.get(name) for name in dict.fromkeys(names)]


def rows(metric: Metric, frame: one_run.Frame, meta: Mapping[str, Any], file: Path) -> Scored:
    """The rows of one language as a metric sees them.

    Args:
        metric: one of `further`.
        frame: the predictions.
        meta: what they say of themselves.
        file: where they are, `LANGUAGE.parquet`; what a judge counts is kept beside it.

    Raises:
        TransfixError: see `Metric.of`; or a package that the judge needs is not installed.
    """
    judge = JUDGES.get(str(meta.get("judge")))
    if judge and (count := judge.corpus.get(metric.name)):
        language = str(meta.get("answer_language", file.stem))
        versions = {module: version(module) for module in judge.modules}

        def counted(columns: metrics.Columns, meta: Mapping[str, Any]) -> Counted:
            answers, accepted = list(columns["answer"]), [list(golds) for golds in columns["golds"]]
            key = [versions, language, answers, accepted]
            return counts.kept(file, metric.name, key, lambda: count(answers, accepted, language))

        return dataclasses.replace(metric, count=counted).of(frame, meta, file.stem)
    return metric.of(frame, meta, file.stem)


def _further(
    metas: Mapping[str, Mapping[str, Any]], frames: Mapping[str, pd.DataFrame], files: Mapping[str, Path]
) -> dict[str, Any]:
    """`languages` and `macro` of every further metric, by its name."""
    found: dict[str, dict[str, Scored]] = {}
    for code, frame in frames.items():
        for metric in further(metas[code], frame.columns):
            found.setdefault(metric.name, {})[code] = rows(metric, frame, metas[code], files[code])
    summaries = {
        name: one_run.summary_of(of_metric, bootstrap.resample(of_metric), bootstrap.LEVEL)
        for name, of_metric in found.items()
    }
    return {name: {part: summary[part] for part in ("languages", "macro")} for name, summary in summaries.items()}


def _failed(frames: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """How many generated answers hold no result, and how many were cut, by language."""
    return {
        name: numbers
        for name, column, wrong in (("unparsable", "parsed", False), ("cut_answers", "finished", "length"))
        if (numbers := {code: int((frame[column] == wrong).sum()) for code, frame in frames.items() if column in frame})
    }


def _chance(meta: Mapping[str, Any]) -> float | None:
    """The score of a guess: given with the predictions, or one over the number of classes."""
    classes = meta.get("classes") or ()
    chance: float | None = meta.get("chance", 1 / len(classes) if classes else None)
    return chance


def _said(metas: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What is said of all languages; what differs between them is said of each, with a note that averages mix it."""
    keys = dict.fromkeys(key for meta in metas.values() for key in meta if key not in ("chance", *OWN))
    said: dict[str, Any] = {}
    mixed = []
    for key in keys:
        values = {code: meta.get(key) for code, meta in metas.items()}
        first = next(iter(values.values()))
        if all(value == first for value in values.values()):
            said[key] = first
        else:
            said[key] = values
            mixed.append(key)
    if mixed:
        said["note"] = f"languages were asked in different ways ({', '.join(mixed)}): averages over them mix these"
    return said
