"""How methods, runs, languages and numbers are written for a reader."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfix.adapters.methods.registry import METHODS
from transfix.errors import TransfixError
from transfix.runs.records import RunRecord

TASKS = {
    "mnli": "MNLI",
    "xnli": "XNLI",
    "afrixnli": "AfriXNLI",
    "squad": "SQuAD",
    "squadshifts": "SQuADShifts",
    "tydiqa": "TyDiQA-GoldP",
    "xquad": "XQuAD",
    "mlqa": "MLQA",
    "gsm8k": "GSM8K",
    "mgsm": "MGSM",
    "afrimgsm": "AfriMGSM",
    "belebele": "Belebele",
    "dream": "DREAM",
    "mctest": "MCTest",
    "race": "RACE",
    "flores_from_english": "FLORES, from English",
    "flores_to_english": "FLORES, into English",
    "ntrex_from_english": "NTREX, from English",
    "ntrex_to_english": "NTREX, into English",
    "xlsum": "XL-Sum",
}

UNIMPORTANT = ("evaluate", "device")
"""Settings of a run that do not make it another method."""

MINUS = "\N{MINUS SIGN}"
NO_BREAK = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True)
class Spoken:
    """A language as the report names it.

    Attributes:
        code: FLORES style, `arb_Arab`.
        tag: BCP 47, `ar-Arab`, for the `lang` attribute, by which a browser picks the font.
        direction: `ltr` or `rtl`.
        resources: class 0 (least) to 5 (most), Joshi et al. 2020; None where it is not known.
        words: everything a reader may filter by.
    """

    code: str
    name: str
    native_name: str
    tag: str
    direction: str
    script: str = ""
    family: str = ""
    resources: int | None = None

    def group(self, kind: str) -> str:
        """The name of its `script`, `family` or `resources`: `Latin`, `Indo-European`, `class 5`."""
        if kind == "resources":
            return "unknown" if self.resources is None else f"class {self.resources}"
        return (self.script if kind == "script" else self.family) or "unknown"

    @property
    def words(self) -> str:
        """Everything a reader may filter by, in one line."""
        return " ".join((self.name, self.native_name, self.code, self.tag, self.script, self.family)).lower()


def spoken(code: str) -> Spoken:
    """How to name a language; one that transfix does not know goes by its code."""
    from transfix import languages

    try:
        language = languages.get(code)
    except TransfixError:
        return Spoken(code, code, "", "und", "ltr")
    return Spoken(
        code=language.code,
        name=language.name,
        native_name=language.native_name,
        tag=f"{language.iso639_1 or language.iso639_3}-{language.script}",
        direction=language.direction,
        script=language.script_name,
        family=language.family,
        resources=language.resource_class,
    )


def method(run: RunRecord) -> str:
    """The name of a run's method, parts of a hybrid joined by `+`; a method that is not installed is shown as it is."""
    names = [str(part["method"]) for part in run.parts]
    return " + ".join(METHODS[name].label if name in METHODS else name for name in names)


def order(run: RunRecord) -> tuple[int, int, str]:
    """Sorts runs: simple methods in the order of `METHODS`, base first, then hybrids."""
    names = list(METHODS)
    first = str(run.parts[0]["method"])
    return len(run.parts), names.index(first) if first in names else len(names), run.name


def natural(text: str) -> list[tuple[int, float, str]]:
    """Sorts texts so that `tokens 5` comes before `tokens 10`."""
    parts = re.split(r"(\d+(?:\.\d+)?)", text)
    return [(0, float(part), "") if number % 2 else (1, 0.0, part) for number, part in enumerate(parts)]


def seed_groups(runs: Sequence[RunRecord]) -> list[tuple[RunRecord, ...]]:
    """Runs that differ by seed only together, by seed; two runs with the same seed are never in one group."""
    groups: dict[object, list[RunRecord]] = {}
    for run in runs:
        key = tuple(sorted(flatten(important(run)).items())) if run.spec else run.path
        number = 0
        while any(run.spec.get("seed") == other.spec.get("seed") for other in groups.get((key, number), ())):
            number += 1
        groups.setdefault((key, number), []).append(run)
    return [tuple(sorted(group, key=lambda run: natural(str(run.spec.get("seed"))))) for group in groups.values()]


def group_labels(groups: Sequence[Sequence[RunRecord]]) -> list[str]:
    """A distinct label for every group of runs: its method, and where groups share one, the settings that differ."""
    firsts = [group[0] for group in groups]
    labels = distinct([(method(run), flatten(important(run))) for run in firsts])
    alike: dict[str, list[RunRecord]] = {}
    for label, run in zip(labels, firsts, strict=True):
        alike.setdefault(label, []).append(run)
    places = {label: iter(_places([run.path for run in runs])) for label, runs in alike.items() if len(runs) > 1}
    return [f"{label} ({next(places[label])})" if label in places else label for label in labels]


def _places(paths: Sequence[Path]) -> list[str]:
    """What sets paths apart: the first folder in which all differ, or all of the path below what they share."""
    shared = os.path.commonpath(paths) if len(set(paths)) > 1 else paths[0].parent
    rest = [path.relative_to(shared) for path in paths]
    firsts = [path.parts[0] for path in rest]
    return firsts if len(set(firsts)) == len(firsts) else [path.as_posix() for path in rest]


def important(run: RunRecord) -> dict[str, Any]:
    """The settings that make a method: all but the seed, what it is measured on, and the device."""
    return {key: value for key, value in run.spec.items() if key not in ("seed", *UNIMPORTANT)}


def distinct(named: Sequence[tuple[str, Mapping[str, str]]]) -> list[str]:
    """Each name, and where several share it the settings in which they differ, three at most."""
    groups: dict[str, list[Mapping[str, str]]] = {}
    for name, settings in named:
        groups.setdefault(name, []).append(settings)
    several_models = len({settings.get("model") for _, settings in named}) > 1
    labels = []
    for name, settings in named:
        keys = dict.fromkeys(key for entry in groups[name] for key in entry)
        unlike = [key for key in keys if len({entry.get(key) for entry in groups[name]}) > 1]
        if several_models and "model" not in unlike:
            unlike.insert(0, "model")
        shown = [f"{key.rsplit('.', 1)[-1]} {settings.get(key, 'default')}" for key in unlike[:3]]
        labels.append(f"{name} ({', '.join(shown)})" if shown else name)
    return labels


def flatten(settings: Mapping[str, Any]) -> dict[str, str]:
    """Nested settings as `train.rows` -> `3000`, in the order of their keys."""
    flat: dict[str, str] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, Mapping) and value:
            for key, entry in value.items():
                walk(entry, f"{path}.{key}" if path else str(key))
        elif isinstance(value, list) and any(isinstance(entry, Mapping) for entry in value):
            for number, entry in enumerate(value):
                walk(entry, f"{path}.{number}")
        else:
            flat[path] = brief(value)

    walk(settings, "")
    flat.pop("", None)
    return flat


def brief(value: Any) -> str:
    """A setting in few words."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {brief(entry)}" for key, entry in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(brief(entry) for entry in value)
    if isinstance(value, str) and value != value.strip():
        return f'"{value}"'  # the space of a label word matters
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else "yes" if value is True else "no" if value is False else str(value)


def percent(share: float) -> str:
    """0.4512 as `45.1`."""
    return f"{100 * share:.1f}"


def bracket(interval: Sequence[float]) -> str:
    """[0.432, 0.4701] as `[43.2, 47.0]`."""
    return f"[{percent(interval[0])}, {percent(interval[1])}]"


def estimate(share: float, interval: Sequence[float]) -> str:
    """`45.1 % [43.2, 47.0]`."""
    return f"{percent(share)}{NO_BREAK}% {bracket(interval).replace(' ', NO_BREAK)}"


def points(difference: float) -> str:
    """-0.123 as `12.3`: the size of a difference in points, its sign left to the words around it."""
    return f"{abs(100 * difference):.1f}"


def number(value: Any) -> str:
    """An amount with thousands separated: `1,228,800`; other values as they are."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return brief(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def amount(value: float) -> str:
    """A setting on an axis: `10`, `0.7`, `3,000`, `270M`, `1.5B`."""
    for size, unit in ((1e9, "B"), (1e6, "M")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:,g}" if value < 1e5 else f"{value:,.0f}"


def duration(seconds: float) -> str:
    """3725 as `1 h 2 min`, 245 as `4 min 5 s`, 3.42 as `3.4 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def spread(values: Iterable[int]) -> str:
    """`100`, or `60–100` where they differ."""
    low, high = min(found := list(values)), max(found)
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def listing(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def cell(value: Any) -> Any:
    """A value as a cell of CSV: text that a spreadsheet would run as a formula gets a `'` before it; numbers stay numbers.

    See OWASP, CSV injection: `=cmd|'/C calc'!A0` in the name of a model or of a class is run when the file is opened.
    """
    if isinstance(value, str) and value[:1] in _FORMULA and value and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


_FORMULA = "=+-@\t\r\n＝＋－＠"
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")


def plain(text: str) -> str:
    """Text for a terminal: control and direction-changing characters are shown, not obeyed."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
