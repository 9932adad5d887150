"""What a task asks and which answers it knows: the prompt's template, the classes and their label words."""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from transfix.data.example import Example
from transfix.errors import Problem, ProblemsError, TransfixError


class TaskError(ProblemsError):
    """A template or verbaliser that does not fit its task."""


class UnknownTaskError(TransfixError):
    """There is no task of this name."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task in which one of a few classes is chosen, by the probability of the class's label word after the prompt.

    Attributes:
        name: `xnli`; also the name of the benchmark its rows are loaded by.
        kind: how an answer is made: `choice`.
        family: tasks of a family share fields, classes and prompts: an adapter trained on one is evaluated on another.
        languages: FLORES-style codes.
        splits: canonical names.
        train_split: the split to train on; `None` if the benchmark has none.
        default_split: the split to report.
        fields: the texts of a row, which the template has to name.
        classes: the answers.
        template: the prompt, with a placeholder for every field (`{premise}`); it ends right before the label word.
        verbaliser: class -> label word, with the space that stands before it.
        alternatives: class -> further words, from which messages suggest ones that a tokenizer has as one token.

    Raises:
        TaskError: if the template's placeholders are not the fields, or the verbaliser's classes not the classes.
    """

    name: str
    kind: Literal["choice"]
    family: str
    languages: tuple[str, ...]
    splits: tuple[str, ...]
    train_split: str | None
    default_split: str
    fields: tuple[str, ...]
    classes: tuple[str, ...]
    template: str
    verbaliser: Mapping[str, str]
    alternatives: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        problems = self.problems(self.template, self.verbaliser)
        if problems:
            raise TaskError(f"the options of task {self.name} do not fit it", problems)

    def prompt(self, example: Example) -> str:
        """The prompt of one row. The label word follows it directly.

        Raises:
            TaskError: if the row lacks a field.
        """
        missing = [name for name in self.fields if name not in example.fields]
        if missing:
            problems = [Problem(example.id, f"field {name!r} is missing", ", ".join(self.fields)) for name in missing]
            raise TaskError(f"task {self.name} cannot ask about this row", problems)
        return self.template.format_map(example.fields)

    def with_options(self, template: str | None = None, verbaliser: Mapping[str, str] | None = None) -> Task:
        """The same task with another template or verbaliser; `None` keeps the task's own.

        Raises:
            TaskError: with everything that is wrong with both.
        """
        return dataclasses.replace(
            self,
            template=self.template if template is None else template,
            verbaliser=dict(self.verbaliser if verbaliser is None else verbaliser),
        )

    def problems(self, template: str | None = None, verbaliser: Mapping[str, str] | None = None) -> list[Problem]:
        """What is wrong with a template and a verbaliser here (with a tokenizer `check_verbaliser` finds more)."""
        found = [] if template is None else self._template_problems(template)
        return found if verbaliser is None else found + self._verbaliser_problems(verbaliser)

    def _template_problems(self, template: str) -> list[Problem]:
        allowed = ", ".join(f"{{{name}}}" for name in self.fields)
        try:
            parts = [part for part in string.Formatter().parse(template) if part[1] is not None]
        except ValueError as error:
            what = f"{template!r} is not a template: {error}; write {{{{ and }}}} for literal braces"
            return [Problem("template", what, allowed)]
        names = [str(name) for _, name, _, _ in parts]
        problems = [
            Problem("template", f"unknown placeholder {{{name}}} in {template!r}", allowed)
            for name in dict.fromkeys(names)
            if name not in self.fields
        ]
        problems += [
            Problem("template", f"{{{name}}} has a format or conversion in {template!r}", f"{{{name}}}")
            for _, name, spec, conversion in parts
            if name in self.fields and (spec or conversion)
        ]
        problems += [
            Problem("template", f"placeholder {{{name}}} is missing in {template!r}", allowed)
            for name in self.fields
            if name not in names
        ]
        return problems

    def _verbaliser_problems(self, verbaliser: Mapping[str, str]) -> list[Problem]:
        allowed = ", ".join(self.classes)
        problems = [
            Problem(f"verbaliser.{name}", f"{name!r} is not a class of {self.name}", allowed)
            for name in verbaliser
            if name not in self.classes
        ]
        problems += [
            Problem("verbaliser", f"class {name!r} has no label word", f"a word for each of {allowed}")
            for name in self.classes
            if name not in verbaliser
        ]
        problems += [
            Problem(f"verbaliser.{name}", f"the label word {word!r} is empty")
            for name, word in verbaliser.items()
            if name in self.classes and not word.strip()
        ]
        words: dict[str, str] = {}
        for name, word in verbaliser.items():
            if word in words and word.strip():
                problems.append(Problem(f"verbaliser.{name}", f"{word!r} is the label word of {words[word]!r} too"))
            words.setdefault(word, name)
        return problems
