"""`transfix languages`: the table of languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from transfix.cli.failures import reported
from transfix.cli.options import AsJson
from transfix.cli.output import console, print_json


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


def _plain(record: Any) -> dict[str, Any]:
    """A frozen dataclass as plain data."""
    import dataclasses

    values = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}
