"""The report for a paper and for other programs: LaTeX tables, and CSV with one line a task, method and language."""

from __future__ import annotations

import csv as writing
import io
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from transfix.report import further, labels
from transfix.report.contents import Kind, Report, TaskReport
from transfix.report.lines import MARKS, UNFINISHED, Line, against, lines
from transfix.report.tables import bracket_note, further_title, legend_notes, training_rows
from transfix.statistics.one_run import METRIC

# ---- CSV

COLUMNS = (
    *("task", "method", "model", "level", "key", "name", "script", "family", "resources", "calibration"),
    *("n", "score", "low", "high", "seeds", "sd"),
    *(f"{kind}_{what}" for kind in MARKS for what in ("difference", "low", "high", "p", "holm")),
    "missing",
)
"""`level` is language, average, or what languages are grouped by; `base_` and `lora_` are the differences to those;
`missing` are the codes of the languages that an average would be over, and is not.

After them come three columns a further metric: `metric_macro_f1`, `metric_macro_f1_low`, `metric_macro_f1_high`.
"""


def csv(report: Report, by: Kind | None = None) -> str:
    """The report as CSV: one line a task, method and language, and one for each average. Scores are shares from 0 to 1.

    Args:
        report: what `collect` gave.
        by: also the averages by script, family or resource class.
    """
    text = io.StringIO()
    names = dict.fromkeys(metric.name for task in report.tasks for metric in task.metrics)
    columns = (*COLUMNS, *(f"{METRIC}{name}{what}" for name in names for what in ("", "_low", "_high")))
    writer = writing.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for task in report.tasks:
        for line in lines(task, by):
            writer.writerows(
                {name: labels.cell(value) for name, value in row.items()} for row in _records(task, line, by)
            )
    return text.getvalue()


def _records(task: TaskReport, line: Line, by: Kind | None) -> Iterator[dict[str, Any]]:
    level = line.kind if line.kind != "group" else by
    language = labels.spoken(line.key) if line.kind == "language" else None
    for method, entry in zip(task.methods, line.entries, strict=True):
        if entry is None:
            continue
        record = {
            "task": task.name,
            "calibration": task.calibration,
            "method": method.label,
            "model": method.run.spec.get("model"),
            "level": level,
            "key": line.key,
            "name": line.name,
            "n": entry.get("n"),
            "score": entry["score"],
            "low": entry["interval"][0],
            "high": entry["interval"][1],
            "seeds": method.seeds,
            "sd": entry["sd"],
            "missing": " ".join(sorted(code for code in line.over if method.language(code) is None)),
        }
        if language:
            record |= {"script": language.script, "family": language.family, "resources": language.resources}
        if line.kind != "group":
            for kind in MARKS:
                record |= _compared(kind, against(task, method, kind, line.key))
            for metric in task.metrics:
                record |= _further(metric.name, further.entry(method, metric.name, line.key))
        yield record


def _compared(kind: str, found: Mapping[str, Any] | None) -> dict[str, Any]:
    if found is None:
        return {}
    return {
        f"{kind}_difference": found["difference"],
        f"{kind}_low": found["interval"][0],
        f"{kind}_high": found["interval"][1],
        f"{kind}_p": found["p"],
        f"{kind}_holm": found.get("holm"),
    }


def _further(name: str, found: Mapping[str, Any] | None) -> dict[str, Any]:
    if found is None:
        return {}
    low, high = found["interval"]
    return {f"{METRIC}{name}": found["score"], f"{METRIC}{name}_low": low, f"{METRIC}{name}_high": high}


# ---- LaTeX

PAGE = 45
"""Lines of a table beyond which it is broken over pages."""

FIT = 3
"""Methods beside each other that fit a column of text."""

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    labels.MINUS: "$-$",
    labels.NO_BREAK: "~",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "†": r"\textdagger{}",
    "°": r"$^{\circ}$",
    "[": "{[}",  # after \\ it would be an argument
    "]": "{]}",
} | {char: f"\\{char}" for char in "&%$#_{}"}

_RAISED = {"*": "*", "°": r"\circ", UNFINISHED: r"\dagger"}
END = r"\\"


def latex(report: Report, by: Kind | None = None) -> str:
    """The report as LaTeX, with booktabs: for each task a table of scores and one of its further metrics.

    Each is a `table`, or a `longtable` where it is longer than a page.

    The first line, a comment, says which packages the preamble needs.

    Args:
        report: what `collect` gave.
        by: also the averages by script, family or resource class.
    """
    head = r"% Needs in the preamble: \usepackage[T1]{fontenc} \usepackage{booktabs,longtable,graphicx}"
    tables = [text for task in report.tasks for text in (_table(task, by), _further_table(task)) if text]
    return "\n\n".join([head, *tables]) + "\n"


def _table(task: TaskReport, by: Kind | None) -> str:
    found = list(lines(task, by))
    head = ["Language", "$n$", *(escape(method.label) for method in task.methods)]
    body: list[str] = []
    for line, after in zip(found, [*found[1:], None], strict=True):
        n = escape(task.rows(line.key)) if line.kind == "language" else ""
        cells = [_cell(entry, mark) for entry, mark in zip(line.entries, line.marks, strict=True)]
        name = rf"\textbf{{{escape(line.name)}}}" if line.kind == "average" else escape(line.name)
        body.append(_row([name, n, *cells]))
        if after is None or after.kind != line.kind:
            body.append(r"\midrule")
    below = [] if task.chance is None else [("Chance", [labels.percent(task.chance)] * len(task.methods))]
    below += training_rows(task)
    body += [_row([escape(name), "", *map(escape, values)]) for name, values in below]
    if body[-1] == r"\midrule":
        body.pop()
    return _environment(task, "", _caption(task), head, body, long=len(found) > PAGE, wide=len(task.methods) > FIT)


def _further_table(task: TaskReport) -> str:
    """The further metrics: a row a method, a column a metric; empty if there are none."""
    found = further.columns(task)
    if not found:
        return ""
    head = ["Method", *(escape(column.metric.title) for column in found)]
    body = [
        _row([escape(method.label), *(_cell(column.entries[number], column.marks[number]) for column in found)])
        for number, method in enumerate(task.methods)
    ]
    title = further_title(task)
    signatures = [f"signature of {name}: {signature}" for name, signature in further.signatures(task)]
    caption = [f"{task.title}: {title[0].lower()}{title[1:]}", bracket_note(task).rstrip("."), *signatures]
    return _environment(task, "-metrics", caption, head, body, long=len(body) > PAGE, wide=len(found) > FIT)


def _row(cells: Sequence[str]) -> str:
    return f"{' & '.join(cells)} {END}"


def _environment(
    task: TaskReport,
    what: str,
    caption: Sequence[str],
    head: Sequence[str],
    body: Sequence[str],
    long: bool,
    wide: bool,
) -> str:
    """A table with a caption of some sentences.

    Args:
        task: what it is of, and so its label.
        what: the end of that label.
        caption: sentences.
        head: the names of the columns.
        body: the lines.
        long: whether it is longer than a page.
        wide: whether it is wider than a column of text.
    """
    columns = "l" + "r" * (len(head) - 1)
    said = escape(". ".join(caption) + ".")
    name = "".join(char if char.isascii() and char.isalnum() else "-" for char in task.name)
    label = f"tab:{name}{'-calibrated' if task.calibration else ''}{what}"
    top = [_row(head), r"\midrule"]
    if not long:
        begin = [r"\begin{table}", r"\centering", rf"\caption{{{said}}}", rf"\label{{{label}}}", r"\small"]
        begin += [r"\resizebox{\textwidth}{!}{%"] * wide
        end = [r"\bottomrule", r"\end{tabular}" + "}" * wide, r"\end{table}"]
        return "\n".join([*begin, rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *top, *body, *end])
    # one that goes over pages cannot be scaled
    begin = [rf"{{\{'scriptsize' if wide else 'small'}", rf"\begin{{longtable}}{{{columns}}}"]
    begin += [rf"\caption{{{said}}}\label{{{label}}}{END}", r"\toprule"]
    every = [*top, r"\endhead", r"\bottomrule", r"\endfoot"]
    return "\n".join([*begin, *every, *body, r"\end{longtable}}"])


def _caption(task: TaskReport) -> list[str]:
    """What a reader of the table must know, a sentence each."""
    chance = "" if task.chance is None else f", chance {labels.percent(task.chance)}"
    said = {setting.name: setting.value for setting in task.settings if setting.value}
    facts = [f"{name.lower()} {said[name]}" for name in ("Split", "Model") if name in said]
    first = f"{task.title}: {task.metric} in %, {task.rows()} rows a language{chance}"
    return [", ".join([first, *facts]), *(note.rstrip(".") for note in (bracket_note(task), *legend_notes(task)))]


def _cell(entry: Mapping[str, Any] | None, mark: str) -> str:
    """A number, its marks raised, and its interval in small."""
    if entry is None:
        return "--"
    raised = f"$^{{{' '.join(_RAISED[char] for char in mark)}}}$" if mark else ""
    return rf"{labels.percent(entry['score'])}{raised} {{\scriptsize {escape(labels.bracket(entry['interval']))}}}"


def escape(text: str) -> str:
    """User text in LaTeX: no command, and no character that pdflatex cannot set (it is named by its number)."""
    return "".join(_SPECIAL.get(char) or _set(char) for char in labels.plain(text.replace(labels.NO_BREAK, " ")))


def _set(char: str) -> str:
    if char.isascii():
        return char
    # letters with accents are in T1; what decomposes to a plain letter and marks is taken to be one
    if "LATIN" in unicodedata.name(char, "") and ord(char) < 0x180:
        return char
    return rf"\texttt{{U+{ord(char):04X}}}"
