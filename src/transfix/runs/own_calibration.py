"""Answers to a user's rows as they are calibrated, with the means that a run has; means that do not hold are refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from transfix import languages
from transfix.errors import TransfixError, shortened, visible
from transfix.runs.answering import Answer
from transfix.runs.own_rows import own_asked_as
from transfix.runs.store import label_means
from transfix.runs.store.label_means import LabelMean, LabelMeans
from transfix.runs.whole import adapter_digest
from transfix.statistics import calibration
from transfix.statistics.bootstrap import ENGLISH

if TYPE_CHECKING:
    from transfix.data import Example
    from transfix.runs.store import Run
    from transfix.tasks import Task

FORM = "unlabelled"
FEWEST = 8
"""Different rows a language below which there is no mean to calibrate on."""

UNKNOWN = "und"
"""The language of a row that does not say it."""

COLUMN = "calibration"
"""What a row's answer was calibrated on; only where answers are calibrated."""

_WORDS = {
    "template": "the prompt",
    "form": "the prompt's wording or its settings",
    "verbaliser": "the label words",
    "few_shot_source": "where exemplars come from",
}


@dataclass(frozen=True, slots=True)
class OwnCalibration:
    """The means by which answers to a user's rows are moved.

    Attributes:
        run: whose they are.
        means: by language, English among them.
        classes: in the order of their numbers.
        name: of the evaluation that they were measured for; empty for means over rows of the user's.
    """

    run: Run
    means: Mapping[str, LabelMean]
    classes: tuple[str, ...]
    name: str = ""

    def require(self, source: Path, examples: Sequence[Example], names: Sequence[str]) -> None:
        """Refuses rows of languages that have no mean.

        Raises:
            TransfixError: with how many rows there are in each such language, and what to do.
        """
        unknown = [place for place, example in enumerate(examples) if example.language not in self.means]
        if not unknown:
            return
        first: dict[str, int] = {}
        for place in unknown:
            first.setdefault(examples[place].language, place)
        counts = Counter(examples[place].language for place in unknown)
        said = ", ".join(
            f"{_language(code) if code != UNKNOWN else 'no language said'}: {count:,} "
            f"{'row' if count == 1 else 'rows'} (the first: {names[first[code]]})"
            for code, count in counts.items()
        )
        todo = []
        if UNKNOWN in counts:
            todo.append("Give every row its `language`.")
        if absent := [code for code in counts if code != UNKNOWN]:
            named_too = " and leave --calibration out" if self.name else ""
            todo.append(
                f"Measure {named(absent)} on unlabelled rows: `transfix calibrate {self.run.path} --input "
                f"'unlabelled/{{lang}}.jsonl' --languages {','.join(absent)}`{named_too}."
            )
        raise TransfixError(
            f"{source}: answers of {self.run.name} are calibrated, and it has means of {named(self.means)} only. "
            f"{said}. {' '.join(todo)} Or have all rows answered as the model says, uncalibrated: --raw."
        )

    def moved(self, code: str, answers: Mapping[int, Answer]) -> dict[int, Answer]:
        """Answers to rows of one language with their calibrated scores; those in English as they are."""
        if code == ENGLISH or not answers:
            return dict(answers)
        scores = np.array([answer.scores for answer in answers.values()], dtype=np.float64)
        own, english = (np.array(self.means[which].mean) for which in (code, ENGLISH))
        lacking = np.atleast_1d(np.isfinite(scores).any(axis=0) & np.isnan(english - own))
        if unmeasured := [name for name, lacks in zip(self.classes, lacking, strict=True) if lacks]:
            raise TransfixError(
                f"{' and '.join(unmeasured)}: rows in {_language(code)} offer it, and none of those that the means of this "
                "language and of English are of did. Measure them on rows that do "
                f"(`transfix calibrate {self.run.path} --input ...`), or say --raw."
            )
        shifted = calibration.moved(scores, own, english)
        chosen = calibration.chosen(shifted, self.classes)
        return {
            place: replace(answer, answer=best, scores=tuple(map(float, found)))
            for (place, answer), best, found in zip(answers.items(), chosen, shifted, strict=True)
        }

    def column(self, code: str) -> str:
        """What stands in a row's `COLUMN`."""
        if code == ENGLISH:
            return "none: English is not moved"
        return f"{self.means[code].rows} rows of {code}, {self.means[ENGLISH].rows} of {ENGLISH}"

    def said(self, codes: Iterable[str]) -> str:
        """What was used for rows of these languages, as one line."""
        others = [code for code in dict.fromkeys(codes) if code != ENGLISH]
        if not others:
            return "All rows are in English, which calibration leaves as the model answers."
        used = ", ".join(f"{languages.get(code).name} {self.means[code].rows}" for code in others)
        sources = dict.fromkeys(self.means[code].source for code in (*others, ENGLISH))
        own = f"the evaluation {self.name}" if self.name else " and ".join(sources)
        return visible(
            f"Calibrated on unlabelled rows of {own}: {used}, English {self.means[ENGLISH].rows} (not moved). "
            "--raw answers as the model says."
        )


def calibration_of(run: Run, task: Task, name: str | None) -> OwnCalibration | None:
    """The means by which a run's answers to a user's rows are moved; None if it has none, and none are asked for.

    Args:
        run: whose model answers.
        task: what is asked.
        name: of an evaluation of the run whose means are to be taken; None takes those over rows of the user's.

    Raises:
        TransfixError: the means do not hold for the rows as they are asked, the file is damaged, or the evaluation has none.
    """
    if name is None:
        found = run.own_label_means()
        again = f"Measure them anew: `transfix calibrate {run.path} --input ...`, with rows of English and of every language."
    else:
        found = _of_evaluation(run, task, name)
        again = (
            f"Delete {label_means.path_of(run.path, name)} and measure them anew: `transfix evaluate {run.path} --task "
            f"{name} --calibration-rows 64`; where the evaluation itself asks otherwise, use `transfix calibrate`."
        )
    if found is None:
        return None
    run.require_trained()
    if what := differences(found, task, own_asked_as(run, task), adapter_digest(run)):
        raise TransfixError(
            f"The means of {name or 'unlabelled rows'} that {run.path} has do not hold for these rows: {what}. {again} Or "
            "have all rows answered as the model says, uncalibrated: --raw."
        )
    return OwnCalibration(run, found.by_form[FORM], found.classes, name or "")


def _of_evaluation(run: Run, task: Task, name: str) -> LabelMeans:
    if task.kind != "choice":
        raise TransfixError(
            f"--calibration {name}: {run.path} answers {task.name} with texts, which are not calibrated."
        )
    known = label_means.names(run.path)
    found = run.label_means(name) if name in known else None
    if found is None or ENGLISH not in found.by_form.get(FORM, {}):
        there = ", ".join(entry for entry in known if _has(run, entry)) or "none"
        raise TransfixError(
            f"--calibration {name}: {run.path} has no means, with English among them, that an evaluation {name} measured; it "
            f"has those of: {there}. `transfix evaluate {run.path} --calibration-rows 64` measures them on the evaluations' "
            "own rows, `transfix calibrate` on yours."
        )
    if few := [code for code, mean in found.by_form[FORM].items() if mean.rows < FEWEST]:
        raise TransfixError(
            f"--calibration {name}: the means of {named(few)} are of fewer than {FEWEST} rows. `transfix evaluate {run.path} "
            f"--task {name} --calibration-rows 64` measures better ones."
        )
    return found


def hint(run: Run, task: Task) -> str:
    """What to say where answers are not calibrated and could be, by means that an evaluation has; empty if not."""
    for name in label_means.names(run.path):
        if not _has(run, name):
            continue
        found = run.label_means(name)
        if found and not differences(found, task, own_asked_as(run, task), adapter_digest(run)):
            return f"Not calibrated. `--calibration {name}` would move answers by the means that evaluating {name} measured."
    return ""


def _has(run: Run, name: str) -> bool:
    try:
        found = run.label_means(name)
    except TransfixError:
        return False
    return found is not None and ENGLISH in found.by_form.get(FORM, {})


def differences(found: LabelMeans, task: Task, asked: Mapping[str, Any], adapter: str | None) -> str:
    """What is other about rows as they are asked now than about those that means are of; empty if they are asked alike."""
    said = []
    if found.classes != task.classes:
        said.append(f"the classes were {', '.join(found.classes)} and are {', '.join(task.classes)}")
    for key in dict.fromkeys([*found.asked, *asked]):
        was, now = found.asked.get(key), asked.get(key)
        if was != now:
            what = _WORDS.get(key, key)
            values = "" if key == "form" else f" was {shortened(repr(was))} and is {shortened(repr(now))}"
            said.append(f"{what}{values or ' is another one'}")
    if found.adapter is None:
        said.append("they do not say of which adapter they are (an earlier version measured them)")
    elif found.adapter != adapter:
        said.append("the adapter is another one: it was trained again since")
    return "; ".join(said)


def named(codes: Iterable[str]) -> str:
    """Languages in words."""
    return ", ".join(map(_language, codes)) or "no language"


def _language(code: str) -> str:
    return f"{languages.get(code).name} ({code})"
