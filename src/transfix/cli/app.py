"""The command `transfix`: each reads its arguments, calls one function and prints what that gives.

Nothing heavy is imported before it is needed: `transfix --help` answers at once.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from transfix.cli import runs, studies, tasks
from transfix.cli.failures import reported, say
from transfix.cli.output import console, print_json
from transfix.runs import process

app = typer.Typer(
    name="transfix",
    help="Adapt a language model on English labels, and measure in every language how the skill transfers.",
    epilog="Start with [bold]transfix quickstart[/bold]. Every command tells its options with --help.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(tasks.app)
app.add_typer(runs.app)
app.add_typer(studies.app)
app.command()(studies.reproduce)

RunsDir = Annotated[Path, typer.Option("--runs", metavar="DIR", help="The directory of the runs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's directory, or the beginning of its name or hash.")]


def _version(wanted: bool) -> None:
    if wanted:
        from transfix import __version__

        typer.echo(f"transfix {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
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

    checked = RunSpec.load(spec, settings or ())
    checked.check_data()

    from transfix.runs import run as experiment
    from transfix.runs.store import RunStore

    run = experiment.train(checked, RunStore(runs))
    what = "The adapter is in" if checked.trained else "Nothing to train: the base model's run is"
    typer.echo(f"{what} {run.adapter_dir if checked.trained else run.path}")
    typer.echo(f"Measure it: transfix evaluate {run.path}")


@app.command()
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
    runs: RunsDir = Path("runs"),
) -> None:
    """Measure a run's adapter in every language and print the table. What is measured already is kept."""
    from transfix import tasks
    from transfix.runs.store import Run

    codes = _codes(languages)
    found = Run.find(run, runs)
    results = {evaluation.result for evaluation in found.spec.evaluate}  # a damaged specification is reported here
    for name in task or ():
        if name not in results:
            tasks.get(name)

    from transfix.report import collect, terminal
    from transfix.runs import run as experiment

    experiment.evaluate(found, task or None, codes, limit)
    console().print(terminal(collect(found.path)))


@app.command()
@reported
def predict(
    run: RunName,
    input: Annotated[Path, typer.Option("--input", "-i", metavar="ROWS.jsonl", help="Rows with the task's fields.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.jsonl", help="The rows with their answers.")],
    runs: RunsDir = Path("runs"),
) -> None:
    """Answer your own rows with a run's adapter."""
    from transfix.errors import TransfixError
    from transfix.runs.store import Run

    found = Run.find(run, runs)
    _ = found.spec
    if not input.is_file():
        raise TransfixError(f"--input {input}: there is no such file.")
    if not output.parent.is_dir():
        raise TransfixError(f"--output {output}: there is no directory {output.parent}.")

    from transfix.runs import run as experiment

    try:
        experiment.predict(found, input, output)
    except KeyboardInterrupt:
        say("Stopped", f"{output} was not written: the same command begins anew.")
        raise typer.Exit(130) from None
    typer.echo(f"Answers are in {output}")


@app.command()
@reported
def inspect(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A hub name, or a directory with a config.json.")],
    json: AsJson = False,
    rows: Annotated[int, typer.Option(min=1, help="Rows of a forward, for the memory.")] = 16,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of a row.")] = 128,
    targets: Annotated[int, typer.Option(min=0, help="Target tokens of a row; 0: label words are scored.")] = 0,
) -> None:
    """Tell what can be adapted in a model, how many parameters each method trains, and what memory that takes."""
    from transfix.errors import TransfixError
    from transfix.models.inspect import inspect as inspect_model
    from transfix.models.inspect_table import table

    if targets > tokens:
        raise TransfixError(f"--targets {targets}: a row of {tokens} tokens has no more than {tokens}.")
    found = inspect_model(model, rows, tokens, targets)
    if json:
        print_json(found.to_dict())
    else:
        console().print(table(found))


@app.command()
@reported
def languages(
    json: AsJson = False,
    benchmark: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only the languages of this benchmark: xnli, belebele ...")
    ] = None,
) -> None:
    """List the languages: codes, names, scripts, families, resource classes."""
    from transfix import languages as table

    found = table.of_benchmark(benchmark) if benchmark else table.all()
    if json:
        print_json([_plain(language) for language in found])
        return
    from rich import box
    from rich.table import Table

    columns = ["Code", "Name", "Native name", "Script", "Family", "Branch", "Class"]
    shown = Table(*columns, *([benchmark] if benchmark else []), box=box.SIMPLE_HEAD, pad_edge=False)
    shown.columns[0].no_wrap = True
    for language in found:
        names = (language.code, language.name, language.native_name, language.script_name)
        own = [language.benchmarks[benchmark]] if benchmark else []
        shown.add_row(*names, language.family, language.branch, str(language.resource_class), *own)
    out = console()
    out.print(shown)
    out.print(f"{len(found)} languages. Class: resources from 0 (least) to 5 (most), Joshi et al. 2020.")


@app.command()
@reported
def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A directory of runs, or one run.")] = Path("runs"),
    html: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Where to write the page. Default: report.html in DIR.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown instead of the table.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print LaTeX (booktabs) instead.")] = False,
    csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV instead: one line a task, method and language.")
    ] = False,
    by: Annotated[
        str | None, typer.Option(metavar="KIND", help="Also the averages by script, family or resources.")
    ] = None,
) -> None:
    """Print the table of all runs or of a study, and write a self-contained page, computed from the predictions."""
    from transfix import report as reports
    from transfix.errors import TransfixError
    from transfix.studies import running
    from transfix.studies.directory import StudyDirectory, number_of_runs

    wanted = [name for name, given in (("markdown", markdown), ("latex", latex), ("csv", csv)) if given]
    if len(wanted) > 1:
        names = " and ".join(f"--{name}" for name in wanted)
        raise TransfixError(
            f"{names} cannot be printed at once: give one of them, and run the command again for the next."
        )
    kind = next((kind for kind in reports.KINDS if kind == by), None)
    if by and not kind:
        raise TransfixError(f"--by {by}: languages are grouped by {', '.join(reports.KINDS)}.")
    only, unfinished = None, None
    study = StudyDirectory(directory)
    if plan := study.plan():
        only, others = study.planned(plan)
        unfinished = running.unfinished(running.status(study, plan))
        if latex or csv:
            for line in unfinished:
                typer.echo(f"! {line}", err=True)
        if others:
            where = f"transfix report {directory / 'runs'} has them"
            typer.echo(f"Left out, from before the study was changed: {number_of_runs(others)} ({where}).", err=True)
    found = reports.collect(directory, _texts, only or None, unfinished)
    if wanted:
        writers = {"markdown": reports.markdown, "latex": reports.latex, "csv": reports.csv}
        typer.echo(writers[wanted[0]](found, kind), nl=False)
    else:
        console().print(reports.terminal(found, kind))
    target = html or directory / "report.html"
    reports.write(target, reports.page(found), "name another file with --html")
    typer.echo(f"Page: {target}", err=bool(wanted))


@app.command()
@reported
def quickstart(
    directory: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where runs and page go.")] = Path(
        "quickstart"
    ),
    rows: Annotated[int | None, typer.Option(min=1, help="English rows to train on.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Rows a language to measure on.")] = None,
    languages: Annotated[
        list[str] | None, typer.Option(metavar="CODES", help="Only these languages: de,sw. Default: all of XNLI.")
    ] = None,
) -> None:
    """The main job on a small model: train two adapters on English, measure them in 15 languages, print the table."""
    codes = _codes(languages)

    from transfix.studies import quickstart as example

    given: dict[str, Any] = {"rows": rows, "limit": limit, "languages": None if codes == ["all"] else codes}
    example.main(directory, **{name: value for name, value in given.items() if value is not None})


@app.command(hidden=True)
@reported
def schema() -> None:
    """Print the JSON schema of a specification, for editors that check YAML."""
    from transfix.runs.specification import RunSpec

    print_json(RunSpec.model_json_schema())


def main() -> None:
    """What the command `transfix` runs."""
    process.settle()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of languages on a terminal that has not their letters
            stream.reconfigure(errors="replace")
    app(prog_name="transfix")


def _codes(given: list[str] | None) -> list[str] | None:
    """FLORES-style codes from `--languages de,sw --languages zh-TW`; None if none is given, ["all"] for `all`."""
    from transfix import languages

    names = [name.strip() for entry in given or () for name in entry.split(",") if name.strip()]
    if not names:
        if given:
            from transfix.errors import TransfixError

            raise TransfixError(
                "--languages names no language. Leave it out for those of the specification, or say `all`."
            )
        return None
    if "all" in names:
        return ["all"]
    return list(dict.fromkeys(languages.get(name).code for name in names))


def _plain(record: Any) -> dict[str, Any]:
    """A frozen dataclass as plain data."""
    import dataclasses

    values = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}


def _texts(task: str, language: str, meta: Mapping[str, Any]) -> Mapping[str, Mapping[str, str]]:
    """The texts of rows for the report's browser, as far as they are on this machine; the hub is not asked for them."""
    from transfix import data, tasks
    from transfix.errors import TransfixError

    try:
        source = data.parse_source(meta["data"])
        if isinstance(source, data.HubSource):
            return {}
        benchmark = tasks.get(meta.get("task_file") or meta.get("task") or task).benchmark
        return {row.id: row.fields for row in data.load(benchmark, source, language, meta["split"], None, "skip")}
    except (TransfixError, KeyError):
        return {}
