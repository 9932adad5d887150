"""What a table must state beside its numbers: how rows were asked, and what the models were trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from transfix.errors import TransfixError
from transfix.report import labels
from transfix.report.contents import Setting
from transfix.runs.records import RunRecord
from transfix.statistics.one_run import ENGLISH

if TYPE_CHECKING:
    from transfix.data.shipped import Shipped

NAMES = {
    "split": "Split",
    "data": "Data",
    "licence": "Licence of the data",
    "attribution": "Attribution",
    "classes": "Classes",
    "prompt_language": "Prompt language",
    "template": "Prompt template",
    "verbaliser": "Label words",
    "few_shot": "Examples in the prompt",
    "few_shot_source": "Source of those examples",
    "metric_title": "Metric",
    "max_new_tokens": "Tokens of an answer, at most",
    "temperature": "Temperature (0: greedy)",
}
"""Names of the settings in the metadata of predictions, in the order in which they are shown."""

_INTERNAL = frozenset(
    ("task", "model", "language", "kind", "form", "judge", "metric", "answer_language", "task_file", "chance")
)
"""What predictions say of themselves that a reader need not see."""

COMPARABLE = ("split", "data", "classes", "template", "verbaliser", "few_shot", "max_new_tokens", "temperature")
"""Settings in which the methods of one table should not differ."""

DIFFERS = "differs by language"

Metas = Sequence[tuple[str, Sequence[Mapping[str, Any]]]]
"""The metadata of every predictions file, by the method's label."""


def asked(metas: Metas) -> list[Setting]:
    """How rows were asked. Settings this module has no name for are shown where they are the same throughout."""
    found = []
    unnamed = dict.fromkeys(key for _, files in metas for meta in files for key in meta)
    for key in dict.fromkeys(NAMES) | unnamed:
        if key in _INTERNAL:
            continue
        values = [(label, value) for label, files in metas if (value := _value(key, files)) is not None]
        name = NAMES.get(key, key.replace("_", " ").capitalize())
        setting = _setting(name, values)
        if setting and (key in NAMES or setting.value not in (None, DIFFERS)):
            found.append(setting)
    return found


def not_alike(metas: Metas) -> list[str]:
    """A note if methods or languages were asked in different ways, so that their numbers do not compare."""
    unlike = [key for key in COMPARABLE if len({labels.brief(m.get(key)) for _, files in metas for m in files}) > 1]
    words = labels.listing([NAMES[key].lower() for key in unlike])
    return [f"rows were not asked alike; between methods or languages differ: {words}"] if unlike else []


def trained(methods: Sequence[tuple[str, Sequence[RunRecord]]]) -> list[Setting]:
    """What model was adapted, on what, with which seeds, and under which licences.

    Args:
        methods: the label and the runs of each; the runs differ by seed only.
    """
    rows = (
        ("Model", _model),
        ("Licence of the model", _model_licence),
        ("Trained on", _trained_on),
        ("Licence of the training data", _training_licence),
    )
    settings = [
        _setting(name, [(label, value) for label, runs in methods if (value := say(runs[0]))]) for name, say in rows
    ]
    several = any(len(runs) > 1 for _, runs in methods)
    seeds = [(label, labels.listing([_seed(run) for run in runs])) for label, runs in methods]
    settings.append(_setting("Seeds" if several else "Seed", seeds))
    return [setting for setting in settings if setting]


def _setting(name: str, values: Sequence[tuple[str, str]]) -> Setting | None:
    """One value, or each value with the methods that have it."""
    groups: dict[str, list[str]] = {}
    for label, value in values:
        groups.setdefault(value, []).append(label)
    if len(groups) > 1:
        return Setting(name, None, tuple((labels.listing(names), value) for value, names in groups.items()))
    return Setting(name, next(iter(groups))) if groups else None


def _value(key: str, files: Sequence[Mapping[str, Any]]) -> str | None:
    """The setting of one method, over its languages."""
    distinct = {_said(key, meta) for meta in files}
    if len(distinct) > 1:
        return DIFFERS
    value = distinct.pop() if distinct else None
    if value is None and key == "prompt_language" and any("template" in meta for meta in files):
        same = _value("template", files) != DIFFERS
        return "that of the template below, the same in every language" if same else DIFFERS
    return value


def _said(key: str, meta: Mapping[str, Any]) -> str | None:
    """A setting in the metadata of one file, in words; None if it is not said."""
    value = meta.get(key)
    shipped = _shipped(meta.get("task"), meta.get("split")) if meta.get("data") == "snapshot" else None
    if key == "few_shot" and not value and "template" in meta:  # an encoder is shown none
        return "none (zero-shot)"
    if key == "licence" and value is None and shipped:
        return str(shipped.licence)
    if key == "data" and shipped:
        return f"snapshot: {shipped.description}"
    if key == "prompt_language" and value == "native":
        return "that of the row"
    if key == "prompt_language" and value == ENGLISH:
        if meta.get("task_file"):  # its author may have said nothing
            return None
        return f"{labels.spoken(ENGLISH).name}, whatever the language of the row"
    if key == "data":
        return _data(value)
    return None if value in (None, [], {}) else labels.brief(value)


def _data(value: Any) -> str | None:
    """Where rows come from; None if that is not said."""
    if isinstance(value, Mapping):  # without what was not set
        value = {name: entry for name, entry in value.items() if entry not in (None, {}, "auto")}
    return None if value in (None, {}) else labels.brief(value)


def _shipped(task: object, split: object) -> Shipped | None:
    """What the package says of rows it ships."""
    from transfix.data import shipped

    try:
        return shipped.contents().get((str(task), str(split)))
    except TransfixError:
        return None


def _model(run: RunRecord) -> str:
    revision = run.spec.get("revision")
    return labels.brief(run.spec.get("model", "not said")) + (f", revision {revision}" if revision else "")


def _model_licence(run: RunRecord) -> str:
    from transfix.models import registry

    packaged = registry.MODELS.get(str(run.spec.get("model")))
    return f"{packaged.licence} ({packaged.licence_url})" if packaged else ""


def _training_licence(run: RunRecord) -> str:
    from transfix import tasks

    train = run.spec.get("train")
    if run.is_base or not isinstance(train, Mapping) or train.get("data") != "snapshot":
        return ""
    try:
        split = train.get("split") or tasks.get(str(train.get("task"))).train_split
    except TransfixError:
        return ""
    found = _shipped(train.get("task"), split)
    return f"{found.licence} ({found.description})" if found else ""


def _seed(run: RunRecord) -> str:
    return labels.brief(run.spec.get("seed", "not said"))


def _learned_rows(run: RunRecord, train: Mapping[str, Any]) -> Any:
    """Rows of the training task: as many as there were, which may be fewer than were asked for."""
    found = run.training or {}
    if isinstance(found.get("rows"), int):
        return found["rows"] - (found.get("exposure_rows") or 0)
    return train.get("rows")


def _trained_on(run: RunRecord) -> str:
    """`MNLI, 3,000 rows, 3 epochs, English (data: snapshot)`; nothing for the base."""
    train = run.spec.get("train")
    if run.is_base or not isinstance(train, Mapping):
        return ""
    rows, epochs, languages = _learned_rows(run, train), train.get("epochs"), train.get("languages")
    words = [labels.TASKS.get(str(train.get("task")), str(train.get("task")))]
    words.append(f"{labels.number(rows)} rows" if rows else "all rows")
    if epochs is not None:
        words.append(f"{labels.number(epochs)} epochs" if epochs != 1 else "1 epoch")
    if isinstance(languages, list):
        words.append(labels.listing([labels.spoken(str(code)).name for code in languages]))
    exposure = train.get("exposure")
    if isinstance(exposure, Mapping):  # not zero-shot in these languages
        spoken = labels.listing([labels.spoken(str(code)).name for code in exposure.get("languages", ())])
        words.append(f"and {labels.number(exposure.get('rows'))} rows each in {spoken}")
    return f"{', '.join(words)} (data: {_data(train.get('data')) or 'not said'})"
