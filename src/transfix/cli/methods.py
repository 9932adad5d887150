"""`transfix methods`: the methods there are, those of other packages included, and what can be set in them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from transfix.cli.failures import reported
from transfix.cli.options import AsJson
from transfix.cli.output import console, print_json
from transfix.errors import TransfixError

if TYPE_CHECKING:
    from rich.console import Console

    from transfix.adapters.methods.part import Part

REQUIRED = "(required)"


@reported
def methods(json: AsJson = False) -> None:
    """List the methods: what each learns, its settings with their defaults, and what is allowed."""
    from transfix.adapters.methods.registry import METHODS, UNUSABLE, asked

    found, failed = [], {}
    for name, part in METHODS.items():
        try:
            found.append(asked(part, "its settings", functools.partial(described, name, part)))
        except TransfixError as error:
            failed[name] = str(error)
    if json:
        print_json(found)
    else:
        out = console()
        for method in found:
            _print(out, method)
    for name, why in (UNUSABLE | failed).items():
        typer.echo(f"! {name}: {why}", err=True)


def described(name: str, part: type[Part]) -> dict[str, Any]:
    """A method as plain data; a setting that has to be given has no `default`."""
    from pydantic_core import to_jsonable_python

    from transfix.adapters.methods.part import Part
    from transfix.config.validation import describe

    fields = part.model_fields
    own = [setting for setting in fields if setting not in Part.model_fields]
    common = [setting for setting in fields if setting in Part.model_fields and setting != "method"]
    settings: list[dict[str, Any]] = []
    for setting in [*own, *common]:
        field = fields[setting]
        allowed = field.description or describe(field.annotation, field.metadata)
        settings.append({"name": setting, "allowed": allowed})
        if not field.is_required():
            settings[-1]["default"] = to_jsonable_python(field.get_default(call_default_factory=True))
    first = inspect.cleandoc(part.__doc__ or "").partition("\n\n")[0]
    return {
        "method": name,
        "label": part.label,
        "description": " ".join(first.split()),
        "learns": part.learns,
        "stands_alone": part.stands_alone,
        "settings": settings,
    }


def _print(out: Console, method: Mapping[str, Any]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    out.print(Text.assemble((method["method"], "bold"), f"  {method['label']}"))
    out.print(Text(method["description"]))
    if method["stands_alone"]:
        out.print(Text(f"It cannot be combined with other methods: {method['stands_alone']}."))
    table = Table("Setting", "Default", "Allowed", box=box.SIMPLE_HEAD, pad_edge=False)
    for setting in method["settings"]:
        default = _written(setting["default"]) if "default" in setting else REQUIRED
        table.add_row(*map(Text, (setting["name"], default, setting["allowed"])))
    out.print(table)


def _written(value: object) -> str:
    """A value as a specification has it."""
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    return (
        {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else str(value)
    )
