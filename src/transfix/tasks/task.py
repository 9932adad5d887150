"""What a task asks and how an answer is judged: the benchmark's facts, and the prompt templates its rows are put into."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from transfix import languages as language_table
from transfix.data.benchmarks import Benchmark
from transfix.data.example import Example
from transfix.data.sources import AnySource, SnapshotSource
from transfix.errors import MissingFileError, Problem, ProblemsError, TransfixError
from transfix.tasks import templates
from transfix.tasks.judges import ENGLISH, JUDGES, Judge, Judgement
from transfix.tasks.templates import Filled

Kind = Literal["choice", "generation", "extraction"]
ANY = "default"
"""The key of what holds in every language that has no entry of its own."""

ANSWER = "answer"
"""In a target: the reference answer (for a choice the class, for a text the first accepted one)."""

T = TypeVar("T")
_NAME = re.compile(r"[a-z][a-z0-9_-]*")


class TaskError(ProblemsError):
    """A template, label words or a task file that do not fit."""


class UnknownTaskError(TransfixError):
    """There is no task of this name."""


class MissingTaskFileError(UnknownTaskError, MissingFileError):
    """There is no task file of this path."""


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """One way of putting a task's rows to a model: the prompt, what follows it, and how an answer is taken from that.

    Attributes:
        prompt: template by language (FLORES-style code, or `default`); the answer follows it directly.
        labels: for choices: language -> class -> template of the label word (or of the whole continuation).
        target: for texts: what follows the prompt in training and in exemplars, a template by language.
        scoring: `word` compares the one token of each label word; `likelihood` the summed log-probability of
            continuations of any length.
        judge: how a generated text is judged, a name in `judges.JUDGES`.
        stop: texts that end a generated answer.
        max_new_tokens: tokens that an answer may have.
        separator: what stands between exemplars, and between the last one and the question.
        prompt_language: for tables: `eng_Latn`, or `native` where prompts are in the row's language.
        needs: class -> optional field without which the class is not on offer (see `Task.offered`).
    """

    prompt: Mapping[str, str]
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    target: Mapping[str, str] = field(default_factory=dict)
    scoring: Literal["word", "likelihood"] = "word"
    judge: str = ""
    stop: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    max_new_tokens: int = 64
    separator: str = "\n\n"
    prompt_language: str = "eng_Latn"
    needs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exemplars:
    """Where the rows shown in a few-shot prompt come from, unless a specification says otherwise."""

    task: str
    split: str
    language: Literal["english", "target"] = "english"


@dataclass(frozen=True, slots=True)
class Task:
    """A benchmark's rows, put into one of several prompt templates.

    Attributes:
        name: `xnli`.
        kind: how an answer is made: `choice` (one of a few classes), `generation` (a text), `extraction` (a span of the
            row's context, generated).
        family: tasks of a family share fields and prompts: an adapter trained on one is evaluated on another.
        benchmark: what is fixed about the rows.
        train_split: the split to train on; `None` if the benchmark has none.
        default_split: the split to report.
        prompt_templates: by name; `default` is the project's own.
        template_name: the one in use.
        sources: where rows come from if a specification does not say: `train` and `test`.
        exemplars: of few-shot prompts.
        max_tokens: longer prompts are cut when training; generous for the benchmark.
        alternatives: class -> further label words, from which messages suggest ones that a tokenizer has as one token.
        origin: the file of a user's task, as she named it.

    Raises:
        TaskError: with everything that does not fit together.
    """

    name: str
    kind: Kind
    family: str
    benchmark: Benchmark
    train_split: str | None
    default_split: str
    prompt_templates: Mapping[str, PromptTemplate]
    template_name: str = "default"
    sources: Mapping[str, AnySource] = field(default_factory=dict)
    exemplars: Exemplars | None = None
    max_tokens: int = 256
    alternatives: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False, repr=False)
    origin: str | None = None

    def __post_init__(self) -> None:
        problems = [
            problem
            for name, prompt_template in self.prompt_templates.items()
            for problem in self._prompt_template_problems(name, prompt_template)
        ]
        if problems:
            raise TaskError(f"task {self.name} does not fit together", problems)

    @property
    def prompt_template(self) -> PromptTemplate:
        """The one in use."""
        return self.prompt_templates[self.template_name]

    @property
    def fields(self) -> tuple[str, ...]:
        """The texts every row has."""
        return self.benchmark.fields

    @property
    def classes(self) -> tuple[str, ...]:
        """The answers of a choice."""
        return self.benchmark.classes

    @property
    def languages(self) -> tuple[str, ...]:
        """FLORES-style codes."""
        return self.benchmark.languages

    @property
    def splits(self) -> tuple[str, ...]:
        """Canonical names."""
        return self.benchmark.splits

    @property
    def default_prompt(self) -> str:
        """The prompt of languages without one of their own."""
        return self.prompt_template.prompt.get(ANY, "")

    @property
    def verbaliser(self) -> Mapping[str, str]:
        """Class -> label word, in languages without label words of their own."""
        return self.prompt_template.labels.get(ANY, {})

    @property
    def judge(self) -> Judge:
        """What judges a generated text."""
        return JUDGES[self.prompt_template.judge]

    @property
    def metric(self) -> str:
        """The name of the main score."""
        return "accuracy" if self.kind == "choice" else self.judge.metrics[0]

    def source(self, purpose: Literal["train", "test"]) -> AnySource:
        """Where rows come from if a specification does not say."""
        return self.sources.get(purpose, SnapshotSource())

    def prompt(self, example: Example) -> Filled:
        """The prompt of one row. The answer follows it directly.

        Raises:
            TaskError: if the row lacks a field, or there is no prompt for its language.
        """
        self._has_fields(example)
        return templates.render(
            self._of(self.prompt_template.prompt, example, "prompt"), example.fields, self.benchmark.optional
        )

    def options(self, example: Example) -> list[Filled]:
        """The continuation that stands for each class, in the order of `classes`.

        Raises:
            TaskError: if there are no label words for the row's language.
        """
        words = self._of(self.prompt_template.labels, example, "label words")
        optional = self.benchmark.optional
        return [templates.render(words[name], example.fields, optional) for name in self.classes]

    def offered(self, example: Example) -> tuple[bool, ...]:
        """Which classes are on offer for a row, in the order of `classes`: only these may be compared.

        A class is not on offer if the row lacks the optional field that the prompt template says it `needs`, or one that its
        label template holds; or if its option is empty or blank for the row.

        Raises:
            TaskError: if there are no label words for the row's language.
        """
        words, optional = self._of(self.prompt_template.labels, example, "label words"), self.benchmark.optional
        absent = {name for name in optional if not example.fields.get(name, "").strip()}
        return tuple(
            self.prompt_template.needs.get(name) not in absent
            and not (absent & templates.names(words[name]))
            and bool(option.strip())
            for name, option in zip(self.classes, self.options(example), strict=True)
        )

    def target(self, example: Example) -> Filled:
        """What follows the prompt of a row with a reference answer.

        Raises:
            TaskError: if the row has no reference answer, or there is no target for its language.
        """
        if example.label is None:
            raise TaskError(f"task {self.name}", [Problem(example.id, "has no reference answer")])
        if self.kind == "choice":
            return self.options(example)[self.classes.index(example.label)]
        fields = {**example.fields, ANSWER: example.label}
        text = self._of(self.prompt_template.target, example, "target")
        return templates.render(text, fields, self.benchmark.optional)

    def judged(self, text: str, example: Example) -> Judgement:
        """What was found in a generated text, and how good it is."""
        if self.judge.by_prompt and self.prompt_template.prompt_language == ENGLISH:
            example = dataclasses.replace(example, language=ENGLISH)
        return self.judge.judge(text, example)

    def stops(self, example: Example) -> tuple[str, ...]:
        """The texts that end a generated answer to a row."""
        return self.prompt_template.stop.get(example.language, self.prompt_template.stop.get(ANY, ()))

    def with_options(self, template: str | None = None, verbaliser: Mapping[str, str] | None = None) -> Task:
        """The same task with another prompt template; the task itself if nothing else is asked for.

        Args:
            template: the name of one (`lm-eval`), or a prompt for all languages; `None` keeps the one in use.
            verbaliser: label words for all languages; `None` keeps them.

        Raises:
            TaskError: with everything that is wrong with both.
        """
        if template in (None, self.template_name) and verbaliser is None:
            return self
        if found := self.problems(template, verbaliser):
            raise TaskError(f"the options of task {self.name} do not fit it", found)
        name, chosen = self.template_name, self.prompt_template
        if template is not None and template in self.prompt_templates:
            name, chosen = template, self.prompt_templates[template]
        elif template is not None:
            name, chosen = "custom", dataclasses.replace(chosen, prompt={ANY: template})
        if verbaliser is not None:
            name, chosen = "custom", dataclasses.replace(chosen, labels={ANY: dict(verbaliser)})
        return dataclasses.replace(self, prompt_templates={**self.prompt_templates, name: chosen}, template_name=name)

    def problems(self, template: str | None = None, verbaliser: Mapping[str, str] | None = None) -> list[Problem]:
        """What is wrong with a template and a verbaliser here (with a tokenizer `check_verbaliser` finds more)."""
        found: list[Problem] = []
        if template is not None and template not in self.prompt_templates:
            if _NAME.fullmatch(template):
                found.append(
                    Problem("template", f"{self.name} has no template {template!r}", ", ".join(self.prompt_templates))
                )
            else:
                found += self._template_problems("template", template)
        if verbaliser is not None and self.kind != "choice":
            found.append(Problem("verbaliser", f"{self.name} is answered with a text: it has no label words"))
        elif verbaliser is not None:
            found += self._label_problems("verbaliser", verbaliser)
        return found

    def _has_fields(self, example: Example) -> None:
        missing = [name for name in self.fields if name not in example.fields]
        if missing:
            problems = [Problem(example.id, f"field {name!r} is missing", ", ".join(self.fields)) for name in missing]
            raise TaskError(f"task {self.name} cannot ask about this row", problems)

    def _of(self, by_language: Mapping[str, T], example: Example, what: str) -> T:
        if example.language in by_language:
            return by_language[example.language]
        if ANY in by_language:
            return by_language[ANY]
        problem = Problem(example.language, f"template {self.template_name!r} has no {what}", ", ".join(by_language))
        raise TaskError(f"task {self.name} cannot ask in this language", [problem])

    def _prompt_template_problems(self, name: str, prompt_template: PromptTemplate) -> list[Problem]:

        def where(*parts: str) -> str:
            # the default template and what holds in all languages stand at the top of a task file
            keys = [*([] if name == "default" else ["templates", name]), *(part for part in parts if part != ANY)]
            return ".".join(keys)

        found = [
            problem
            for language, text in prompt_template.prompt.items()
            for problem in self._template_problems(where("prompt", language), text, prompt_template.scoring == "word")
        ]
        if self.kind == "choice":
            if not prompt_template.labels:
                found.append(Problem(where("labels"), "are missing", "a label word for each class"))
            found += self._needs_problems(where("needs"), prompt_template.needs)
            for language, words in prompt_template.labels.items():
                found += self._label_problems(where("labels", language), words)
        else:
            for language, text in prompt_template.target.items():
                what = templates.problems(text, (*self.fields, *self.benchmark.optional, ANSWER))
                found += [Problem(where("target", language), line) for line in what]
            if prompt_template.judge not in JUDGES:
                found.append(Problem(where("judge"), f"{prompt_template.judge!r} is unknown", ", ".join(JUDGES)))
        codes = {
            code
            for by in (prompt_template.prompt, prompt_template.labels, prompt_template.target, prompt_template.stop)
            for code in by
            if code != ANY
        }
        for code in sorted(codes):
            try:
                language_table.get(code)
            except TransfixError as error:
                found.append(Problem(where(), str(error)))
        return found

    def _needs_problems(self, where: str, needs: Mapping[str, str]) -> list[Problem]:
        optional = self.benchmark.optional
        return [
            Problem(f"{where}.{name}", f"{name!r} is not a class of {self.name}", ", ".join(self.classes))
            for name in needs
            if name not in self.classes
        ] + [
            Problem(f"{where}.{name}", f"{column!r} is not optional", ", ".join(optional) or "name it in `optional`")
            for name, column in needs.items()
            if column not in optional
        ]

    def _template_problems(self, where: str, template: str, complete: bool = True) -> list[Problem]:
        fields = (*self.fields, *self.benchmark.optional)
        allowed = ", ".join(f"{{{{{name}}}}}" for name in fields)
        found = [Problem(where, what, allowed) for what in templates.problems(template, fields)]
        if found or not complete:
            return found
        used = templates.names(template)
        return [
            Problem(where, f"placeholder {{{{{name}}}}} is missing in {templates.quoted(template)}", allowed)
            for name in self.fields
            if name not in used
        ]

    def _label_problems(self, where: str, words: Mapping[str, str]) -> list[Problem]:
        allowed = ", ".join(self.classes)
        found = [
            Problem(f"{where}.{name}", f"{name!r} is not a class of {self.name}", allowed)
            for name in words
            if name not in self.classes
        ]
        found += [
            Problem(where, f"class {name!r} has no label word", f"a word for each of {allowed}")
            for name in self.classes
            if name not in words
        ]
        seen: dict[str, str] = {}
        for name, word in words.items():
            if name not in self.classes:
                continue
            if not word.strip():
                found.append(Problem(f"{where}.{name}", f"the label word {templates.quoted(word)} is empty"))
                continue
            fields = (*self.fields, *self.benchmark.optional)
            found += [Problem(f"{where}.{name}", what) for what in templates.problems(word, fields)]
            if word in seen:
                found.append(
                    Problem(f"{where}.{name}", f"{templates.quoted(word)} is the label word of {seen[word]!r} too")
                )
            seen.setdefault(word, name)
        return found


def by_language(said: Mapping[str, T]) -> dict[str, T]:
    """What a task file says for each language, by FLORES-style code; `default` holds for the others."""
    return {key if key == ANY else _code(key): entry for key, entry in said.items()}


def _code(name: str) -> str:
    try:
        return language_table.get(name).code
    except TransfixError:
        return name  # `Task` reports it
