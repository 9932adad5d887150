"""The command `transfix`, put together: which commands there are, and in which order `--help` lists them.

Each reads its arguments, calls one function and prints what that gives. Nothing heavy is imported before it is needed:
`transfix --help` answers at once.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from transfix.cli import runs, studies, tasks
from transfix.cli.inspection import inspect
from transfix.cli.languages import languages
from transfix.cli.methods import methods
from transfix.cli.one_run import calibrate, evaluate, predict, train
from transfix.cli.quickstart import quickstart
from transfix.cli.report import report
from transfix.cli.schema import schema
from transfix.cli.trust import trust
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


for command in (
    quickstart,
    train,
    evaluate,
    calibrate,
    predict,
    trust,
    report,
    runs.runs,
    studies.reproduce,
    methods,
    languages,
    inspect,
):
    app.command()(command)
app.command(hidden=True)(schema)
app.add_typer(studies.app)
app.add_typer(tasks.app)


def main() -> None:
    """What the command `transfix` runs."""
    process.settle()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of languages on a terminal that has not their letters
            stream.reconfigure(errors="replace")
    app(prog_name="transfix")
