"""`transfix train`, `transfix evaluate`, `transfix predict`: one run, from its specification to its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from transfix.cli.failures import reported, say
from transfix.cli.options import RunName, RunsDir, codes, names
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
    on_bad_rows: Annotated[
        Literal["error", "skip"],
        typer.Option(help="error: all bad rows are named and none is asked. skip: the others are asked."),
    ] = "error",
    runs: RunsDir = Path("runs"),
) -> None:
    """Answer your own rows with a run's adapter."""
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
        if on_bad_rows == "error":
            experiment.predict(found, input, output)
        else:
            experiment.predict(found, input, output, on_bad_rows="skip")
    except KeyboardInterrupt:
        say("Stopped", f"{output} was not written: the same command begins anew.")
        raise typer.Exit(130) from None
    typer.echo(f"Answers are in {output}")
    if on_bad_rows == "skip":
        left_out = output.with_name(f"{output.name}.skipped.jsonl")
        typer.echo(f"Rows that were left out are in {left_out}" if left_out.exists() else "No row was left out")
