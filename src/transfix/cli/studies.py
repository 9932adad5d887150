"""`transfix study ...` and `transfix reproduce ...`: many runs from one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from transfix.cli.failures import reported
from transfix.cli.options import AsJson
from transfix.cli.output import console, print_json

if TYPE_CHECKING:
    from transfix.studies.specification import StudySpec


class _FileOrCommand(TyperGroup):
    """`transfix study STUDY.yaml` is `transfix study run STUDY.yaml`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "-h", "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["STUDY.yaml [OPTIONS]  |  status DIR"]


app = typer.Typer(
    name="study",
    cls=_FileOrCommand,
    help="Many runs from one file: transfix study STUDY.yaml. Stopped and started again, it continues.",
    no_args_is_help=True,
)

Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Override a setting: train.rows=500, matrix.seed=[0]."),
]
Directory = Annotated[
    Path | None, typer.Option("--dir", metavar="DIR", help="Where the study is kept. Default: studies/NAME.")
]
Scale = Annotated[str | None, typer.Option(metavar="NAME", help="One of the study's scales. Default: its first.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only list the runs, with time and memory they would take.")]
NoCalibration = Annotated[
    bool, typer.Option("--no-calibration", help="With --dry-run: do not try out how fast this machine is.")
]
Jobs = Annotated[int | None, typer.Option(min=1, help="Runs at once. Default: what the machine takes.")]
Retry = Annotated[bool, typer.Option("--retry-failed", help="Begin runs again that have failed.")]


@app.command("run")
@reported
def run(
    study: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study.")],
    settings: Sets = None,
    directory: Directory = None,
    scale: Scale = None,
    dry_run: DryRun = False,
    no_calibration: NoCalibration = False,
    jobs: Jobs = None,
    retry_failed: Retry = False,
) -> None:
    """Do all runs of a study that are not done."""
    from transfix.studies.specification import StudySpec

    loaded = StudySpec.load(study, settings or (), scale)
    _go(loaded, directory, dry_run, not no_calibration, jobs, retry_failed)


@app.command("status")
@reported
def status(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory of a study.")],
    json: AsJson = False,
) -> None:
    """Tell how the runs of a study are doing."""
    from transfix.studies import running
    from transfix.studies.directory import StudyDirectory
    from transfix.studies.plan import status_table

    kept = StudyDirectory(directory)
    study = kept.study()
    found = running.status(kept, kept.plan() or running.resolved(study))
    if json:
        print_json(found)
    else:
        console().print(status_table(found))


def _go(
    study: StudySpec, directory: Path | None, dry_run: bool, calibrate: bool, jobs: int | None, retry_failed: bool
) -> None:
    from transfix.studies import plan, processes, running
    from transfix.studies.calibration import Calibrator
    from transfix.studies.directory import STUDIES, StudyDirectory
    from transfix.studies.display import StudyDisplay

    planned = running.resolved(study)
    kept = StudyDirectory(directory or STUDIES / study.name)
    jobs = min(jobs or processes.suggested([run.spec for run in planned]), len(planned))  # no more than there is to do
    calibrator = Calibrator(kept, lambda line: typer.echo(line, err=True))
    if dry_run:
        console().print(plan.plan_table(plan.dry_run(kept, planned, calibrator if calibrate else None), jobs))
        return
    kept.open(study)
    kept.keep_plan(planned)
    display = StudyDisplay(estimates=plan.known(planned, calibrator), jobs=jobs)
    summary = running.run_study(kept, planned, jobs, retry_failed, display)
    if not summary.done:
        typer.echo(f"{len(summary.errors)} of {len(planned)} runs failed; --retry-failed begins them again:", err=True)
        labels = {entry.name: entry.label for entry in planned}
        for name, error in summary.errors.items():
            typer.echo(f"  {labels[name]} ({kept.log(name)}): {error.splitlines()[0] if error else ''}", err=True)
    typer.echo(f"Tables: transfix report {kept.root}")
    if not summary.done:
        raise typer.Exit(1)


@reported
def reproduce(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A preset; without one, all are listed.")] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL", help="In place of the preset's model. Given several times, models are varied."),
    ] = None,
    scale: Annotated[
        str | None, typer.Option(metavar="NAME", help="small (2 cores, a night) or full (what the paper ran).")
    ] = None,
    settings: Sets = None,
    directory: Directory = None,
    dry_run: DryRun = False,
    no_calibration: NoCalibration = False,
    jobs: Jobs = None,
    retry_failed: Retry = False,
    show: Annotated[
        bool, typer.Option("--print", help="Print the study's file, to change it: transfix reproduce NAME --print.")
    ] = False,
) -> None:
    """Run a study of the paper (arXiv 2510.24619), or of what it leaves open, on any model."""
    from transfix.studies import presets

    if name is None:
        for preset, title in presets.listing().items():
            typer.echo(f"{preset:20} {title}")
        return
    path = presets.path_of(name)
    if show and not (model or scale or settings):
        typer.echo(_nameless(path.read_text(encoding="utf-8")), nl=False)
        return
    from transfix.studies.specification import StudySpec

    study = StudySpec.load(path, settings or (), scale, model or ())
    if show:
        typer.echo(_nameless(study.to_yaml()), nl=False)
        return
    if directory is None:
        directory = _own_directory(study, scale, model)
    _go(study, directory, dry_run, not no_calibration, jobs, retry_failed)


def _nameless(text: str) -> str:
    """A study's file without its name: changed and saved it is another study, named after its file."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("name:"))


def _own_directory(study: StudySpec, scale: str | None, models: list[str] | None) -> Path:
    """Where a preset is kept: another scale or model is another study."""
    from transfix.studies.directory import STUDIES

    names = [study.name, *[Path(model.rstrip("/")).name for model in models or ()]]
    return STUDIES / "-".join([*names, *([scale] if scale not in (None, "small") else [])])
