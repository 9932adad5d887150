r"""A task from a YAML file: the built-in ones in `builtin/`, and a user's own.

    name: complaints
    kind: choice
    fields: [text]
    label: topic
    prompt: "{{text}}\nTopic:"
    labels: {billing: " billing", delivery: " delivery"}
    languages: [en, de, sw]
    data: {train: {files: train.csv}, test: {files: "test-{lang}.csv"}}

`TaskFile` is the file, each value checked by itself; `filechecks` finds what does not fit together, `building` makes the
tasks that it declares.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from transfix.config import validation, yaml_dialect
from transfix.data.sources import DataSource, FilesSource, HubSource
from transfix.errors import Problem, TransfixError
from transfix.tasks.task import ANY, Kind, TaskError

BUILTIN = Path(__file__).parent / "builtin"


def _listed(value: Any) -> Any:
    """One text as a list of one."""
    return [value] if isinstance(value, str) else value


def _for_all(value: Any) -> Any:
    """What is said for all languages as a mapping with that entry only."""
    return value if isinstance(value, Mapping) else {ANY: value} if isinstance(value, str | list | tuple) else value


def _words(value: Any) -> Any:
    """Label words for all languages: a mapping of texts; words by language: a mapping of mappings."""
    is_flat = isinstance(value, Mapping) and not any(isinstance(entry, Mapping) for entry in value.values())
    return {ANY: value} if is_flat and value else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Texts = Annotated[dict[str, str], BeforeValidator(_for_all)]
Labels = Annotated[dict[str, dict[str, str]], BeforeValidator(_words)]
Stop = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_listed)]
Stops = Annotated[dict[str, Stop], BeforeValidator(_for_all)]
TEXT = "a text, or a mapping from language to text"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TemplateFields(_Frozen):
    """One prompt template: see `task.PromptTemplate`.

    Every text may be one for all languages, or a mapping language -> text.
    """

    prompt: Annotated[Texts, Field(description=TEXT)]
    labels: Annotated[Labels, Field(description="a mapping from class to label word, or from language to such")] = {}
    target: Annotated[Texts, Field(description=TEXT)] = {ANY: " {{answer}}"}
    scoring: Literal["word", "likelihood"] = "word"
    judge: str | None = None
    stop: Annotated[Stops, Field(description="texts, none of them empty, or a mapping from language to texts")] = {
        ANY: ("\n",)
    }
    max_new_tokens: Annotated[int, Field(ge=1)] = 64
    separator: str = "\n\n"
    prompt_language: str = "english"
    needs: Annotated[dict[str, str], Field(description="a mapping from class to optional field")] = {}


class TemplateFile(TemplateFields):
    """A further prompt template: what it leaves out is that of the default one."""

    prompt: Annotated[Texts, Field(description=TEXT)] = {}


class ExemplarsFile(_Frozen):
    """Where the rows of few-shot prompts come from: see `task.Exemplars`."""

    task: str
    split: str
    language: Literal["english", "target"] = "english"


class BuiltinTask(_Frozen):
    """What differs between the tasks of one built-in file."""

    train_split: str | None = None
    test_split: str


class DataOf(_Frozen):
    """Where a user's rows lie."""

    train: DataSource | None = None
    validation: DataSource | None = None
    test: DataSource | None = None


class TaskFile(TemplateFields):
    """The content of a task file.

    Attributes:
        name: of a user's task (letters, digits, `.`, `_` and `-`); a built-in file has `tasks` instead.
        kind: `choice`, `extraction` or `generation`.
        description: for people.
        fields: the texts of a row, by the names of their columns.
        optional: texts that a row may have.
        label: the column with the reference answer.
        answer: what a reference answer is: `class`, `texts` (one text or a list) or `number`.
        languages: of the test rows.
        data: where rows lie; paths start at the file's own directory.
        templates: further prompt templates by name; what they leave out is that of the default one.
        exemplars: of few-shot prompts.
        max_tokens: longer prompts lose their middle when training, and are counted.
        alternatives: further label words, for suggestions.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] | None = None
    tasks: dict[str, BuiltinTask] | None = None
    kind: Kind
    description: str = ""
    fields: Annotated[Names, Field(min_length=1, description="names of columns, at least one")]
    optional: Annotated[Names, Field(description="names of columns")] = ()
    label: Annotated[str, Field(min_length=1)] = "label"
    answer: Literal["class", "texts", "number"] | None = None
    languages: Annotated[Names, Field(description="names or codes of languages")] = ()
    data: DataOf = DataOf()
    templates: dict[str, TemplateFile] = {}
    exemplars: ExemplarsFile | None = None
    max_tokens: Annotated[int, Field(ge=8)] = 512
    alternatives: dict[str, Names] = {}

    @model_validator(mode="after")
    def _is_whole(self) -> TaskFile:
        found: list[Problem] = []
        if self.name is None and self.tasks is None:
            found.append(Problem("name", "is missing: call the task something"))
        if self.name is not None and self.tasks is not None:
            found.append(Problem("tasks", "is for the built-in files: leave it out"))
        if self.kind == "choice" and not self.labels:
            found.append(Problem("labels", "are missing: a choice needs a label word for each class"))
        if self.kind != "choice" and self.labels:
            found.append(Problem("labels", f"are for choices, kind is {self.kind}"))
        if self.name is not None and self.data.test is None and self.data.train is None:
            what = "is missing: say where rows lie, e.g. data: {test: {files: 'test-{lang}.csv'}}"
            found.append(Problem("data", what))
        if found:
            raise validation.FieldError(found)
        return self


def read(path: Path) -> TaskFile:
    """A task file, each value checked by itself.

    Raises:
        TaskError: with everything that is wrong with it.
    """
    try:
        content, problems = yaml_dialect.read(path)
    except TransfixError as error:
        raise TaskError(str(error), []) from error
    if not isinstance(content, Mapping):
        raise TaskError(f"{path} holds no mapping; a task file has the keys {', '.join(TaskFile.model_fields)}", [])
    given = yaml_dialect.plain(content, "", problems)

    def model_at(where: validation.Path) -> type[BaseModel] | None:
        return _model_at(where, given)

    problems += validation.boolean_problems(given, model_at)
    file = validation.checked(TaskFile, given, problems, model_at)
    if problems or file is None:
        raise TaskError(f"{path} has problems:", problems)
    return file


def _model_at(where: validation.Path, given: Mapping[str, Any]) -> type[BaseModel] | None:
    """The model that governs the mapping at a path of a task file."""
    match where:
        case ():
            return TaskFile
        case ("data",):
            return DataOf
        case ("data", str(purpose)):
            source = given["data"][purpose]
            return HubSource if "hub" in source else FilesSource if "files" in source else None
        case ("exemplars",):
            return ExemplarsFile
        case ("templates", str()):
            return TemplateFile
        case ("tasks", str()):
            return BuiltinTask
    return None
