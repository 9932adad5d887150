r"""A task from a YAML file: the built-in ones in `builtin/`, and a user's own.

    name: complaints
    kind: choice
    fields: [text]
    label: topic
    prompt: "{{text}}\nTopic:"
    labels: {billing: " billing", delivery: " delivery"}
    languages: [en, de, sw]
    data: {train: {files: train.csv}, test: {files: "test-{lang}.csv"}}

`TaskFile` is the file checked; `tasks_of` makes the tasks that it declares.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from transfix import languages as language_table
from transfix.data import benchmarks
from transfix.data.benchmarks import Benchmark
from transfix.data.sources import AnySource, DataSource, FilesSource
from transfix.errors import Problem, TransfixError
from transfix.tasks.task import Exemplars, Form, Kind, Task, TaskError, by_language

BUILTIN = Path(__file__).parent / "builtin"
SPLITS = ("train", "validation", "test")
_JUDGE = {"choice": "", "extraction": "spans", "generation": "text"}


def _tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Texts = str | dict[str, str]
Stops = (
    Annotated[tuple[str, ...], BeforeValidator(_tuple)] | dict[str, Annotated[tuple[str, ...], BeforeValidator(_tuple)]]
)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FormFile(_Frozen):
    """One form: see `task.Form`. Every text may be one for all languages, or a mapping language -> text."""

    prompt: Texts
    labels: dict[str, str] | dict[str, dict[str, str]] = {}
    target: Texts = " {{answer}}"
    scoring: Literal["word", "likelihood"] = "word"
    judge: str | None = None
    stop: Stops = ("\n",)
    max_new_tokens: Annotated[int, Field(ge=1)] = 64
    separator: str = "\n\n"
    prompt_language: str = "english"


class BuiltinTask(_Frozen):
    """What differs between the tasks of one built-in file."""

    train_split: str | None = None
    test_split: str


class DataOf(_Frozen):
    """Where a user's rows lie."""

    train: DataSource | None = None
    validation: DataSource | None = None
    test: DataSource | None = None


class TaskFile(FormFile):
    """The content of a task file.

    Attributes:
        name: of a user's task; a built-in file has `tasks` instead.
        kind: `choice`, `extraction` or `generation`.
        description: for people.
        fields: the texts of a row, by the names of their columns.
        optional: texts that a row may have.
        label: the column with the gold answer.
        answer: what a gold answer is: `class`, `texts` (one text or a list) or `number`.
        languages: of the test rows.
        data: where rows lie; paths start at the file's own directory.
        templates: further forms by name; what they leave out is that of the default form.
        exemplars: of few-shot prompts.
        max_tokens: longer prompts lose their middle when training, and are counted.
        alternatives: further label words, for suggestions.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] | None = None
    tasks: dict[str, BuiltinTask] | None = None
    kind: Kind
    description: str = ""
    fields: Annotated[tuple[str, ...], Field(min_length=1)]
    optional: tuple[str, ...] = ()
    label: str = "label"
    answer: Literal["class", "texts", "number"] | None = None
    languages: tuple[str, ...] = ()
    data: DataOf = DataOf()
    templates: dict[str, dict[str, Any]] = {}
    exemplars: dict[str, Any] | None = None
    max_tokens: Annotated[int, Field(ge=8)] = 512
    alternatives: dict[str, tuple[str, ...]] = {}

    @model_validator(mode="after")
    def _one_or_the_other(self) -> TaskFile:
        if (self.name is None) == (self.tasks is None):
            raise ValueError("name is missing: call the task something")
        if self.kind == "choice" and not self.labels:
            raise ValueError("labels are missing: a choice needs a label word for each class")
        if self.kind != "choice" and self.labels:
            raise ValueError(f"labels are for choices, kind is {self.kind}")
        if self.name is not None and self.data.test is None and self.data.train is None:
            raise ValueError("data is missing: say where rows lie, e.g. data: {test: {files: 'test-{lang}.csv'}}")
        return self


def read(path: Path) -> TaskFile:
    """A task file, checked by itself.

    Raises:
        TaskError: with everything that is wrong with it.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TaskError(f"{path} cannot be read: {error.strerror or error}", []) from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise TaskError(f"{path} is not YAML: {' '.join(str(error).split())}", []) from error
    if not isinstance(content, Mapping):
        raise TaskError(f"{path} holds no mapping; a task file has the keys {', '.join(TaskFile.model_fields)}", [])
    try:
        return TaskFile.model_validate(content)
    except ValidationError as error:
        raise TaskError(f"{path} has problems:", [_problem(found) for found in error.errors()]) from error


def _problem(found: Any) -> Problem:
    where = ".".join(str(part) for part in found["loc"] if not str(part).startswith(("function-", "tagged-", "dict[")))
    what = found["msg"].removeprefix("Value error, ")
    if found["type"] == "extra_forbidden":
        return Problem(where, "is no key of a task file", ", ".join(TaskFile.model_fields))
    if found["type"] == "missing":
        return Problem(where, "is missing")
    if found["loc"]:
        what = f"{what}, got {found['input']!r}"[:300]
    return Problem(where, what)


def tasks_of(file: TaskFile, path: Path) -> dict[str, Task]:
    """The tasks that a file declares, by name.

    Raises:
        TaskError: with everything that does not fit together.
    """
    forms = _forms(file, path)
    if file.tasks is not None:
        family, shown = path.stem, None
        made = {name: (benchmarks.get(name), facts.train_split, facts.test_split) for name, facts in file.tasks.items()}
        sources: dict[str, AnySource] = {}
    else:
        assert file.name is not None
        family, shown = f"{file.name} ({path})", str(path)
        sources = {name: _beside(source, path) for name, source in file.data if source is not None}
        train = "train" if "train" in sources else None
        made = {file.name: (_benchmark(file, path), train, "test" if "test" in sources else "train")}
    exemplars = None if file.exemplars is None else Exemplars(**file.exemplars)
    return {
        name: Task(
            name=name,
            kind=file.kind,
            family=family,
            benchmark=benchmark,
            train_split=train_split,
            default_split=test_split,
            forms=forms,
            sources=sources,
            exemplars=exemplars,
            max_tokens=file.max_tokens,
            alternatives=file.alternatives,
            origin=shown,
        )
        for name, (benchmark, train_split, test_split) in made.items()
    }


def _forms(file: TaskFile, path: Path) -> dict[str, Form]:
    own = {name: getattr(file, name) for name in FormFile.model_fields}
    forms = {"default": _form(FormFile(**own), file)}
    for name, changes in file.templates.items():
        try:
            forms[name] = _form(FormFile(**{**own, **changes}), file)
        except ValidationError as error:
            found = [_problem(problem) for problem in error.errors()]
            raise TaskError(
                f"{path} has problems:",
                [Problem(f"templates.{name}.{item.where}", item.what, item.allowed) for item in found],
            ) from error
    return forms


def _form(form: FormFile, file: TaskFile) -> Form:
    labels: Any = form.labels
    if labels and all(isinstance(word, str) for word in labels.values()):
        labels = {"default": labels}
    stop: Any = by_language(form.stop)
    prompt: Any = by_language(form.prompt)
    target: Any = by_language(form.target)
    if file.kind == "choice":
        target, stop = {}, {}
    english = form.prompt_language == "english"
    return Form(
        prompt=prompt,
        labels=by_language(labels) if labels else {},  # type: ignore[arg-type]
        target=target,
        scoring=form.scoring,
        judge=form.judge or ("number" if file.answer == "number" else _JUDGE[file.kind])
        if file.kind != "choice"
        else "",
        stop=stop,
        max_new_tokens=form.max_new_tokens,
        separator=form.separator,
        prompt_language="eng_Latn" if english else form.prompt_language,
    )


def _benchmark(file: TaskFile, path: Path) -> Benchmark:
    assert file.name is not None
    problems: list[Problem] = []
    codes: list[str] = []
    for name in file.languages or ("eng_Latn",):
        try:
            codes.append(language_table.get(name).code)
        except TransfixError as error:
            problems.append(Problem("languages", str(error)))
    if problems:
        raise TaskError(f"{path} has problems:", problems)
    classes: tuple[str, ...] = ()
    if file.kind == "choice":
        first: Any = next(iter(file.labels.values()))
        classes = tuple(file.labels if isinstance(first, str) else first)
    columns = {name: (name,) for name in (*file.fields, *file.optional)}
    gold = file.answer or ("class" if file.kind == "choice" else "texts")
    return Benchmark(
        name=file.name,
        fields=file.fields,
        optional=file.optional,
        classes=classes,
        label_aliases={},
        columns={**columns, "label": (file.label,)},
        splits=SPLITS,
        gold=gold,
        languages_given=tuple(dict.fromkeys(codes)),
    )


def _beside(source: AnySource, path: Path) -> AnySource:
    """A source whose path starts at the task file's directory."""
    if isinstance(source, FilesSource) and not Path(source.files).expanduser().is_absolute():
        return source.model_copy(update={"files": str(path.parent / source.files)})
    return source
