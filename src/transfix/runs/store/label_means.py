"""What a run keeps of its preference for labels, a few numbers a language.

Over rows of an evaluation's benchmark they are in `calibration/TASK.json`, over rows of the user's in `label_means.json`:

{"format": 1, "adapter": "0a1b...", "asked": {"template": ..., "model": ...}, "classes": ["entailment", ...],
 "means": {"unlabelled": {"deu_Latn": {"mean": [0.1, -0.3, 0.2], "rows": 64, "ids": ["0007", ...], "source": "snapshot"}}}}
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from transfix.runs.store import files
from transfix.runs.store.files import UnreadableError

DIRECTORY = "calibration"
OWN = "label_means.json"
FORMAT = 1
"""Counted up whenever the file is laid out in another way."""


@dataclass(frozen=True, slots=True)
class LabelMean:
    """The mean log-probability of each class over the rows of one language.

    Attributes:
        mean: one number a class, centred to 0 over them; nan (`null` in the file) for one that no row offers.
        rows: how many rows it is of.
        ids: theirs, where they are rows of the benchmark.
        source: where they are from: `snapshot`, a file.
    """

    mean: tuple[float, ...]
    rows: int
    ids: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True, slots=True)
class LabelMeans:
    """The means of one task.

    Attributes:
        asked: how the rows were asked; means hold for rows that are asked in the same way only.
        classes: the classes, in the order of the numbers.
        by_form: form of calibration -> language -> mean.
        adapter: the digest of the adapter that answered, see `Run.adapter_digest`; None in files of earlier versions.
    """

    asked: Mapping[str, Any]
    classes: tuple[str, ...]
    by_form: Mapping[str, Mapping[str, LabelMean]] = field(default_factory=dict)
    adapter: str | None = None

    def content(self) -> dict[str, Any]:
        """As JSON can hold it."""
        forms = {form: {code: _entry(mean) for code, mean in found.items()} for form, found in self.by_form.items()}
        said = {} if self.adapter is None else {"adapter": self.adapter}
        return {"format": FORMAT, **said, "asked": dict(self.asked), "classes": list(self.classes), "means": forms}


def path_of(run: Path, task: str) -> Path:
    """Where the means over an evaluation's benchmark are, or will be."""
    return run / DIRECTORY / f"{task}.json"


def names(run: Path) -> list[str]:
    """The evaluations that have means, sorted."""
    try:
        return sorted(
            path.stem for path in (run / DIRECTORY).iterdir() if path.suffix == ".json" and path.name[0] != "."
        )
    except OSError:
        return []


def own_path_of(run: Path) -> Path:
    """Where the means over rows of the user's are, or will be."""
    return run / OWN


def read(run: Path, task: str) -> LabelMeans | None:
    """The means over an evaluation's benchmark, see `read_file`."""
    return read_file(path_of(run, task))


def read_file(path: Path) -> LabelMeans | None:
    """The means in a file; None where there is none.

    Raises:
        UnreadableError: the file is damaged, or of a later version.
    """
    found = files.read_json(path)
    if found is None:
        return None
    if found.get("format") != FORMAT:
        raise UnreadableError(path, f"it is of format {found.get('format')!r}; this version of transfix knows {FORMAT}")
    try:
        classes = tuple(map(str, found["classes"]))
        forms = {
            str(form): {str(code): _mean(entry, len(classes)) for code, entry in languages.items()}
            for form, languages in found["means"].items()
        }
        adapter = found.get("adapter")
        return LabelMeans(dict(found["asked"]), classes, forms, None if adapter is None else str(adapter))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnreadableError(path, f"it is damaged ({type(error).__name__}: {error})") from error


def _entry(found: LabelMean) -> dict[str, Any]:
    return asdict(found) | {"mean": [None if math.isnan(number) else number for number in found.mean]}


def _mean(entry: Mapping[str, Any], classes: int) -> LabelMean:
    mean = tuple(math.nan if number is None else float(number) for number in entry["mean"])
    if len(mean) != classes or any(map(math.isinf, mean)):
        raise ValueError(f"a mean of {classes} classes is {list(mean)}")
    return LabelMean(mean, int(entry["rows"]), tuple(map(str, entry["ids"])), str(entry["source"]))
