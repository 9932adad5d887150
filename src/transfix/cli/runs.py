"""`transfix runs`: everything measured below a folder as one table, filtered, sorted, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transfix.cli.failures import reported
from transfix.cli.options import AsJson, names
from transfix.cli.output import console, print_json

if TYPE_CHECKING:
    from rich.table import Table

SHOWN = ("run", "title", "seed", "task", "lang", "n", "score", "low", "high", "state")
"""The columns of the table for people; programs get all."""


@reported
def runs(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder with runs in it, at any depth; or one run.")
    ] = Path("runs"),
    where: Annotated[
        str | None,
        typer.Option(metavar="CONDITION", help="Only rows for which this holds: \"task == 'xnli' and score > 0.4\""),
    ] = None,
    sort: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Sort by it; -COLUMN from the highest down.")
    ] = None,
    columns: Annotated[str | None, typer.Option(metavar="A,B", help="Only these columns, in this order.")] = None,
    json: AsJson = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """List every run, task and language below a folder as one table, with every setting as a column.

    Exits with 2 where a file is damaged: what it held is in no row.
    """
    from transfix.errors import TransfixError, visible
    from transfix.report import where as conditions
    from transfix.report.index import index

    if json and csv:
        raise TransfixError("--json and --csv: only one of them can be printed; leave one out.")
    found = index(directory)
    for note in found.notes:
        typer.echo(f"! {visible(note)}", err=True)
    rows: Sequence[Mapping[str, Any]] = found.rows
    if where is not None:
        rows = conditions.select(rows, where, found.columns)
    if sort is not None:
        name = sort.removeprefix("-")
        if name not in found.columns:
            raise conditions.unknown_column(name, found.columns, f"--sort {sort}")
        rows = _sorted(rows, name, down=sort.startswith("-"))
    named = names([columns or ""])
    for name in named:
        if name not in found.columns:
            raise conditions.unknown_column(name, found.columns, f"--columns {columns}")
    if json:
        print_json([{name: row.get(name) for name in named or found.columns} for row in rows])
    elif csv:
        typer.echo(_csv(rows, named or found.columns), nl=False)
    else:
        out = console()
        out.print(_table(rows, named or SHOWN))
        others = "" if named else f"; columns for --where: {', '.join(found.columns)}"
        out.print(f"{len(rows):,} of {len(found.rows):,} rows{others}")
    if found.damage:
        damaged = "\n".join(f"  - {line}" for line in found.damage)
        raise TransfixError(f"damaged files, whose content is in none of these rows:\n{damaged}")


def _sorted(rows: Sequence[Mapping[str, Any]], name: str, down: bool) -> list[Mapping[str, Any]]:
    """Numbers before text; rows without the column last, whichever way."""
    have = [row for row in rows if row.get(name) is not None]
    lack = [row for row in rows if row.get(name) is None]
    return sorted(have, key=lambda row: (isinstance(row[name], str), row[name]), reverse=down) + lack


def _csv(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    import csv
    import io

    from transfix.report import labels

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(labels.cell, names))
    writer.writerows([labels.cell(row.get(name)) for name in names] for row in rows)
    return text.getvalue()


def _table(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from transfix.report import labels
    from transfix.report.where import SHARES

    def written(name: str, value: Any) -> str:
        if value is None:
            return "–"
        if name in SHARES:
            return labels.percent(value)
        return labels.plain(labels.brief(value) if isinstance(value, bool | str) else labels.number(value))

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in names:
        number = any(isinstance(row.get(name), int | float) for row in rows)
        table.add_column(Text(name), justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(written(name, row.get(name))) for name in names))
    return table
