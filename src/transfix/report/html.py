"""The report as one HTML page that needs nothing else: no network, no library, no script to be readable."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

from transfix.errors import visible
from transfix.report import charts, examples, further, grids, labels, tables
from transfix.report.contents import Curve, Report, TaskReport
from transfix.runs.records import RunRecord

if TYPE_CHECKING:
    from jinja2 import Environment

CLAIMS = 8
"""Sentences that are shown at once; further ones are folded."""

DECODING = ("temperature", "top_p")
"""Settings of how an answer is drawn, not of how the method was trained."""


def page(report: Report) -> str:
    """The report as a self-contained HTML document: it loads nothing, and everything a user wrote is escaped."""
    script = _resource("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rows, packed = examples.data(report.tasks)
    curves = [_curve(found, report) for found in report.curves]
    return (
        _environment()
        .get_template("page.html")
        .render(
            report=report,
            tasks=[_task(task) for task in report.tasks],
            curves=[
                (title, found)
                for title, wanted in (("Ablations", False), ("Sensitivity to decoding", True))
                if (found := [c for c in curves if (c["setting"] in DECODING) is wanted and c["chart"]])
            ],
            examples=rows,
            static=[examples.static(task) for task in rows],
            with_texts=any(row.texts for task in report.tasks for rows in task.examples.values() for row in rows),
            packed=_safe(packed),  # JSON without "<"
            provenance=[_provenance(label, run) for label, run in report.runs],
            first_claims=CLAIMS,
            style=_safe(_resource("page.css")),
            script=_safe(script),
            # no other script can run, even if some text were not escaped, and nothing can be loaded
            policy=f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'",
        )
    )


def _task(task: TaskReport) -> Mapping[str, Any]:
    """What the template needs of a task beside its contents."""
    heat_maps = [
        (grids.reference(task, kind), kind, grid) for kind in task.references if (grid := grids.differences(task, kind))
    ]
    return {
        "report": task,
        "scope": _scope(task),
        "axis": charts.axis(task),
        "marks": charts.marks(task.methods),
        "legend": charts.legend(task.methods),
        "results": grids.results(task),
        "signs": tables.legend_notes(task),
        "heat_maps": heat_maps,
        "further": grids.further_metrics(task),
        "further_scope": further.scope(task),
        "further_by_language": grids.further_by_language(task),
        "signatures": further.signatures(task),
        "groups": grids.groups(task),
        "parameters": charts.parameters(task),
        "orders": grids.orders(task),
        "seeds": max(method.seeds for method in task.methods),
        "truncated": task.counted("truncated"),
        "left_out": task.counted("left_out"),
    }


def _curve(found: Curve, report: Report) -> Mapping[str, Any]:
    """A curve drawn and its numbers."""
    chance = next((task.chance for task in report.tasks if task.name == found.task), None)
    return {"setting": found.setting, "chart": charts.curve(found, chance), "numbers": grids.curve(found)}


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

    return Markup(text)


def _shown(value: Any) -> Any:
    """What a template puts out: a user's text cannot turn the direction of the page's own."""
    return visible(value) if type(value) is str else value


def _environment() -> Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_resource),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": labels.percent, "bracket": labels.bracket}
    return environment
