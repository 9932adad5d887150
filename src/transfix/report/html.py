"""The report as one HTML page that needs nothing else: no network, no library, no script to be readable."""

from __future__ import annotations

import base64
import hashlib
import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from transfix.report import labels, tables
from transfix.report.contents import Method, Report, TaskReport
from transfix.report.runs import RunRecord

if TYPE_CHECKING:
    from jinja2 import Environment

LONGEST_TEXT = 1200
"""Characters of a text that the example browser shows."""

_SHAPES = (
    "M-4.6,0A4.6,4.6 0 1 0 4.6,0A4.6,4.6 0 1 0 -4.6,0Z",  # circle
    "M-4,-4H4V4H-4Z",  # square
    "M0,-5.6L5.6,0L0,5.6L-5.6,0Z",  # diamond
    "M0,-5.2L5,4H-5Z",  # triangle
    "M0,5.2L5,-4H-5Z",  # triangle, point down
)
_COLOURS = 5


@dataclass(frozen=True, slots=True)
class Mark:
    """How a method is drawn. Colour and shape say the same, so that neither is needed to tell methods apart.

    Attributes:
        css: its class, `m0` for the base.
        path: its shape around the origin, in pixels.
    """

    css: str
    path: str


def marks(methods: tuple[Method, ...]) -> list[Mark]:
    """A mark for every method: the base a grey ring, the others colours and shapes in turn."""
    trained = [method for method in methods if not method.run.is_base]
    return [
        Mark("m0", _SHAPES[0])
        if method.run.is_base
        else Mark(
            f"m{(number := trained.index(method)) % _COLOURS + 1}",
            # after the last colour the shapes are shifted by one, so that no pair comes twice among 25 methods
            _SHAPES[(number + number // _COLOURS) % len(_SHAPES)],
        )
        for method in methods
    ]


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale in shares from `low` to `high`; places are percentages of its width, so that a plot fits any screen."""

    low: float
    high: float

    @classmethod
    def of(cls, task: TaskReport) -> Axis:
        """A scale in steps of ten points that holds every interval and the chance line."""
        ends = [
            end
            for method in task.methods
            for code in task.languages
            if (e := method.language(code.code))
            for end in e["interval"]
        ]
        ends += [] if task.chance is None else [task.chance]
        low, high = math.floor(10 * min(ends) - 0.2) / 10, math.ceil(10 * max(ends) + 0.2) / 10
        return cls(max(0.0, low), min(1.0, max(high, low + 0.2)))

    def at(self, share: float) -> str:
        """Where a share lies: `33.3%`."""
        return f"{100 * (share - self.low) / (self.high - self.low):.2f}%"

    @property
    def ticks(self) -> list[float]:
        """Full tens, fewer where there are many."""
        step = 2 if self.high - self.low > 0.55 else 1
        first, last = round(10 * self.low), round(10 * self.high)
        return [number / 10 for number in range(first, last + 1) if (number - first) % step == 0]


def page(report: Report) -> str:
    """The report as a self-contained HTML document: it loads nothing, and everything a user wrote is escaped."""
    script = _resource("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .get_template("page.html")
        .render(
            report=report,
            tasks=[_task(task) for task in report.tasks],
            provenance=[_provenance(label, run) for label, run in report.runs],
            style=_safe(_resource("page.css")),
            script=_safe(script),
            # no other script can run, even if some text were not escaped, and nothing can be loaded
            policy=f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'",
        )
    )


def _task(task: TaskReport) -> Mapping[str, Any]:
    """What the template needs of a task beside its contents."""
    counts = {task.rows(language.code) for language in task.languages}
    return {
        "report": task,
        "scope": _scope(task),
        "axis": Axis.of(task),
        "marks": marks(task.methods),
        "macros": tables.macro_rows(task),
        "training": tables.training_rows(task),
        "show_n": len(counts) > 1,
        "truncated": task.counted("truncated"),
        "left_out": task.counted("left_out"),
        "shown": next((lang.code for lang in task.languages[1:]), task.languages[0].code),
        "fields": any(row.texts for rows in task.examples.values() for row in rows),
    }


def _scope(task: TaskReport) -> str:
    """What the headline is about: `Accuracy on XNLI (test split). Model: gemma-3-270m. Trained on: ...`."""
    said = {setting.name: setting.value for setting in task.settings if setting.value}
    words = [
        f"{task.metric[0].upper()}{task.metric[1:]} on {task.title}"
        + (f" ({said['Split']} split)" if "Split" in said else "")
    ]
    words += [f"{name}: {said[name]}" for name in ("Model", "Trained on") if name in said]
    return ". ".join(words) + "."


def _provenance(label: str, run: RunRecord) -> Mapping[str, Any]:
    """How one run was made, as the template lists it."""
    import yaml

    facts = dict(run.training or {})
    if isinstance(development := facts.get("development"), list) and development:
        facts["development"] = development[-1]
    return {
        "label": label,
        "name": run.name,
        "state": run.state,
        "training": {key.replace("_", " ").capitalize(): labels.number(value) for key, value in facts.items()},
        "environment": labels.flatten(run.environment),
        "spec": yaml.safe_dump(dict(run.spec), sort_keys=False, allow_unicode=True, width=100),
    }


def _resource(name: str) -> str:
    return resources.files("transfix.report").joinpath("templates", name).read_text(encoding="utf-8")


def _safe(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)  # our own style sheet and script only, no user text


def _direction(text: str, language: labels.Spoken) -> str:
    """The language's direction, but left to right if no letter needs it: benchmarks have romanised rows in Urdu."""
    right_to_left = any(unicodedata.bidirectional(char) in ("R", "AL") for char in text)
    return language.direction if right_to_left else "ltr"


def _environment() -> Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_resource),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": labels.percent,
        "bracket": labels.bracket,
        "direction": _direction,
        "clip": lambda text: text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + " …",
    }
    return environment
