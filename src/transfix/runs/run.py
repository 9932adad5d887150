"""One run from its specification to its metrics: `train`, `evaluate`, `calibrate`, `predict`, `trust`. Read this first.

    specification ─▶ model + adapter ─▶ English rows ─▶ steps ─▶ adapter/
                                       rows of every language ─▶ predictions/TASK/LANGUAGE.parquet ─▶ metrics.json

Each arrow ends in files that are whole if they exist, and what exists is not done again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transfix import tasks
from transfix.config import validation, yaml_dialect
from transfix.config.places import expanded
from transfix.data import FilesSource
from transfix.data.digests import files_digest
from transfix.data.files import find_all
from transfix.errors import Problem, ProblemsError, TransfixError
from transfix.runs.answering import Session
from transfix.runs.calibrating import calibrate as calibrate
from transfix.runs.continuing import as_begun
from transfix.runs.evaluation import measure
from transfix.runs.few_shot import shots
from transfix.runs.label_preference import measure_preference
from transfix.runs.metrics import compute_metrics
from transfix.runs.predicting import predict as predict
from transfix.runs.progress import Display
from transfix.runs.settings import Calibration, Evaluation, Train
from transfix.runs.specification import RunSpec
from transfix.runs.store import Run, RunStore
from transfix.runs.training import task_of, train_adapter
from transfix.runs.trusting import trust as trust
from transfix.runs.whole import whole_adapter
from transfix.tasks import Task


def train(spec: RunSpec, store: RunStore, display: Display | None = None) -> Run:
    """Trains the adapter of a specification, or finds it trained. A killed training goes on from its last checkpoint.

    Args:
        spec: the run; `auto` settings are resolved here.
        store: where the run's directory is, or will be.
        display: where progress is shown.

    Raises:
        TransfixError: if model, data or settings do not allow it, or the adapter that is there is damaged; the message
            says why.
    """
    display = display or Display()
    run = store.open(resolve(spec))
    for evaluation in run.spec.evaluate:  # before hours of work
        task = _judged(evaluation)
        shots(evaluation, task, evaluation.codes[0], ())
    if run.spec.train is None:
        return run
    with run.lock():
        if run.has_adapter:
            from transfix.adapters.files import read_whole

            with whole_adapter(run):
                read_whole(run.adapter_dir)
        else:
            with as_begun(run, display):
                train_adapter(run, run.spec.train, display)
        run.remove_checkpoints()
    return run


def evaluate(
    run: Run,
    task_names: Sequence[str] | None = None,
    codes: Sequence[str] | None = None,
    limit: int | None = None,
    calibration_rows: int | None = None,
    display: Display | None = None,
) -> dict[str, Any]:
    """Measures a run's adapter and returns its metrics. Rows that were predicted already are not asked again.

    Args:
        run: trained, unless its adapter is `base`.
        task_names: only these tasks; one that the specification does not name is measured on the snapshot.
        codes: only these languages; `None` is what the specification says.
        limit: rows a language; `None` is what the specification says.
        calibration_rows: unlabelled rows a language on which choices are calibrated; `None` is what the specification says.
        display: where progress is shown.

    Raises:
        TransfixError: if the run is not trained, or rows cannot be read.
    """
    display = display or Display()
    with run.lock():
        session = Session(run)
        chosen = _evaluations(run.spec, task_names, codes, limit, calibration_rows)
        for evaluation in chosen:  # before the first row
            _judged(evaluation)
        for evaluation in chosen:
            measure(session, evaluation, display)
            measure_preference(session, evaluation, display)
        metrics = compute_metrics(run)
        run.write_metrics(metrics)
    return metrics


def _judged(evaluation: Evaluation) -> Task:
    """The task of an evaluation, whose answers can be judged with the packages that are installed."""
    task = task_of(evaluation)
    if task.kind != "choice":
        task.judge.require()
    return task


def resolve(spec: RunSpec) -> RunSpec:
    """The specification with `auto` replaced by what this machine does best.

    Full fine-tuning keeps its weights in float32: steps are too small for bfloat16's eight bits. Files of training rows get
    their digest, so that a run is named by what it is trained on and not by where that lies.

    Raises:
        TransfixError: the specification has a digest (it is a run's own) and the files have changed since.
    """
    from transfix.models.loading import choose_device, choose_dtype

    device = choose_device(spec.device)
    wanted = "float32" if spec.dtype == "auto" and spec.trains_base else spec.dtype
    digest = _rows_digest(spec.train)
    if spec.train and spec.train.rows_digest not in (None, digest):
        raise TransfixError(
            f"the files of train.data ({spec.train.data}) are not those this run was started with: their digest is "
            f"{digest}, the specification says {spec.train.rows_digest}. Bring the old files back, or take rows_digest "
            "out of your copy of the specification to train on the new ones in a run of their own."
        )
    dtype = str(choose_dtype(wanted, device)).removeprefix("torch.")
    return spec.resolved(dtype=dtype, device=str(device), rows_digest=digest)  # type: ignore[arg-type]


def _rows_digest(settings: Train | None) -> str | None:
    """See `Train.rows_digest`; None for a built-in task on rows that are in no files of the user's."""
    if settings is None:
        return None
    task = task_of(settings)
    split = settings.split or task.train_split or task.default_split
    files = _files(task, settings.data, settings.codes, split)
    if settings.exposure is not None:
        other = tasks.get(settings.exposure.task or settings.task)
        split = settings.exposure.split or other.train_split or other.default_split
        files += _files(other, settings.exposure.data or other.source("train"), settings.exposure.languages, split)
    return files_digest(dict.fromkeys(files)) if files else None


def _files(task: Task, source: object, codes: Sequence[str], split: str) -> list[Path]:
    """The user's files that decide what is trained on: the task's own, and its rows."""
    own = [expanded(task.origin)] if task.origin else []
    if not isinstance(source, FilesSource):
        return own
    named = task.benchmark.split(split)
    return own + [path for code in codes for path in find_all(source, task.benchmark, code, named)]


def _evaluations(
    spec: RunSpec,
    names: Sequence[str] | None,
    codes: Sequence[str] | None,
    limit: int | None,
    calibration_rows: int | None,
) -> list[Evaluation]:
    """What is to be measured: the specification's evaluations, narrowed or widened by what was asked for."""
    known = list(spec.evaluate)
    chosen = known if names is None else [e for e in known if e.task in names or e.result in names]
    missing = [name for name in names or () if all(name not in (e.task, e.result) for e in known)]
    chosen += [_checked({"task": name}) for name in missing]
    if not chosen:
        raise TransfixError(
            "there is nothing to measure: name a task (--task xnli), or add `evaluate:` to the specification."
        )
    languages_asked = "all" if codes is not None and list(codes) == ["all"] else tuple(codes) if codes else None
    updates = {"languages": languages_asked, "limit": limit}
    given = {name: value for name, value in updates.items() if value is not None}
    checked = [_checked({**e.model_dump(), **given}) for e in chosen]
    if calibration_rows is None:
        return checked
    wanted = {"calibration": Calibration(rows=calibration_rows)}
    return [e.model_copy(update=wanted) if task_of(e).kind == "choice" else e for e in checked]


def _checked(content: dict[str, Any]) -> Evaluation:
    """An evaluation as it was asked for on the command line.

    Raises:
        ProblemsError: with everything that its task does not allow.
    """
    problems: list[Problem] = []
    evaluation = validation.checked(Evaluation, yaml_dialect.plain(content, "", problems), problems)
    if problems or evaluation is None:
        raise ProblemsError(f"{content['task']} cannot be measured like this:", problems)
    return evaluation
