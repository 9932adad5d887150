"""`transfix report`: the table of a store or of a study, and its page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from transfix.cli.failures import reported
from transfix.cli.output import console


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
    """Print the table of all runs or of a study, and write a self-contained page, computed from the predictions.

    Exits with 2 where a file is damaged: what it held is in none of the numbers.
    """
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
    only, unfinished, lost = None, None, None
    study = StudyDirectory(directory)
    plan = study.plan()
    if study.has_lost_its_plan:
        try:
            plan = running.made_again(study)
            typer.echo(f"{directory / 'plan.json'} is missing: the study's runs are those of resolved.yaml.", err=True)
        except TransfixError as error:
            lost = str(error)
    if plan:
        only, others = study.planned(plan)
        unfinished = running.unfinished(running.status(study, plan))
        if latex or csv:
            for line in unfinished:
                typer.echo(f"! {line}", err=True)
        if others:
            where = f"transfix report {directory / 'runs'} has them"
            typer.echo(f"Left out, from before the study was changed: {number_of_runs(others)} ({where}).", err=True)
        if others and not only:
            raise TransfixError(f"{directory}: no run of the study as it is now has begun; {where}.")
    found = reports.collect(directory, _texts, only or None, unfinished)
    if lost:
        found = replace(found, notes=(lost, *found.notes), damage=(lost, *found.damage))
    if latex or csv:  # the other forms have them
        for line in found.notes:
            if line not in (unfinished or ()):
                typer.echo(f"! {line}", err=True)
    if wanted:
        writers = {"markdown": reports.markdown, "latex": reports.latex, "csv": reports.csv}
        typer.echo(writers[wanted[0]](found, kind), nl=False)
    else:
        console().print(reports.terminal(found, kind))
    target = html or directory / "report.html"
    reports.write(target, reports.page(found), "name another file with --html")
    typer.echo(f"Page: {target}", err=bool(wanted))
    if found.damage:
        damaged = "\n".join(f"  - {line}" for line in found.damage)
        of_them = "" if lost else ", whose content is in none of these numbers"
        raise TransfixError(f"damaged files{of_them}:\n{damaged}")


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
