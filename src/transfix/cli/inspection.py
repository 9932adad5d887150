"""`transfix inspect`: what can be adapted in a model, from its config.json alone."""

from __future__ import annotations

from typing import Annotated

import typer

from transfix.cli.failures import reported
from transfix.cli.options import AsJson
from transfix.cli.output import console, print_json


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
