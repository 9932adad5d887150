"""`transfix task check`: what a task would ask, shown before anything is trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from transfix import data, tasks
from transfix.data import Example, Rows
from transfix.errors import Problem, ProblemsError, TransfixError
from transfix.tasks import Task
from transfix.tasks.row_check import row_notes
from transfix.tasks.token_check import Model, check_tokens

SHOWN = 3
"""Prompts shown of each language."""

SHOWN_PROBLEMS = 20
"""Rows of a language that are named for one kind of mistake; the others are counted."""


@dataclass(slots=True)
class Part:
    """The rows of one purpose and language.

    Attributes:
        purpose: `train` or `test`.
        code: the language.
        rows: how many; `skipped`: bad ones beside them.
        balance: answer -> how many rows have it: the classes of a choice, else how many answers are accepted.
        prompts: the first ones with their answers.
        tokens: of the prompts: median, 95th percentile, longest; None without a tokenizer.
        layout: what the file's form was found to be.
    """

    purpose: str
    code: str
    rows: int
    skipped: int
    balance: dict[str, int]
    prompts: list[tuple[str, str]]
    tokens: dict[str, int] | None = None
    layout: str = ""


@dataclass(slots=True)
class Findings:
    """Everything that `task check` prints.

    Attributes:
        task: the task.
        parts: by purpose and language.
        problems: what has to be put right; with any, the command's exit status is 2.
        notes: what is worth knowing.
    """

    task: Task
    parts: list[Part] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "task": self.task.name,
            "kind": self.task.kind,
            "template": self.task.template_name,
            "parts": [{name: getattr(part, name) for name in Part.__dataclass_fields__} for part in self.parts],
            "problems": [str(problem) for problem in self.problems],
            "notes": self.notes,
        }


def check(
    name: str, template: str | None = None, languages: Sequence[str] | None = None, model: Model | None = None
) -> Findings:
    """Reads a task's rows and puts them to no model.

    Args:
        name: a built-in task or a task file.
        template: one of its templates.
        languages: of the test rows; `None` is all.
        model: that shall be asked: its tokens are counted, and what it would make of the rows is checked. None: neither.

    Raises:
        TransfixError: there is no such task, or its file is wrong in itself.
    """
    task = tasks.get(name).with_options(template=template)
    found = Findings(task)
    seen: dict[tuple[str, ...], str] = {}
    for purpose, code, source, split in _places(task, languages):
        try:
            rows = data.read(task.benchmark, source, code, split, on_bad_rows="skip")
        except ProblemsError as error:
            found.problems += [Problem(f"{purpose} {code}", error.title), *error.problems]  # the title names the file
            continue
        except TransfixError as error:
            found.problems.append(Problem(f"{purpose} {code}", str(error)))
            continue
        found.problems += rows.problems
        if rows.skipped > len(rows.problems):
            found.problems.append(Problem(f"{purpose} {code}", f"{rows.skipped - len(rows.problems):,} more bad rows"))
        try:
            found.parts.append(_part(task, purpose, code, rows, model, found))
        except ProblemsError as error:
            found.problems += error.problems or [Problem(f"{purpose} {code}", error.title)]
        found.notes += row_notes(task, f"{purpose} {code}", rows)
        _leaks(task, purpose, code, rows.examples, seen, found)
    return found


def _places(task: Task, languages: Sequence[str] | None) -> list[tuple[str, str, object, str]]:
    """(purpose, language, source, split) of all rows of a task."""
    places: list[tuple[str, str, object, str]] = []
    if task.train_split is not None and (not task.sources or "train" in task.sources):
        code = "eng_Latn" if "eng_Latn" in task.languages or task.origin else task.languages[0]
        places.append(("train", code, task.source("train"), task.train_split))
    if not task.sources or "test" in task.sources:
        codes = languages or task.languages
        places += [("test", code, task.source("test"), task.default_split) for code in codes]
    return places


def _part(task: Task, purpose: str, code: str, rows: Rows, model: Model | None, found: Findings) -> Part:
    examples = rows.examples
    prompts = [task.prompt(row) for row in examples]
    labelled = [row for row in examples if row.label is not None]
    if task.kind == "choice":
        found.problems += _not_offered(task, labelled)
        balance = {name: sum(row.label == name for row in labelled) for name in task.classes}
        missing = [name for name, count in balance.items() if not count]
        if missing and purpose == "train":
            what = f"no row is {' or '.join(map(repr, missing))}: an adapter would never learn to say so"
            found.problems.append(Problem(f"{purpose} {code}", what))
        elif missing:
            found.notes.append(f"{purpose} {code}: no row is {' or '.join(map(repr, missing))}")
    else:
        counts = Counter(max(1, len(row.answers)) for row in labelled)
        balance = {f"{count} accepted answer{'s' * (count != 1)}": rows_ for count, rows_ in sorted(counts.items())}
    shown: list[tuple[str, str]] = [
        (prompt, task.target(row) if row.label is not None else "")
        for row, prompt in list(zip(examples, prompts, strict=True))[:SHOWN]
    ]
    part = Part(purpose, code, len(examples), rows.skipped, balance, shown, layout=rows.layout)
    in_marks = sum(any(len(t) > 1 and t[0] == t[-1] == '"' for t in row.fields.values()) for row in examples)
    if in_marks and task.origin and "tsv" in rows.layout:
        found.notes.append(
            f"{purpose} {code}: {in_marks:,} rows have texts in quotation marks, which are asked with them; if they "
            "belong to the form of the file, write `quoting: true` beside `files`"
        )
    if model is not None:
        part.tokens = _tokens(task, part, examples, model, found)
    return part


def _tokens(
    task: Task, part: Part, examples: Sequence[Example], model: Model, found: Findings
) -> dict[str, int] | None:
    made = check_tokens(task, f"{part.purpose} {part.code}", examples, model)
    found.problems += made.problems
    found.notes += [note for note in made.notes if note not in found.notes]
    lengths = made.lengths
    if not lengths:
        return None
    return {
        "median": lengths[len(lengths) // 2],
        "95 %": lengths[int(0.95 * (len(lengths) - 1))],
        "longest": lengths[-1],
    }


def _not_offered(task: Task, examples: Sequence[Example]) -> list[Problem]:
    """A problem for each of the first rows whose reference answer is not on offer, and one that counts the others."""
    bad = [row for row in examples if row.label is not None and not task.offered(row)[task.classes.index(row.label)]]
    what = "is the reference answer and not on offer: the row lacks a field that the answer needs, or its text is empty"
    problems = [Problem(f"{row.language} {row.id}", f"{row.label!r} {what}") for row in bad[:SHOWN_PROBLEMS]]
    if len(bad) > SHOWN_PROBLEMS:
        problems.append(Problem(bad[0].language, f"{len(bad) - SHOWN_PROBLEMS:,} more such rows"))
    return problems


def _leaks(
    task: Task,
    purpose: str,
    code: str,
    examples: Sequence[Example],
    seen: dict[tuple[str, ...], str],
    found: Findings,
) -> None:
    """Says if test rows are training rows: a row is its fields, whatever its optional columns say."""
    texts = [tuple(row.fields[name] for name in task.fields) for row in examples]
    if purpose == "train":
        seen.update(dict.fromkeys(texts, code))
        return
    if both := sum(text in seen for text in texts):
        found.problems.append(
            Problem(f"test {code}", f"{both:,} rows are training rows too: their score would say nothing")
        )
