"""`transfix task ...`: the tasks there are, and what one would ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from transfix.cli.failures import reported
from transfix.cli.options import AsJson, names
from transfix.cli.output import console, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from transfix.tasks.check import Findings, Part

app = typer.Typer(name="task", help="The built-in tasks, and one's own.", no_args_is_help=True)


@app.command("list")
@reported
def list_tasks() -> None:
    """List the built-in tasks."""
    from rich import box
    from rich.table import Table

    from transfix import tasks

    table = Table("Task", "Kind", "Fields", "Languages", "Train on", "Templates", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in tasks.names():
        task = tasks.get(name)
        languages = str(len(task.languages))
        split = task.train_split or "–"
        table.add_row(name, task.kind, ", ".join(task.fields), languages, split, ", ".join(task.prompt_templates))
    console().print(table)


@app.command()
@reported
def check(
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="A task file, task.yaml, or the name of a built-in task.")
    ],
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Count tokens and check label words with this model's tokenizer."),
    ] = None,
    template: Annotated[str | None, typer.Option(metavar="NAME", help="One of the task's templates.")] = None,
    languages: Annotated[
        list[str] | None, typer.Option(metavar="CODES", help="Only these languages: de,sw. Default: all.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Show what a task asks: three prompts a language, the balance of its labels, token counts, and what is wrong."""
    from transfix import languages as table
    from transfix import tasks
    from transfix.errors import TransfixError
    from transfix.tasks import check
    from transfix.tasks.regions import other_region

    asking = names(languages)
    codes = [table.get(name).code for name in asking] or None
    if codes and (why := other_region(tasks.get(task), asking)):
        raise TransfixError(f"--languages: {why}.")
    asked = None
    if model is not None:
        from transfix.models import text_side
        from transfix.tasks.token_check import Model

        side = text_side.load(model)
        asked = Model(side.tokenizer, side.size, side.reads, side.generates)
    found = check.check(task, template, codes, asked)
    if json:
        print_json(found.to_dict())
    else:
        _print(found, model)
    if found.problems:
        raise typer.Exit(2)


def _print(found: Findings, model: str | None) -> None:
    from rich.text import Text

    from transfix import languages as table

    shown = console()
    shown.soft_wrap = True
    task = found.task
    shown.print(Text(f"{task.name}: {task.kind}, template {task.template_name}, scored by {task.metric}", style="bold"))
    for part in found.parts:
        _print_part(shown, part, table.get(part.code).name)
    if model is None:
        shown.print("Token counts: name a model with --model, e.g. --model gemma-3-270m", style="dim")
    for note in found.notes:
        shown.print(Text(f"! {note}", style="yellow"))
    for problem in found.problems:
        shown.print(Text(f"✗ {problem}", style="red"))
    if found.problems:
        shown.print(Text(f"{len(found.problems)} problem{'s' * (len(found.problems) > 1)}", style="bold red"))
    else:
        shown.print(Text("No problems found.", style="green"))


def _print_part(shown: Console, part: Part, name: str) -> None:
    from rich.text import Text

    balance = ", ".join(f"{label} {count:,}" for label, count in part.balance.items())
    skipped = f", {part.skipped:,} bad rows" if part.skipped else ""
    shown.print(Text(f"\n{part.purpose} · {name} ({part.code}): {part.rows:,} rows{skipped}; {balance}", style="bold"))
    if part.layout:
        shown.print(Text(f"  read as {part.layout}", style="dim"))
    if part.tokens:
        shown.print("  tokens a prompt: " + ", ".join(f"{what} {count:,}" for what, count in part.tokens.items()))
    for number, (prompt, answer) in enumerate(part.prompts, start=1):
        text = Text(f"  {number} ", style="dim")
        text.append(prompt.replace("\n", "\n    "), style="none")
        text.append(answer.replace("\n", "\n    "), style="green")
        shown.print(text)
