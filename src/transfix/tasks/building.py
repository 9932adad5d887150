"""Makes the tasks that a task file declares."""

from __future__ import annotations

from pathlib import Path

from transfix import languages as language_table
from transfix.data import benchmarks
from transfix.data.benchmarks import Benchmark
from transfix.data.sources import AnySource, FilesSource
from transfix.errors import ProblemsError, TransfixError
from transfix.tasks import filechecks
from transfix.tasks.filechecks import SPLITS
from transfix.tasks.task import Exemplars, PromptTemplate, Task, TaskError, by_language
from transfix.tasks.taskfile import TaskFile, TemplateFields

_JUDGE = {"choice": "", "extraction": "spans", "generation": "text"}


def tasks_of(file: TaskFile, path: Path) -> dict[str, Task]:
    """The tasks that a file declares, by name.

    Raises:
        TaskError: with everything that does not fit together.
    """
    problems = filechecks.problems(file, path)
    made: dict[str, Task] = {}
    try:
        made = _made(file, path)
    except ProblemsError as error:
        problems += error.problems
    if problems:
        raise TaskError(f"{path} has problems:", list(dict.fromkeys(problems)))
    return made


def _made(file: TaskFile, path: Path) -> dict[str, Task]:
    if file.tasks is not None:
        family, shown = path.stem, None
        facts = {
            name: (benchmarks.get(name), splits.train_split, splits.test_split) for name, splits in file.tasks.items()
        }
        sources: dict[str, AnySource] = {}
    else:
        assert file.name is not None
        family, shown = f"{file.name} ({path})", str(path)
        sources = {name: _beside(source, path) for name, source in file.data if source is not None}
        train = "train" if "train" in sources else None
        facts = {file.name: (_benchmark(file), train, "test" if "test" in sources else "train")}
    prompt_templates = _prompt_templates(file)
    return {
        name: Task(
            name=name,
            kind=file.kind,
            family=family,
            benchmark=benchmark,
            train_split=train_split,
            default_split=test_split,
            prompt_templates=prompt_templates,
            sources=sources,
            exemplars=_exemplars(file, path),
            max_tokens=file.max_tokens,
            alternatives=file.alternatives,
            origin=shown,
        )
        for name, (benchmark, train_split, test_split) in facts.items()
    }


def _exemplars(file: TaskFile, path: Path) -> Exemplars | None:
    wanted = file.exemplars
    if wanted is None:
        return None
    task = wanted.task
    if task == file.name:
        task = str(path)
    elif task.endswith((".yaml", ".yml")):
        task = str(filechecks.exemplar_file(task, path))
    return Exemplars(task, wanted.split, wanted.language)


def _prompt_templates(file: TaskFile) -> dict[str, PromptTemplate]:
    own = {name: getattr(file, name) for name in TemplateFields.model_fields}
    found = {"default": _prompt_template(TemplateFields.model_construct(**own), file)}
    for name, changes in file.templates.items():
        if name != "default":
            changed = {key: getattr(changes, key) for key in changes.model_fields_set}
            found[name] = _prompt_template(TemplateFields.model_construct(**{**own, **changed}), file)
    return found


def _prompt_template(said: TemplateFields, file: TaskFile) -> PromptTemplate:
    is_choice = file.kind == "choice"
    judge = said.judge or ("number" if file.answer == "number" else _JUDGE[file.kind])
    return PromptTemplate(
        prompt=by_language(said.prompt),
        labels=by_language(said.labels),
        target={} if is_choice else by_language(said.target),
        scoring=said.scoring,
        judge="" if is_choice else judge,
        stop={} if is_choice else by_language(said.stop),
        max_new_tokens=said.max_new_tokens,
        separator=said.separator,
        prompt_language=_prompt_language(said.prompt_language),
        needs=said.needs,
    )


def _prompt_language(name: str) -> str:
    """The code of the language of the prompts; `native` and what is unknown (see `filechecks`) as it is."""
    try:
        return language_table.get(name).code if name != "native" else name
    except TransfixError:
        return name


def _benchmark(file: TaskFile) -> Benchmark:
    assert file.name is not None
    written: dict[str, str] = {}
    for name in file.languages:
        try:
            written.setdefault(language_table.get(name).code, name)
        except TransfixError:
            continue  # `filechecks` reports it
    is_choice = file.kind == "choice"
    columns = {name: (name,) for name in (*file.fields, *file.optional)}
    return Benchmark(
        name=file.name,
        fields=tuple(dict.fromkeys(file.fields)),
        optional=file.optional,
        classes=tuple(next(iter(file.labels.values()))) if is_choice else (),
        label_aliases={},
        columns={**columns, "label": (file.label,)},
        splits=SPLITS,
        reference="class" if is_choice else "number" if file.answer == "number" else "texts",
        languages_given=tuple(written) or ("eng_Latn",),
        written=written,
        numbered_labels=False,
        quoted_tsv=None,
    )


def _beside(source: AnySource, path: Path) -> AnySource:
    """A source whose path starts at the task file's directory."""
    if isinstance(source, FilesSource) and not source.files.startswith(("/", "~")):
        return source.model_copy(update={"files": str(path.parent / source.files)})
    return source
