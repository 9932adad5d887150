"""What commands print on: a console for people, JSON for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console


def console() -> Console:
    """Where tables are printed. A pipe gets no colours, and lines that are not cut at 80 characters."""
    import os

    from rich.console import Console

    shown = Console(highlight=False)
    if not shown.is_terminal and "COLUMNS" not in os.environ:
        shown.width = 160
    return shown


def print_json(content: object) -> None:
    """Prints data for programs."""
    import json

    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
