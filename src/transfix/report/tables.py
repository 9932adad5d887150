"""The report as a terminal table that fits the terminal's width, and as a Markdown table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transfix.evaluation import metrics
from transfix.report import labels
from transfix.report.contents import Method, Report, TaskReport

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Table
    from rich.text import Text

INTERVALS = (
    "Brackets: 95 % percentile bootstrap over examples (2,000 resamples, fixed seed); parallel rows drawn together."
)


def macro_rows(task: TaskReport) -> list[tuple[str, str]]:
    """The averages a table shows: (`without_english` or `all`, its name). None over a single language."""
    count = len(task.averaged)
    if count < 2:
        return []
    if metrics.ENGLISH not in task.averaged:
        return [("all", f"Average of {count} languages")]
    return [("without_english", f"Average without English ({count - 1})"), ("all", f"Average with English ({count})")]


def training_rows(task: TaskReport) -> list[tuple[str, list[str]]]:
    """Further metrics, and what the training of each method took: (name, a text for each method)."""
    rows = [(name, list(values)) for name, values in task.further]
    for key, name, write, untrained in (
        ("trainable_parameters", "Trained parameters", labels.number, "0"),
        ("rows_seen", "Rows seen in training", labels.number, "0"),
        ("seconds", "Training time", _duration, "–"),
    ):
        values = [method.training(key) for method in task.methods]
        if any(value is not None for value in values):
            missing = [untrained if method.run.is_base else "–" for method in task.methods]
            rows.append((name, [m if v is None else write(v) for m, v in zip(missing, values, strict=True)]))
    return rows


def _duration(value: Any) -> str:
    return labels.duration(value) if isinstance(value, (int, float)) else labels.brief(value)


def footnotes(task: TaskReport) -> list[str]:
    """What a table must state: how rows were asked, how many there are, what was cut or left out."""
    notes = [f"{task.title}, {task.metric} in %, rows a language: {task.rows()}"]
    if task.chance is not None:
        notes[0] += f", chance {labels.percent(task.chance)}"
    for setting in task.settings:
        values = setting.by_method or (("", setting.value or ""),)
        notes.append(f"{setting.name}: " + "; ".join(f"{name}: {value}" if name else value for name, value in values))
    truncated, left_out = task.counted("truncated"), task.counted("left_out")
    notes.append(f"Prompts cut to fit: {'; '.join(truncated) or 'none'}")
    if left_out:
        notes.append(f"Rows without a gold answer, left out: {'; '.join(left_out)}")
    notes.append(INTERVALS)
    return notes


# ---- terminal


def terminal(report: Report) -> RenderableType:
    """The report for `rich.print`: languages down, methods across, intervals beside or, where it is narrow, below."""
    return _Terminal(report)


@dataclass(frozen=True, slots=True)
class _Terminal:
    report: Report

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from rich.text import Text

        for task in self.report.tasks:
            yield Text(_printable(task.headline), style="bold")
            yield from _tables(task, console, options.max_width)
            for sentence in task.claims:
                yield Text(f"• {_printable(sentence)}")
            for note in footnotes(task):
                yield Text(_printable(note), style="dim")
            for note in task.notes:
                yield Text(f"! {_printable(note)}", style="yellow")
            yield Text("")
        if not self.report.tasks:
            yield Text(self.report.headline, style="bold")
        for note in self.report.notes:
            yield Text(f"! {_printable(note)}", style="yellow")


def _printable(text: str) -> str:
    """Plain spaces in the report's own text; everything odd in a user's text made visible."""
    return labels.plain(text.replace(labels.NO_BREAK, " "))


def _tables(task: TaskReport, console: Console, width: int) -> Iterator[Table]:
    """One table with intervals beside the numbers or, if narrow, below; several tables if that does not fit either."""
    from rich.measure import Measurement

    def needs(table: Table) -> Measurement:
        return Measurement.get(console, console.options.update(max_width=10_000), table)

    table = _table(task, task.methods, beside=True)
    if needs(table).maximum <= width:
        yield table
        return
    left = task.methods
    while left:
        count = len(left)
        while count > 1 and needs(_table(task, left[:count], beside=False)).minimum > width:
            count -= 1
        yield _table(task, left[:count], beside=False)
        left = left[count:]


def _table(task: TaskReport, methods: Sequence[Method], beside: bool) -> Table:
    """A table whose cells are `45.1 [43.2, 47.0]`, on one line or two."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    def value(entry: Mapping[str, Any] | None, style: str, note: str = "") -> Text:
        if entry is None:
            return Text("–", style="dim")
        text = Text(labels.percent(entry["accuracy"]), style=style)
        text.append(note, style="yellow")
        return text.append(" " if beside else "\n").append(labels.bracket(entry["interval"]), style="dim not bold")

    macros = macro_rows(task)
    averages = [[value(m.macro(which), "bold", "" if m.complete else "*") for m in methods] for which, _ in macros]
    cells = [[value(method.language(language.code), "") for method in methods] for language in task.languages]
    with_n = beside or len({task.rows(language.code) for language in task.languages}) > 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("Language", min_width=13)
    if with_n:
        table.add_column("n", justify="right")
    for column, method in enumerate(methods):
        # numbers are never broken, headings are
        lines = [line for row in (*averages, *cells) for line in row[column].plain.splitlines()]
        longest = max(map(len, [*lines, *(word[:16] for word in method.label.split())]))
        table.add_column(Text(labels.plain(method.label)), justify="right", min_width=longest, overflow="fold")

    def add(name: Text, rows: str, values: Sequence[Text], end: bool = False) -> None:
        table.add_row(name, *([rows] if with_n else []), *values, end_section=end)

    for number, (_, name) in enumerate(macros, start=1):
        add(Text(name, style="bold"), "", averages[number - 1], number == len(macros))
    for number, language in enumerate(task.languages, start=1):
        named = Text(labels.plain(language.name))
        if language.name != language.code:
            named.append(" " if beside else "\n").append(labels.plain(language.code), style="dim")
        add(named, task.rows(language.code), cells[number - 1], number == len(task.languages))
    if task.chance is not None:
        add(Text("Chance"), "", [Text(labels.percent(task.chance), style="dim")] * len(methods))
    shown = [task.methods.index(method) for method in methods]
    for name, values in training_rows(task):
        add(Text(name, style="dim"), "", [Text(labels.plain(values[index]), style="dim") for index in shown])
    return table


# ---- Markdown


def markdown(report: Report) -> str:
    """The report as Markdown: for each task its headline, table and statements. Ends with a line break."""
    blocks: list[str] = []
    for task in report.tasks:
        names = [_escape(method.label) for method in task.methods]
        rows = [["Language", "n", *names], ["---", *["---:"] * (len(names) + 1)]]
        for which, name in macro_rows(task):
            cells = [_markdown_cell(m.macro(which), bold=True) + ("" if m.complete else r" \*") for m in task.methods]
            rows.append([f"**{name}**", "", *cells])
        for language in task.languages:
            code = f" `{language.code}`" if language.name != language.code else ""
            cells = [_markdown_cell(m.language(language.code)) for m in task.methods]
            rows.append([_escape(language.name) + code, task.rows(language.code), *cells])
        if task.chance is not None:
            rows.append(["Chance", "", *[labels.percent(task.chance)] * len(names)])
        rows += [[name, "", *map(_escape, values)] for name, values in training_rows(task)]
        blocks += [
            f"**{_escape(task.headline)}**",
            "\n".join(f"| {' | '.join(row)} |" for row in rows),
            "\n".join(f"- {_escape(line)}" for line in (*task.claims, *footnotes(task), *task.notes)),
        ]
    if not report.tasks:
        blocks.append(f"**{report.headline}**")
    if report.notes:
        blocks.append("\n".join(f"- {_escape(note)}" for note in report.notes))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _markdown_cell(entry: Mapping[str, Any] | None, bold: bool = False) -> str:
    if entry is None:
        return "–"
    value = labels.percent(entry["accuracy"])
    return f"{f'**{value}**' if bold else value} {labels.bracket(entry['interval'])}".replace("[", r"\[").replace(
        "]", r"\]"
    )


def _escape(text: str) -> str:
    """User text in Markdown: no markup, no HTML, no line break that would end a table row."""
    flat = labels.plain(text.replace(labels.NO_BREAK, " "))
    flat = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|~])", r"\\\1", flat)
