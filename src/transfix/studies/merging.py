"""One run that several combinations come to: trained once, measured in every way they ask for.

Measurements that differ only in rows (`languages`, `limit`) become one of them all. Those that ask differently are kept
under names of their own: the task's, and the settings in which they differ from the study's own measurement of that task
(`xquad-temperature0.7`). A name depends on nothing else, so that a study that grows renames nothing it has measured.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from transfix.errors import Problem, ProblemsError
from transfix.runs.settings import Evaluation
from transfix.runs.specification import RunSpec

ROWS = ("languages", "limit")
"""What decides which rows are asked, and not how."""


def merged(base: object, groups: Sequence[Sequence[RunSpec]]) -> list[RunSpec]:
    """A specification for each group of specifications that differ only in what they are measured on.

    Args:
        base: the `evaluate` of the study's base, as it was written; what names are counted from.
        groups: the specifications, together for each run.

    Raises:
        ProblemsError: two measurements of a run that differ were given the same name.
    """
    usual = _usual(base, groups)
    problems: dict[str, Problem] = {}
    found = []
    for group in groups:
        evaluations: list[Evaluation] = []
        for evaluation in (entry for spec in group for entry in spec.evaluate):
            named = _named(evaluation, usual)
            same = [index for index, other in enumerate(evaluations) if _asking(other) == _asking(named)]
            if same:
                evaluations[same[0]] = _with_rows(evaluations[same[0]], named)
            else:
                evaluations.append(named)
        first = group[0]
        try:
            found.append(first.model_validate({**first.model_dump(mode="json"), "evaluate": evaluations}))
        except ValidationError:
            results = [entry.result for entry in evaluations]
            repeated = {name for name in results if results.count(name) > 1}
            if not repeated:
                raise
            for name in repeated:
                what = f"{name!r} would name {results.count(name)} different measurements of one run: give each its own name"
                problems[name] = Problem("evaluate", what)
    if problems:
        raise ProblemsError("the results of the study would collide:", list(problems.values()))
    return found


def _usual(base: object, groups: Sequence[Sequence[RunSpec]]) -> dict[str, dict[str, Any]]:
    """Task -> how it is usually asked: as the base says, else as the first run that measures it does."""
    usual: dict[str, dict[str, Any]] = {}
    entries = base if isinstance(base, list) else [base]
    for entry in entries:
        try:
            evaluation = Evaluation.model_validate(entry)
        except ValidationError:  # it is no evaluation on its own: groups complete it
            continue
        usual.setdefault(evaluation.task, _asking(evaluation))
    for evaluation in (entry for group in groups for spec in group for entry in spec.evaluate):
        if evaluation.name is None:
            usual.setdefault(evaluation.task, _asking(evaluation))
    return usual


def _asking(evaluation: Evaluation) -> dict[str, Any]:
    return evaluation.model_dump(mode="json", exclude=set(ROWS))


def _named(evaluation: Evaluation, usual: dict[str, dict[str, Any]]) -> Evaluation:
    """The evaluation with the name of what is unusual in it."""
    if evaluation.name is not None or evaluation.task not in usual:
        return evaluation
    before, now = usual[evaluation.task], _asking(evaluation)
    unlike = [f"{key}{_short(now[key])}" for key in now if key not in ("task", "name") and now[key] != before[key]]
    return evaluation.model_copy(update={"name": "-".join([evaluation.result, *unlike])}) if unlike else evaluation


def _short(value: Any) -> str:
    """A value as a part of a file's name: itself if it is short and plain, else a digest."""
    text = "none" if value is None else str(value)
    if re.fullmatch(r"[A-Za-z0-9_.+-]{1,24}", text):
        return text
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:6]


def _with_rows(first: Evaluation, second: Evaluation) -> Evaluation:
    """One evaluation of the rows of both."""
    languages: Any = "all"
    if first.languages != "all" and second.languages != "all":
        languages = tuple(dict.fromkeys((*first.languages, *second.languages)))
    limit = None if first.limit is None or second.limit is None else max(first.limit, second.limit)
    return first.model_copy(update={"languages": languages, "limit": limit})
