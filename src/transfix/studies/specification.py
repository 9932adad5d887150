"""What a study is: a base specification and what is varied in it. One frozen object, one YAML file.

    name: rank
    base: {model: gemma-3-270m, train: {task: mnli, rows: 800}, evaluate: [{task: xnli}]}
    matrix:
      seed: [0, 1, 2]                       # a setting's path: its values
      method:                               # or a name of your own: what it stands for
        base: {adapter: base}
        lora: {adapter: {method: lora, rank: 4}, train.learning_rate: 0.002}

Everywhere in a study **settings** are a mapping of dotted paths of a run's specification to values (`train.rows: 800`). A
value replaces what is at its path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, Field, field_validator

from transfix.adapters.methods.registry import unregistered
from transfix.config import paths, suggestions, validation, yaml_dialect
from transfix.config.reading import read_mapping
from transfix.errors import Problem, ProblemsError, TransfixError
from transfix.runs.settings import Frozen
from transfix.runs.specification import RunSpec

Settings = dict[str, Any]
Axis = list[Any] | dict[str, Settings]
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
"""What can be the name of a directory, and of a part of one."""


def _name(text: str) -> str:
    if not re.fullmatch(NAME, text):
        raise ValueError(f"{text!r} is no name: use letters, digits and . _ + -, without spaces")
    return text


Name = Annotated[str, AfterValidator(_name)]

_AXIS = "a list of values, or a mapping of names to settings"


class Variation(Frozen):
    """Settings, and what is varied.

    Attributes:
        base: settings that hold for all runs; the whole content of a run's specification is such settings too.
        matrix: axis -> its values. A list holds the values of the setting whose path the axis is named after; a mapping
            names each value and says what it stands for: settings that vary together.
        exclude: combinations that are left out: axis -> a value, or a list of them (the names, for a mapping's axis).
    """

    base: Settings = Field(default={})
    matrix: dict[str, Axis] = Field(default={})
    exclude: tuple[dict[str, Any], ...] = ()

    @field_validator("matrix", mode="before")
    @classmethod
    def _axes(cls, matrix: object) -> object:
        found = []
        for name, axis in matrix.items() if isinstance(matrix, Mapping) else ():
            if not isinstance(axis, list | Mapping):
                found.append(Problem(f"matrix.{name}", f"{validation.show(axis)} is not allowed", _AXIS))
            elif not axis:
                found.append(Problem(f"matrix.{name}", "is empty", _AXIS))
            elif isinstance(axis, Mapping):
                found += [
                    Problem(f"matrix.{name}.{label}", f"{validation.show(settings)} is not allowed", "settings")
                    for label, settings in axis.items()
                    if not isinstance(settings, Mapping)
                ]
        if found:
            raise validation.FieldError(found)
        return matrix


class Group(Variation):
    """A part of a study with something of its own: one table, one ablation.

    Attributes:
        title: one line about it.
    """

    title: str | None = None


class StudySpec(Variation):
    """A study.

    Attributes:
        name: also the name of its directory.
        title: one line about it.
        groups: each adds its own settings, axes (one of the same name takes the place of the study's) and exclusions to
            the study's; without groups the study is one.
        scales: the same study in other sizes, each laid over the study as a group is; one of them is chosen when the
            study is loaded.
    """

    name: Name
    title: str | None = None
    groups: dict[Name, Group] = Field(default={})
    scales: dict[Name, Variation] = Field(default={})

    @classmethod
    def load(
        cls,
        source: str | Path | Mapping[str, Any],
        overrides: Iterable[str] = (),
        scale: str | None = None,
        models: Iterable[str] = (),
    ) -> Self:
        """Reads and checks a study; its runs are checked by `expansion.expand`.

        Args:
            source: a YAML file, or what such a file would hold.
            overrides: `path=value`: `base.train.rows=500`, `matrix.seed=[0]`, `train.rows=500` (of the base).
            scale: one of its scales; `None` is the first.
            models: the model, or the models, in place of the study's.

        Raises:
            ProblemsError: with every problem of the file and the overrides.
            TransfixError: the file is missing or not YAML.
        """
        data, name, problems = read_mapping(source, "the study", cls.model_fields, unregistered)
        if isinstance(source, str | Path):
            if "name" not in data and not re.fullmatch(NAME, stem := Path(source).stem):
                what = f"is missing, and the file's name {stem!r} cannot stand for it"
                problems.append(Problem("name", what, "letters, digits and . _ + -"))
            data.setdefault("name", Path(source).stem)
        if not problems and _well_formed(data):
            _choose_scale(data, scale, problems)
            _set_models(data, list(models))
            for setting in overrides:
                _override(data, setting, problems)
        study = validation.checked(cls, data, problems, _model_at)
        if problems or study is None:
            hint = _is_a_run(data)
            count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
            raise ProblemsError(f"{name} has {count}{hint}:", problems)
        return study

    def to_yaml(self) -> str:
        """The study as YAML; `load` reads it back as an equal object."""
        return yaml_dialect.dump(self.model_dump(mode="json", exclude_defaults=True))


def _is_a_run(data: Mapping[str, Any]) -> str:
    """A hint for someone who gave a run's specification."""
    return " (it looks like one run's specification: `transfix train` takes it)" if "adapter" in data else ""


def _well_formed(data: dict[str, Any]) -> bool:
    """Whether scales and overrides can be laid over a plain study; keys with nothing after them are taken out."""
    kinds = {"base": dict, "matrix": dict, "groups": dict, "scales": dict, "exclude": list}
    for key in [key for key in kinds if data.get(key) is None]:
        data.pop(key, None)
    return all(isinstance(data.get(key, kind()), kind) for key, kind in kinds.items())


def _choose_scale(data: dict[str, Any], wanted: str | None, problems: list[Problem]) -> None:
    """Lays one of the scales over a plain study, in place, and takes them all out."""
    scales = data.pop("scales", {})
    if wanted is not None and wanted not in scales:
        what = "there is no such scale" if scales else "the study has no scales"
        problems.append(Problem(f"--scale {wanted}", what, ", ".join(scales) or None))
        return
    for name, scale in scales.items():  # all are checked, the chosen one is used
        checked = validation.checked(Variation, scale, problems, within=f"scales.{name}")
        if checked is not None and name == (wanted or next(iter(scales))):
            for key in ("base", "matrix"):
                data[key] = {**data.get(key, {}), **getattr(checked, key)}
            data["exclude"] = [*data.get("exclude", ()), *checked.exclude]


def _set_models(data: dict[str, Any], models: list[str]) -> None:
    if not models:
        return
    matrix = data.setdefault("matrix", {})
    if len(models) == 1:
        matrix.pop("model", None)
        data.setdefault("base", {})["model"] = models[0]
    else:
        data["matrix"] = {"model": models, **{name: axis for name, axis in matrix.items() if name != "model"}}


def _override(data: dict[str, Any], setting: str, problems: list[Problem]) -> None:
    """Applies one `path=value` to a plain study, in place. Keys of `base` and `matrix` may have dots in them."""
    path, equals, text = setting.partition("=")
    keys = paths.keys_of(path.strip())
    if keys[0] in RunSpec.model_fields:
        keys = ["base", *keys]
    depth = 2 if keys[0] == "groups" and len(keys) > 3 else 0
    if not equals or not all(keys) or keys[depth] not in ("base", "matrix") or len(keys) == depth + 1:
        paths.override(data, setting, problems)
        return
    try:
        value, repeated = yaml_dialect.parse(text, f"--set {setting}")
    except TransfixError as error:
        problems.append(Problem(path, str(error)))
        return
    problems.extend(repeated)
    part: Any = data.get("groups", {}).get(keys[1]) if depth else data
    here: Any = part.setdefault(keys[depth], {}) if isinstance(part, dict) else None
    if not isinstance(here, dict):
        groups = ", ".join(data.get("groups", {}))
        problems.append(Problem(path, "there is no such part of the study", f"groups: {groups}" if groups else None))
        return
    name = ".".join(keys[depth + 1 :])
    value = yaml_dialect.plain(value, path, problems)
    if keys[depth] == "base" and (winner := _set_by_an_axis(data, name)):
        problems.append(Problem(path, f"an axis sets it in its runs, after the base: --set {winner}=..."))
        return
    axis = here.get(keys[depth + 1])
    if keys[depth] == "matrix" and isinstance(axis, dict) and len(keys) > depth + 2 and keys[depth + 2] in axis:
        label, within = keys[depth + 2], ".".join(keys[depth + 3 :])
        if not within:
            axis[label] = value
        elif isinstance(axis[label], dict):
            axis[label][within] = value
        else:
            problems.append(Problem(path, f"{label} holds {validation.show(axis[label])}", "settings"))
        return
    misspelt = name not in here and not (len(keys) == depth + 2 and name in RunSpec.model_fields)
    if keys[depth] == "matrix" and misspelt and not isinstance(value, list | dict):
        named, known = (
            (keys[depth + 2], axis) if isinstance(axis, dict) and len(keys) > depth + 2 else (keys[depth + 1], here)
        )
        what = f"{keys[depth + 1]} has no value {named!r}" if known is axis else f"there is no axis {named!r}"
        problems.append(Problem(path, f"{what}{suggestions.did_you_mean(named, known)}", ", ".join(map(str, known))))
        return
    if keys[depth] == "base":  # last: settings are applied in their order; an axis keeps its place
        here.pop(name, None)
    here[name] = value


def _set_by_an_axis(data: dict[str, Any], path: str) -> str | None:
    """Where a setting's value in the base would be replaced: the path of an axis, or of a setting within one."""
    for axis, values in data.get("matrix", {}).items():
        if axis == path:
            return f"matrix.{axis}"
        for label, settings in values.items() if isinstance(values, dict) else ():
            if isinstance(settings, dict) and path in settings:
                return f"matrix.{axis}.{label}.{path}"
    return None


def _model_at(path: validation.Path) -> type[BaseModel] | None:
    match path:
        case ():
            return StudySpec
        case ("groups", str()):
            return Group
        case ("scales", str()):
            return Variation
    return None
