"""How scores go with one numeric setting, wherever the methods of a report differ in it and in nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transfix.errors import TransfixError
from transfix.report import labels
from transfix.report.contents import Curve, Method, Point, Series, TaskReport
from transfix.report.settings import COMPARABLE
from transfix.runs.store.files import read_adapter
from transfix.statistics.bootstrap import ENGLISH

ASKED = ("temperature", "top_p")
"""Settings of the evaluation: each is a task of its own in a report, as its results have a name of their own."""

_DEPTH = re.compile(r"adapter\.\d+\.layers")
"""A share of the layers is another number in a model of another depth."""

SETTINGS = ("tokens", "layers", "rank", "rows", *ASKED, "model size")


@dataclass(frozen=True, slots=True)
class _Place:
    """A method on a task, with everything that it is made of.

    Attributes:
        settings: by dotted path, as text, without the seed.
        numbers: the numeric ones among `SETTINGS`, by the same paths.
    """

    task: TaskReport
    method: Method
    settings: Mapping[str, str]
    numbers: Mapping[str, float]


def curves(tasks: Sequence[TaskReport]) -> tuple[Curve, ...]:
    """Every curve with two points or more, in the order of `SETTINGS`."""
    places = [_place(task, method) for task in tasks for method in task.methods]
    found = [curve for setting in SETTINGS for curve in _of_setting(setting, places)]
    return tuple(found)


def name(path: str) -> str:
    """What a curve calls a setting: `adapter.0.tokens` is `tokens`, `model` is `model size`."""
    return "model size" if path == "model" else path.rsplit(".", 1)[-1]


def _of_setting(setting: str, places: Sequence[_Place]) -> list[Curve]:
    groups = _alike(setting, places, also=_DEPTH if setting == "model size" else None)
    series: dict[str, list[tuple[str, list[_Place]]]] = {}
    for (task, path, *_), members in groups.items():
        by_x = {place.numbers[path]: place for place in reversed(members) if place.method.complete}
        if len(by_x) > 1:
            series.setdefault(task, []).append((path, [by_x[x] for x in sorted(by_x)]))
    drawn = [_curve(setting, found) for found in series.values()]
    if setting in ASKED:
        exact = [_curve(setting, found, _exact_match, ", exact match") for found in series.values()]
        drawn += [curve for curve in exact if all(point.all for one in curve.series for point in one.points)]
    return drawn


def _alike(setting: str, places: Sequence[_Place], also: re.Pattern[str] | None) -> dict[tuple[Any, ...], list[_Place]]:
    """The places that differ in a setting, and maybe in what `also` matches, and in nothing else.

    What `also` matches counts again where a value of the setting would have two places.
    """
    groups: dict[tuple[Any, ...], list[_Place]] = {}
    for place in places:
        for path in place.numbers:
            if name(path) == setting:
                # a task by its results' name, or where the setting is one of the evaluation by what was asked
                task = place.settings["task"] if setting in ASKED else place.task.name
                free = {path, *(key for key in place.settings if also and also.match(key))}
                rest = tuple(sorted((key, value) for key, value in place.settings.items() if key not in free))
                groups.setdefault((task, path, rest, place.task.averaged), []).append(place)
    if also is None:
        return groups
    found: dict[tuple[Any, ...], list[_Place]] = {}
    for key, members in groups.items():
        twice = len({place.numbers[key[1]] for place in members}) < len(members)
        found |= _alike(setting, members, None) if twice else {key: members}
    return found


def _curve(
    setting: str,
    found: Sequence[tuple[str, list[_Place]]],
    summary: Callable[[_Place], Mapping[str, Any] | None] = lambda place: place.method.summary,
    of: str = "",
) -> Curve:
    task = found[0][1][0].task
    named = [
        (labels.method(places[0].method.run), {key: text for key, text in places[0].settings.items() if key != path})
        for path, places in found
    ]
    titles = labels.distinct(named)
    return Curve(
        task.name,
        (labels.TASKS.get(found[0][1][0].settings["task"], task.title) if setting in ASKED else task.title) + of,
        setting,
        tuple(
            Series(title, tuple(_point(place, path, summary(place)) for place in places))
            for title, (path, places) in zip(titles, found, strict=True)
        ),
    )


def _point(place: _Place, path: str, summary: Mapping[str, Any] | None) -> Point:
    x, label = place.numbers[path], place.method.label
    if summary is None:
        return Point(x, label, None, None, None)
    english = summary["languages"].get(ENGLISH)
    macro = summary["macro"]
    return Point(x, label, macro["all"], macro["without_english"], english if english and english["n"] else None)


def _exact_match(place: _Place) -> Mapping[str, Any] | None:
    """As a method's own summary, of exact match; None if the task does not have it."""
    found = place.method.further.get("exact_match")
    if found is None or any(not found["languages"].get(code, {}).get("n") for code in place.task.averaged):
        return None
    return found


def _place(task: TaskReport, method: Method) -> _Place:
    meta = next(iter(method.run.predictions[task.name].values())).meta
    settings = {**labels.flatten(labels.important(method.run)), "task": str(meta.get("task", task.name))}
    settings |= {key: labels.brief(meta.get(key)) for key in (*COMPARABLE, *ASKED)}
    return _Place(task, method, settings, _numbers(method, meta))


def _numbers(method: Method, meta: Mapping[str, Any]) -> dict[str, float]:
    """The settings of a method that a curve can be drawn over."""
    found: dict[str, Any] = {key: meta.get(key) for key in ASKED}
    adapter = method.run.spec.get("adapter")
    for place, part in enumerate(adapter if isinstance(adapter, list) else ()):
        if isinstance(part, Mapping):
            found |= {f"adapter.{place}.{key}": part.get(key) for key in ("tokens", "rank")}
            found[f"adapter.{place}.layers"] = _layers(part.get("layers"), method)
    train = method.run.spec.get("train")
    if isinstance(train, Mapping):
        found["train.rows"] = train.get("rows") or method.training("rows")
    found["model"] = _parameters(str(method.run.spec.get("model")))
    return {
        path: float(value)
        for path, value in found.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def _layers(setting: object, method: Method) -> object:
    """How many layers are adapted; for all of them as many as the adapter has tensors for."""
    if isinstance(setting, list):
        return len(setting)
    if setting != "all":
        return setting
    try:
        saved = read_adapter(method.run.path) or {}
        numbers = {found[0] for name in saved["shapes"] if (found := re.findall(r"\.(\d+)\.", name))}
    except (TransfixError, KeyError, TypeError):
        return None
    return len(numbers) or None


def _parameters(model: str) -> float | None:
    """The size that a model's name states: `gemma-3-270m` has 270 million parameters, `Llama-3.1-8B` 8 billion."""
    found = re.findall(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)([MBmb])(?![A-Za-z0-9])", model)
    if not found:
        return None
    size, unit = found[-1]
    return float(size) * (1e6 if unit in "Mm" else 1e9)
