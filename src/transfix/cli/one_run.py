"""`transfix train`, `evaluate`, `calibrate`, `predict`: one run, from its specification to its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from transfix.cli.failures import reported, say
from transfix.cli.options import OnBadRows, RunName, RunsDir, codes, names
from transfix.cli.output import console


@reported
def train(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.yaml", help="The specification of the run.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Override a setting: train.rows=500, adapter.0.tokens=20."),
    ] = None,
    runs: RunsDir = Path("runs"),
) -> None:
    """Train the adapter of a specification. Stopped and started again, it continues."""
    from transfix.runs.specification import RunSpec
    from transfix.runs.store import Run, files

    if files.is_own_spec(spec):
        _ = Run(spec.parent).spec  # a damaged one would come to another run
    checked = RunSpec.load(spec, settings or ())
    checked.check_data()

    from transfix.runs import run as experiment
    from transfix.runs.store import RunStore

    run = experiment.train(checked, RunStore(runs))
    what = "The adapter is in" if checked.trained else "Nothing to train: the base model's run is"
    typer.echo(f"{what} {run.adapter_dir if checked.trained else run.path}")
    typer.echo(f"Measure it: transfix evaluate {run.path}")


@reported
def evaluate(
    run: RunName,
    task: Annotated[
        list[str] | None, typer.Option(metavar="TASK", help="Only this task. May be given several times.")
    ] = None,
    languages: Annotated[
        list[str] | None, typer.Option(metavar="CODES", help="Only these languages: de,sw,zh-TW. `all` is all.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Rows a language.")] = None,
    calibration_rows: Annotated[
        int | None,
        typer.Option(
            min=1, help="Unlabelled rows a language, not among those measured, on which choices are calibrated."
        ),
    ] = None,
    runs: RunsDir = Path("runs"),
) -> None:
    """Measure a run's adapter in every language and print the table. What is measured already is kept."""
    from transfix import tasks
    from transfix.errors import TransfixError
    from transfix.runs.store import Run
    from transfix.tasks.regions import other_region

    chosen = codes(languages)
    found = Run.find(run, runs)
    results = {evaluation.result for evaluation in found.spec.evaluate}  # a damaged specification is reported here
    for name in task or ():
        if name not in results:
            tasks.get(name)
    for evaluation in found.spec.evaluate:
        measured = not task or evaluation.task in task or evaluation.result in task
        if measured and (
            why := other_region(tasks.get(evaluation.task), names(languages), evaluation.data, evaluation.split)
        ):
            raise TransfixError(f"--languages: {why}.")

    from transfix.report import collect, terminal
    from transfix.runs import run as experiment

    experiment.evaluate(found, task or None, chosen, limit, calibration_rows)
    console().print(terminal(collect(found.path)))


@reported
def calibrate(
    run: RunName,
    input: Annotated[
        str,
        typer.Option(
            "--input",
            "-i",
            metavar="ROWS",
            help="Unlabelled rows with the task's fields: a file a language, unlabelled/{lang}.jsonl, or one with a column "
            "`language`. English is needed too.",
        ),
    ],
    languages: Annotated[
        list[str] | None,
        typer.Option(metavar="CODES", help="Only these languages: de,sw,zh-TW. Else all that are there."),
    ] = None,
    rows: Annotated[
        int, typer.Option(min=8, metavar="N", help="At most so many rows a language, the same places in all.")
    ] = 256,
    on_bad_rows: OnBadRows = "error",
    runs: RunsDir = Path("runs"),
) -> None:
    """Measure which label a run prefers in a language, on unlabelled rows, so that `predict` takes it out."""
    from transfix.runs.store import Run

    chosen = codes(languages)
    found = Run.find(run, runs)
    _ = found.spec

    from transfix.runs import run as experiment

    wanted = None if chosen == ["all"] else chosen
    try:
        means = experiment.calibrate(found, input, wanted, rows, on_bad_rows=on_bad_rows)
    except KeyboardInterrupt:
        say("Stopped", "no mean was kept: the same command begins anew.")
        raise typer.Exit(130) from None
    from transfix import languages as table
    from transfix.errors import visible

    measured = means.by_form["unlabelled"]
    typer.echo(f"Means of {len(measured)} languages are in {found.path / 'label_means.json'}:")
    for code, mean in measured.items():
        typer.echo(visible(f"  {table.get(code).name} ({code}): {mean.rows} rows of {mean.source}"))
    typer.echo(f"Rows in these languages are now answered calibrated: transfix predict {found.path}")


@reported
def predict(
    run: RunName,
    input: Annotated[
        Path,
        typer.Option("--input", "-i", metavar="ROWS", help="Rows with the task's fields: jsonl, csv, tsv, parquet."),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="OUT", help="The rows with their answers: .jsonl, .csv, .tsv, .parquet."
        ),
    ],
    on_bad_rows: OnBadRows = "error",
    calibration: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Calibrate by the means that the run's evaluation NAME has measured, not by those of `transfix calibrate`.",
        ),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Answer as the model says, also where the run was calibrated.")
    ] = False,
    runs: RunsDir = Path("runs"),
) -> None:
    """Answer your own rows with a run's adapter; calibrated, if the run was."""
    from transfix.config import places
    from transfix.errors import TransfixError
    from transfix.runs.store import Run

    found = Run.find(run, runs)
    _ = found.spec
    if (kind := places.kind(input)) != "file":
        what = "there is no such file" if kind == "missing" else f"it {places.missing(input)}"
        raise TransfixError(f"--input {input}: {what}.")
    if places.kind(output.parent) != "directory":
        raise TransfixError(f"--output {output}: there is no directory {output.parent}.")

    from transfix.runs import run as experiment

    try:
        given: dict[str, Any] = {"on_bad_rows": "skip"} if on_bad_rows == "skip" else {}
        given |= {} if calibration is None else {"calibration": calibration}
        given |= {"raw": True} if raw else {}
        experiment.predict(found, input, output, **given)
    except KeyboardInterrupt:
        say("Stopped", f"{output} was not written: the same command begins anew.")
        raise typer.Exit(130) from None
    typer.echo(f"Answers are in {output}")
    if on_bad_rows == "skip":
        left_out = output.with_name(f"{output.name}.skipped.jsonl")
        typer.echo(f"Rows that were left out are in {left_out}" if left_out.exists() else "No row was left out")
