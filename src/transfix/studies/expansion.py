"""From a study to its runs, in an order that is always the same.

Groups in the order of the file; in a group the first axis varies slowest. The settings of a run are put onto each other in
this order: the study's base, the group's base, then the value of each axis. Then

- a mapping `{share: 30/32}` where layers are counted becomes that share of the model's layers;
- a run that trains nothing (`base`) leaves out `train` and `seed`: all its seeds are one run;
- combinations that come to the same run are one run, which is measured in every way they ask for.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from transfix.adapters.methods import METHODS, Part
from transfix.adapters.methods.registry import asked, titled
from transfix.config import limits, paths, suggestions, validation, yaml_dialect
from transfix.errors import Problem, ProblemsError, TransfixError
from transfix.runs.specification import RunSpec, as_parts
from transfix.runs.specification import expand as write_out
from transfix.studies.merging import merged
from transfix.studies.specification import Axis, Group, StudySpec

SHOWN = 30
"""Problems that are listed; the others are counted."""

Setting = tuple[str, Any, str]
"""A dotted path, its value, and where in the study it stands."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination of a study.

    Attributes:
        group: its group's name; the study's where there are no groups.
        varied: axis -> the label of its value.
        spec: the run it comes to.
    """

    group: str
    varied: Mapping[str, str]
    spec: RunSpec


@dataclass(frozen=True, slots=True)
class StudyRun:
    """One run of a study, and the combinations that come to it.

    Attributes:
        spec: measured in every way that its cells ask for.
    """

    spec: RunSpec
    cells: tuple[Cell, ...] = field(repr=False)

    @property
    def name(self) -> str:
        """The name of its directory."""
        return self.spec.name

    @property
    def label(self) -> str:
        """What sets it apart: `seed 1, method lora`; axes of which it has one value, and which are not only measured."""
        values: dict[str, set[str]] = {}
        for cell in self.cells:
            for axis, value in cell.varied.items():
                values.setdefault(axis, set()).add(value)
        shown = [f"{axis.rsplit('.', 1)[-1]} {found.pop()}" for axis, found in values.items() if len(found) == 1]
        return ", ".join(shown) or self.spec.title


def expand(study: StudySpec) -> tuple[Cell, ...]:
    """All combinations, checked.

    Raises:
        ProblemsError: with the problems of all of them, each where it stands in the study.
    """
    problems: dict[tuple[str, str], Problem] = {}
    cells: list[Cell] = []
    checked = 0
    used: set[str] = set()
    depths: dict[str, int | TransfixError] = {}
    for name, group in study.groups.items() or [(study.name, Group())]:
        place = f"groups.{name}." if study.groups else ""
        base = [(path, value, f"base.{path}") for path, value in study.base.items()]
        base += [(path, value, f"{place}base.{path}") for path, value in group.base.items()]
        axes = _axes(study, group, place)
        excludes = {f"exclude[{index}]": entry for index, entry in enumerate(study.exclude)}
        excludes |= {f"{place}exclude[{index}]": entry for index, entry in enumerate(group.exclude)}
        _check_number(name, axes, bool(excludes))
        for values in itertools.product(*axes.values()):
            varied = dict(zip(axes, values, strict=True))
            out = {where for where, combination in excludes.items() if _matches(combination, varied)}
            used |= out
            if out:
                continue
            checked += 1
            if checked > limits.COMBINATIONS:
                raise _too_many(study.name, f"more than {limits.COMBINATIONS:,} combinations that are not excluded")
            settings = base + [setting for value in values for setting in value.settings]
            try:
                cells.append(Cell(name, {axis: value.label for axis, value in varied.items()}, _spec(settings, depths)))
            except ProblemsError as error:
                for found in error.problems:
                    problem = found.at(_origin(found.where, settings))
                    problems.setdefault((problem.where, problem.what), problem)
    listed = _useless(study, used) + list(problems.values())
    if listed:
        more = f", of which {SHOWN} are shown" if len(listed) > SHOWN else ""
        count = "a problem" if len(listed) == 1 else f"{len(listed)} problems"
        raise ProblemsError(f"the study {study.name} has {count}{more}:", listed[:SHOWN])
    if not cells:
        raise TransfixError(f"the study {study.name} has no runs: all combinations are excluded.")
    return tuple(cells)


def _check_number(name: str, axes: Mapping[str, Sequence[object]], excludes: bool) -> None:
    """Refuse a group of more combinations than can be looked at, before the first one."""
    number = math.prod(map(len, axes.values()))
    if number > (limits.EXCLUDED_COMBINATIONS if excludes else limits.COMBINATIONS):
        sizes = " × ".join(str(len(values)) for values in axes.values())
        raise _too_many(name, f"{number:,} combinations ({sizes})")


def _too_many(name: str, found: str) -> TransfixError:
    return TransfixError(
        f"the study {name} has {found}; a study has at most {limits.COMBINATIONS:,}: take values or axes out, or make "
        "several studies of it."
    )


def _useless(study: StudySpec, used: set[str]) -> list[Problem]:
    """A problem for each combination to leave out that no run is like."""
    problems = []
    for place, part in [("", study), *((f"groups.{name}.", group) for name, group in study.groups.items())]:
        known = {**study.matrix, **part.matrix}
        if not place:
            known |= {name: axis for group in study.groups.values() for name, axis in group.matrix.items()}
        for index, combination in enumerate(part.exclude):
            where = f"{place}exclude[{index}]"
            unknown = [name for name in combination if name not in known]
            for name in unknown:
                what = f"there is no such axis{suggestions.did_you_mean(name, known)}"
                problems.append(Problem(f"{where}.{name}", what, ", ".join(known)))
            if not unknown and where not in used:
                what = "no combination is like this" if combination else "is empty"
                problems.append(Problem(where, f"{what}: nothing would be left out"))
    return problems


def runs(study: StudySpec, cells: Sequence[Cell]) -> tuple[StudyRun, ...]:
    """The runs that cells come to, in the order of their first cells.

    Raises:
        ProblemsError: two cells would keep different measurements of a run under one name.
    """
    by_run: dict[str, list[Cell]] = {}
    for cell in cells:
        by_run.setdefault(cell.spec.identity(), []).append(cell)
    named = merged(study.base.get("evaluate"), [[cell.spec for cell in group] for group in by_run.values()])
    return tuple(StudyRun(spec, tuple(group)) for spec, group in zip(named, by_run.values(), strict=True))


@dataclass(frozen=True, slots=True)
class _Value:
    """One value of an axis."""

    label: str
    value: Any
    settings: tuple[Setting, ...]


def _axes(study: StudySpec, group: Group, place: str) -> dict[str, list[_Value]]:
    found = {name: _values(name, axis, f"matrix.{name}") for name, axis in study.matrix.items()}
    return found | {name: _values(name, axis, f"{place}matrix.{name}") for name, axis in group.matrix.items()}


def _values(name: str, axis: Axis, place: str) -> list[_Value]:
    if isinstance(axis, Mapping):
        return [
            _Value(label, label, tuple((path, value, f"{place}.{label}.{path}") for path, value in settings.items()))
            for label, settings in axis.items()
        ]
    return [
        _Value(label_of(name, value), value, ((name, value, f"{place}[{index}]"),)) for index, value in enumerate(axis)
    ]


def label_of(path: str, value: Any) -> str:
    """A value in few words: an adapter by its title, a mapping by its values."""
    if path == "adapter":
        try:
            return " + ".join(titled(_made(part)) for part in as_parts(value))  # type: ignore[attr-defined]
        except (TransfixError, KeyError, TypeError):
            return validation.show(value)
    if path == "model" and isinstance(value, str):
        return value.rstrip("/").rpartition("/")[2]
    if isinstance(value, Mapping):
        return ", ".join(label_of("", entry) for entry in value.values()) or "{}"
    if isinstance(value, list):
        return "+".join(label_of("", entry) for entry in value)
    return validation.show(value) if value is None or isinstance(value, bool) else str(value)


def _made(part: Mapping[str, Any]) -> Part:
    kind = METHODS[part["method"]]
    return asked(kind, "its settings", lambda: kind(**part))


def _matches(combination: Mapping[str, Any], varied: Mapping[str, _Value]) -> bool:
    """Whether a combination is one that is left out: each axis has the value, or one of the list of values."""
    return bool(combination) and all(
        axis in varied and any(_same(varied[axis].value, one) for one in [wanted, *_several(wanted)])
        for axis, wanted in combination.items()
    )


def _several(wanted: Any) -> list[Any]:
    return wanted if isinstance(wanted, list) else []


def _same(value: Any, wanted: Any) -> bool:
    """Equal, and true is not 1; names that YAML reads as numbers are names."""
    if isinstance(value, str) and isinstance(wanted, int | float):
        return value == str(wanted)
    return bool(value == wanted) and isinstance(value, bool) == isinstance(wanted, bool)


def _spec(settings: Sequence[Setting], depths: dict[str, int | TransfixError]) -> RunSpec:
    """The run that settings come to.

    Raises:
        ProblemsError: with paths of the run's specification.
    """
    data: dict[str, Any] = {}
    problems: list[Problem] = []
    for path, value, _ in settings:
        write_out(data)
        paths.put(data, path, value, problems)
    write_out(data)
    parts = data.get("adapter")
    parts = parts if isinstance(parts, list) else []
    named = [METHODS.get(str(part.get("method"))) for part in parts if isinstance(part, dict)]
    if named and all(method is not None and not method.learns for method in named):
        data.pop("train", None)
        data.pop("seed", None)
    for where, part in _shares(parts):
        try:
            part["layers"] = _layers(part["layers"], str(data.get("model")), depths)
        except _NoDepthError as error:
            problems.append(Problem("model", str(error)))
            part.pop("layers")
        except TransfixError as error:
            problems.append(Problem(where, str(error)))
            part.pop("layers")
    try:
        spec = RunSpec.load(data)
        _ = spec.title  # which tables show: of another package's method it may fail
    except ProblemsError as error:
        problems += error.problems
    except TransfixError as error:
        problems.append(Problem("adapter", str(error)))
    if problems:
        raise ProblemsError("this run cannot be", problems)
    return spec


class _NoDepthError(TransfixError):
    """A model whose number of layers cannot be had."""


def _shares(parts: Sequence[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for index, part in enumerate(parts):
        if isinstance(part, dict) and isinstance(part.get("layers"), dict):
            yield f"adapter[{index}].layers", part


def _layers(wanted: Mapping[str, Any], model: str, depths: dict[str, int | TransfixError]) -> int | str:
    """`{share: 30/32}` of a model's layers, counted from the top: `all`, or L."""
    try:
        text = str(wanted["share"])
        if not re.fullmatch(r"[^eE]{1,60}|[^eE]{1,60}[eE][+-]?[0-9]{1,3}", text):  # 1e-9999999: seconds for its digits
            raise ValueError
        share = Fraction(text)
        if len(wanted) != 1 or not 0 < share <= 1:
            raise ValueError
    except (KeyError, ValueError, ZeroDivisionError):
        raise TransfixError(f"{dict(wanted)} is not allowed (allowed: {{share: 30/32}}, above 0, at most 1)") from None
    if model not in depths:
        from transfix.models.inspect import depth

        try:
            depths[model] = depth(model)
        except TransfixError as error:
            depths[model] = error
    found = depths[model]
    if isinstance(found, TransfixError):
        raise _NoDepthError(f"how many layers has {model}? {found}")
    return "all" if share == 1 else max(1, round(share * found))


def _origin(where: str, settings: Sequence[Setting]) -> str:
    """Where in the study the value stands that a problem's path of the run's specification names."""

    def keys(path: str) -> list[str]:
        return [key for key in paths.keys_of(path) if not key.isdigit()]

    wanted = keys(where)
    for path, value, place in reversed(settings):
        own = keys(path)
        if wanted[: len(own)] == own:
            rest = wanted[len(own) :]
            return yaml_dialect.join(place, ".".join(rest)) if rest and isinstance(value, dict | list) else place
    return f"base.{where}"
