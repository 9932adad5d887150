"""`transfix quickstart`: the whole way on a small model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from transfix.cli.failures import reported
from transfix.cli.options import codes


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
    chosen = codes(languages)

    from transfix.studies import quickstart as example

    given: dict[str, Any] = {"rows": rows, "limit": limit, "languages": None if chosen == ["all"] else chosen}
    example.main(directory, **{name: value for name, value in given.items() if value is not None})
