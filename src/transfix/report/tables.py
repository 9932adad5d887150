"""The report as a terminal table that fits the terminal's width, and as a Markdown table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transfix.report import further, labels
from transfix.report.contents import Curve, Kind, Report, TaskReport
from transfix.report.lines import UNFINISHED, Line, legend, lines
from transfix.report.lines import macro_rows as macro_rows

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Table
    from rich.text import Text

INTERVALS = (
    "Brackets: 95 % percentile bootstrap over {what} (2,000 resamples, fixed seed); parallel rows drawn together."
)


def training_rows(task: TaskReport) -> list[tuple[str, list[str]]]:
    """What is said of answers, seeds, and what the training of each method took: (name, a text for each method)."""
    rows = [(name, list(values)) for name, values in task.unread]
    if any(method.seeds > 1 for method in task.methods):
        rows.append(("Seeds", [str(method.seeds) for method in task.methods]))
        for which, name in macro_rows(task)[:1]:
            found = [(method.macro(which) or {}).get("sd") for method in task.methods]
            sds = ["–" if sd is None else labels.percent(sd) for sd in found]
            rows.append((f"Standard deviation over seeds: {name[0].lower()}{name[1:]}", sds))
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
    notes += [f"Signature of {name}: {signature}" for name, signature in further.signatures(task)]
    truncated, left_out = task.counted("truncated"), task.counted("left_out")
    notes.append(f"Prompts cut to fit: {'; '.join(truncated) or 'none'}")
    if left_out:
        notes.append(f"Rows without a gold answer, left out: {'; '.join(left_out)}")
    return [*notes, bracket_note(task), *legend_notes(task)]


def bracket_note(task: TaskReport) -> str:
    """What the brackets are."""
    several = any(method.seeds > 1 for method in task.methods)
    return INTERVALS.format(what="examples and seeds" if several else "examples")


def legend_notes(task: TaskReport) -> list[str]:
    """What the marks behind numbers mean, as far as there are any."""
    unfinished = not all(method.complete for method in task.methods)
    return [note for note in (legend(task), f"{UNFINISHED} not all languages yet" * unfinished) if note]


# ---- terminal


def terminal(report: Report, by: Kind | None = None) -> RenderableType:
    """The report for `rich.print`: languages down, methods across, intervals beside or, where it is narrow, below.

    Args:
        report: what `collect` gave.
        by: also the averages by script, family or resource class.
    """
    return _Terminal(report, by)


@dataclass(frozen=True, slots=True)
class _Terminal:
    report: Report
    by: Kind | None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from rich.text import Text

        for task in self.report.tasks:
            yield Text(_printable(task.headline), style="bold")
            yield from _tables(task, self.by, console, options.max_width)
            if task.metrics:
                yield Text(_printable(further_title(task)))
                yield from _further_tables(task, console, options.max_width)
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


def _tables(task: TaskReport, by: Kind | None, console: Console, width: int) -> Iterator[Table]:
    """The table of a task, in parts where it is too wide."""
    found = list(lines(task, by))
    return _fitting(len(task.methods), lambda shown, beside: _table(task, found, shown, beside), console, width)


def _fitting(
    columns: int, build: Callable[[Sequence[int], bool], Table], console: Console, width: int
) -> Iterator[Table]:
    """One table with intervals beside the numbers or, if narrow, below; several tables if that does not fit either.

    Args:
        columns: how many there are.
        build: (numbers of the columns shown, whether intervals are beside) -> table.
        console: where it is printed.
        width: what it may take.
    """
    from rich.measure import Measurement

    def needs(table: Table) -> Measurement:
        return Measurement.get(console, console.options.update(max_width=10_000), table)

    everything: Sequence[int] = range(columns)
    table = build(everything, True)
    if needs(table).maximum <= width:
        yield table
        return
    left = everything
    while left:
        count = len(left)
        while count > 1 and needs(build(left[:count], False)).minimum > width:
            count -= 1
        yield build(left[:count], False)
        left = left[count:]


def _table(task: TaskReport, found: Sequence[Line], shown: Sequence[int], beside: bool) -> Table:
    """A table of some methods, whose cells are `45.1 [43.2, 47.0]`, on one line or two."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    cells = [
        [_value(line.entries[column], line.marks[column], line.kind == "average", beside) for column in shown]
        for line in found
    ]
    with_n = beside or len({task.rows(language.code) for language in task.languages}) > 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("Language", min_width=13)
    if with_n:
        table.add_column("n", justify="right")
    for place, column in enumerate(shown):
        # numbers are never broken, headings are
        label = task.methods[column].label
        parts = [part for row in cells for part in row[place].plain.splitlines()]
        longest = max(map(len, [*parts, *(word[:16] for word in label.split())]))
        table.add_column(Text(labels.plain(label)), justify="right", min_width=longest, overflow="fold")

    def add(name: Text, rows: str, values: Sequence[Text], end: bool = False) -> None:
        table.add_row(name, *([rows] if with_n else []), *values, end_section=end)

    for line, row, after in zip(found, cells, [*found[1:], None], strict=True):
        named = Text(labels.plain(line.name), style="bold" if line.kind == "average" else "")
        if line.kind == "language" and line.name != line.key:
            named.append(" " if beside else "\n").append(labels.plain(line.key), style="dim")
        rows = task.rows(line.key) if line.kind == "language" else ""
        add(named, rows, row, after is None or after.kind != line.kind)
    if task.chance is not None:
        add(Text("Chance"), "", [Text(labels.percent(task.chance), style="dim")] * len(shown))
    for name, values in training_rows(task):
        add(Text(name, style="dim"), "", [Text(labels.plain(values[column]), style="dim") for column in shown])
    return table


def _value(entry: Mapping[str, Any] | None, mark: str, bold: bool, beside: bool) -> Text:
    """`45.1* [43.2, 47.0]`, on one line or two."""
    from rich.text import Text

    if entry is None:
        return Text("–", style="dim")
    text = Text(labels.percent(entry["score"]), style="bold" if bold else "")
    text.append(mark, style="yellow")
    return text.append(" " if beside else "\n").append(labels.bracket(entry["interval"]), style="dim not bold")


def further_title(task: TaskReport) -> str:
    """What stands above the table of further metrics."""
    return f"Further metrics in %, {further.scope(task)}"


def _further_tables(task: TaskReport, console: Console, width: int) -> Iterator[Table]:
    """The further metrics: a row a method, a column a metric."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    found = further.columns(task)

    def build(shown: Sequence[int], beside: bool) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
        table.add_column("Method", min_width=13, overflow="fold")
        cells = [[_value(e, mark, False, beside) for e, mark in zip(found[c].entries, found[c].marks, strict=True)]
                 for c in shown]  # fmt: skip
        for column, values in zip(shown, cells, strict=True):
            parts = [part for value in values for part in value.plain.splitlines()]
            title = found[column].metric.title
            longest = max(map(len, [*parts, *(word[:16] for word in title.split())]))
            table.add_column(Text(labels.plain(title)), justify="right", min_width=longest, overflow="fold")
        for method, *values in zip(task.methods, *cells, strict=True):
            table.add_row(Text(labels.plain(method.label)), *values)
        return table

    return _fitting(len(found), build, console, width)


# ---- Markdown


def markdown(report: Report, by: Kind | None = None) -> str:
    """The report as Markdown: for each task its headline, table and statements. Ends with a line break.

    Args:
        report: what `collect` gave.
        by: also the averages by script, family or resource class.
    """
    blocks: list[str] = []
    for task in report.tasks:
        names = [_escape(method.label) for method in task.methods]
        rows = [["Language", "n", *names], ["---", *["---:"] * (len(names) + 1)]]
        for line in lines(task, by):
            average, language = line.kind == "average", line.kind == "language"
            cells = [_cell(e, mark, average) for e, mark in zip(line.entries, line.marks, strict=True)]
            code = f" `{line.key}`" if language and line.name != line.key else ""
            name = f"**{line.name}**" if average else _escape(line.name) + code
            rows.append([name, task.rows(line.key) if language else "", *cells])
        if task.chance is not None:
            rows.append(["Chance", "", *[labels.percent(task.chance)] * len(names)])
        rows += [[name, "", *map(_escape, values)] for name, values in training_rows(task)]
        blocks += [
            f"**{_escape(task.headline)}**",
            _joined(rows),
            *(_further(task) if task.metrics else ()),
            "\n".join(f"- {_escape(line)}" for line in (*task.claims, *footnotes(task), *task.notes)),
        ]
    blocks += [block for curve in report.curves for block in _curve(curve)]
    if not report.tasks:
        blocks.append(f"**{report.headline}**")
    if report.notes:
        blocks.append("\n".join(f"- {_escape(note)}" for note in report.notes))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _further(task: TaskReport) -> tuple[str, str]:
    """The heading and the table of the further metrics."""
    found = further.columns(task)
    rows = [["Method", *(_escape(column.metric.title) for column in found)], ["---", *["---:"] * len(found)]]
    for number, method in enumerate(task.methods):
        cells = [_cell(column.entries[number], column.marks[number]) for column in found]
        rows.append([_escape(method.label), *cells])
    return f"**{_escape(further_title(task))}**", _joined(rows)


def _joined(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _curve(curve: Curve) -> tuple[str, str]:
    """The heading and the table of a curve: a line a series, a column a value of the setting."""
    points = [point for series in curve.series for point in series.points]
    which = "without_english" if all(point.without_english for point in points) else "all"
    scope = "average without English" if which == "without_english" else "average"
    places = sorted({point.x for point in points})
    rows = [[_escape(curve.setting.capitalize()), *map(labels.amount, places)], ["---", *["---:"] * len(places)]]
    for series in curve.series:
        by_x = {point.x: getattr(point, which) for point in series.points}
        rows.append([_escape(series.label), *[_cell(by_x.get(x)) for x in places]])
    return f"**{_escape(curve.title)} by {_escape(curve.setting)}, {scope}**", _joined(rows)


def _cell(entry: Mapping[str, Any] | None, mark: str = "", bold: bool = False) -> str:
    if entry is None:
        return "–"
    value = labels.percent(entry["score"])
    return f"{f'**{value}**' if bold else value}{_escape(mark)} {_escape(labels.bracket(entry['interval']))}"


def _escape(text: str) -> str:
    """User text in Markdown: no markup, no HTML, no line break that would end a table row."""
    flat = labels.plain(text.replace(labels.NO_BREAK, " "))
    flat = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|~])", r"\\\1", flat)
