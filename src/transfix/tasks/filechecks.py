"""What does not fit together in a task file although every value is of the right type."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transfix import languages as language_table
from transfix.config import places
from transfix.data import benchmarks
from transfix.data.benchmarks import LABEL
from transfix.errors import Problem, TransfixError
from transfix.languages import spellings
from transfix.tasks import templates
from transfix.tasks.task import ANSWER
from transfix.tasks.taskfile import TaskFile, TemplateFields

SPLITS = ("train", "validation", "test")
NUMBER_JUDGES = ("number", "harness_number")
PROMPT_LANGUAGES = "english, native (the row's own), or a language"


def problems(file: TaskFile, path: Path) -> list[Problem]:
    """Everything that does not fit together; what templates and label words have wrong is found by `Task`.

    Args:
        file: its content, each value checked by itself.
        path: where it lies; another task file that it names is looked for beside it.
    """
    if file.tasks is not None:
        return []
    return [
        *_field_problems(file),
        *_answer_problems("", file, file),
        *(problem for name, said in file.templates.items() for problem in _template_problems(name, said, file)),
        *_language_problems("prompt_language", file),
        *(
            Problem(f"languages[{index}]", what)
            for index, name in enumerate(file.languages)
            if (what := _unknown(name))
        ),
        *(Problem("languages", f"{what}: name one of them") for what in spellings.conflicts(file.languages)),
        *_repeated_keys("", file),
        *(found for name, said in file.templates.items() for found in _repeated_keys(f"templates.{name}.", said)),
        *_exemplar_problems(file, path),
    ]


def _repeated_keys(where: str, said: TemplateFields) -> list[Problem]:
    """Texts that are given twice for one language, by two of its names."""
    found: list[Problem] = []
    for key in ("prompt", "labels", "target", "stop"):
        keys: dict[str, list[str]] = {}
        for name in getattr(said, key):
            if (known := spellings.spelling(name)) is not None:
                keys.setdefault(known.language.code, []).append(name)
        found += [
            Problem(f"{where}{key}", f"{' and '.join(names)} are one language ({code}): say it once")
            for code, names in keys.items()
            if len(names) > 1
        ]
    return found


def _field_problems(file: TaskFile) -> list[Problem]:
    found: list[Problem] = []
    for key, names in (("fields", file.fields), ("optional", file.optional)):
        found += [Problem(key, f"{name!r} is given twice") for name in _repeated(names)]
        for name in dict.fromkeys(names):
            if key == "optional" and name in file.fields:
                found.append(Problem(key, f"{name!r} is one of the fields, which every row has: leave it out here"))
            if name == file.label:
                found.append(Problem(key, f"{name!r} is the label's column: the prompt would hold the answer"))
            elif name == LABEL or (name == ANSWER and file.kind != "choice"):
                what = f"{name!r} means the reference answer here: name the field otherwise"
                found.append(Problem(key, f"{what}, and its column with columns: {{NAME: {name}}} in data"))
            if not templates.can_be_placeholder(name):
                what = f"no template can name {name!r}: a field's name is a plain identifier and no word of Jinja"
                found.append(Problem(key, f"{what}; call it otherwise, with columns: {{NAME: {name!r}}} in data"))
    return found


def _repeated(names: Sequence[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]


def _answer_problems(where: str, said: TemplateFields, file: TaskFile) -> list[Problem]:
    answer = file.answer or ("class" if file.kind == "choice" else "texts")
    found: list[Problem] = []
    if not where and (answer == "class") != (file.kind == "choice"):
        found.append(Problem("answer", f"{answer} does not go with kind {file.kind}"))
    if file.kind == "choice" and said.judge is not None:
        found.append(Problem(f"{where}judge", "is for written answers: a choice is right or wrong"))
    elif said.judge in NUMBER_JUDGES and answer == "texts":
        what = f"{said.judge} compares numbers, and the answers are texts: set answer: number"
        found.append(Problem(f"{where}judge", what))
    return found


def _template_problems(name: str, said: TemplateFields, file: TaskFile) -> list[Problem]:
    where = f"templates.{name}"
    if name == "default":
        return [
            Problem(where, "the default template is what the file itself says: change it there, or name this otherwise")
        ]
    found = _language_problems(f"{where}.prompt_language", said)
    if "labels" in said.model_fields_set and file.kind != "choice":
        found.append(Problem(f"{where}.labels", f"are for choices, kind is {file.kind}"))
    return found + _answer_problems(f"{where}.", said, file)


def _language_problems(where: str, said: TemplateFields) -> list[Problem]:
    name = said.prompt_language
    if name in ("english", "native") or not _unknown(name):
        return []
    return [Problem(where, f"unknown language {name!r}", PROMPT_LANGUAGES)]


def _unknown(name: str) -> str | None:
    try:
        language_table.get(name)
    except TransfixError as error:
        return "; ".join(str(error).splitlines())
    return None


def _exemplar_problems(file: TaskFile, path: Path) -> list[Problem]:
    wanted = file.exemplars
    if wanted is None:
        return []
    splits: tuple[str, ...] = SPLITS
    if wanted.task in benchmarks.names():
        splits = benchmarks.get(wanted.task).splits
    elif wanted.task != file.name:
        is_file = wanted.task.endswith((".yaml", ".yml"))
        if not is_file or places.kind(exemplar_file(wanted.task, path)) != "file":
            what = f"there is no {'task file' if is_file else 'task'} {wanted.task!r}"
            what += f" in {path.parent}" if is_file else ""
            allowed = f"{file.name} (this one), {', '.join(benchmarks.names())}, or the path of a task file"
            return [Problem("exemplars.task", what, allowed)]
    if wanted.split not in splits:
        return [Problem("exemplars.split", f"{wanted.task} has no split {wanted.split!r}", ", ".join(splits))]
    return []


def exemplar_file(name: str, path: Path) -> Path:
    """The task file that the exemplars of the one at `path` are taken from."""
    return path.parent / places.expanded(name)
