"""How far estimates of accuracy without labels are off, in languages and of adapters that nothing was fitted to.

python -m benchmarks.trust RUN RUN RUN RUN --also afrixnli

All runs are measured on the same rows, `transfix evaluate RUN --limit 300`, and some of them on another task besides,
`transfix evaluate RUN --task afrixnli --languages all --limit 150`.

Reads what `transfix evaluate` has written: the log-probabilities of the labels, row by row, and the labels, which are
only used in English and to see how far an estimate was off. A line that is fitted (`statistics.trust.LINES`) is
fitted to the other runs in the other languages. Rows are used twice: all at once, with the labels of the English ones
as the anchor; and in slices of 100, with the labels of the English rows outside the slice, which is what a user has.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import table, write
from transfix.runs import records
from transfix.statistics import calibration
from transfix.statistics import unlabelled_accuracy as published
from transfix.statistics.answer_shares import compared
from transfix.statistics.bootstrap import ENGLISH, Floats
from transfix.statistics.label_probabilities import Places, fitted, probabilities
from transfix.statistics.tests import rank_correlation
from transfix.statistics.trust import ERRORS, LINES, Form, Kind, Known, Line, estimates, features

SLICE = 100
FORMS: tuple[Form, ...] = ("calibrated", "raw")
KINDS: dict[Kind, bool] = {
    "rows alone": False,
    "another adapter": True,
    "translations": False,
    "translations and another adapter": True,
}
"""Whether each needs another adapter."""

OF_TWO = ("GDE (agreement)", "agreement's fall", "agreement on the line")
NOTHING = dict.fromkeys(ERRORS, 0.0)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of all languages, translations of each other, as several adapters have scored them.

    Attributes:
        scores: by adapter, by language (n, k).
        golds: by language (n,).
        anchor: the same of the English rows whose labels are known: by adapter (m, k).
        anchor_golds: theirs (m,).
    """

    scores: Mapping[str, Mapping[str, Floats]]
    golds: Places
    anchor: Mapping[str, Floats]
    anchor_golds: Places

    def known(self, names: Sequence[str]) -> Known:
        """The anchor of one adapter or two."""
        return Known(tuple(self.anchor[name] for name in names), self.anchor_golds)


@dataclass(frozen=True, slots=True)
class Case:
    """One adapter, perhaps beside another one, on some rows, in one language; everything that an estimate needs."""

    rows: Rows
    names: tuple[str, ...]
    language: str

    @property
    def raw(self) -> Floats:
        """The adapter's scores (n, k)."""
        return self.rows.scores[self.names[0]][self.language]

    @property
    def english(self) -> list[Floats]:
        """Scores in English, of each adapter (n, k)."""
        return [self.rows.scores[name][ENGLISH] for name in self.names]

    @property
    def moved(self) -> list[Floats]:
        """Calibrated scores of each adapter (n, k)."""
        own = [self.rows.scores[name][self.language] for name in self.names]
        return [
            calibration.moved(one, calibration.cross_fitted(one), calibration.mean(other))
            for one, other in zip(own, self.english, strict=True)
        ]

    def truth(self, form: Form) -> float:
        """What the labels say."""
        answers = (self.raw if form == "raw" else self.moved[0]).argmax(axis=1)
        return float((answers == self.rows.golds).mean())


def read(folders: Iterable[Path], task: str) -> Rows:
    """All rows at once; the labels of the English ones are the anchor."""
    scores: dict[str, dict[str, Floats]] = {}
    golds: dict[str, Places] = {}
    ids: list[Any] | None = None
    for folder in folders:
        found = records.read(folder).predictions.get(task, {})
        if ENGLISH not in found:
            raise SystemExit(f"{folder} has no predictions on {task} in English")
        for code, one in found.items():
            ids = ids or one.columns["id"]
            if one.options is None or one.columns["id"] != ids:
                raise SystemExit(f"{folder}: its rows of {task} in {code} are not those of the other languages or runs")
            classes = [str(name) for name in one.meta["classes"]]
            golds[code] = np.array([classes.index(gold) for gold in one.columns["gold"]])
            scores.setdefault(folder.name, {})[code] = one.options
    if any(not np.array_equal(own, golds[ENGLISH]) for own in golds.values()):
        raise SystemExit("the languages' labels differ")
    return Rows(scores, golds[ENGLISH], {name: own[ENGLISH] for name, own in scores.items()}, golds[ENGLISH])


def slices(rows: Rows) -> list[Rows]:
    """The same in slices, each with the English rows outside it as its anchor."""
    count = len(rows.golds)
    found = []
    for start in range(0, count - SLICE + 1, SLICE):
        own = np.arange(start, start + SLICE)
        rest = np.setdiff1d(np.arange(count), own)
        scores = {name: {code: one[own] for code, one in by.items()} for name, by in rows.scores.items()}
        anchor = {name: one[rest] for name, one in rows.anchor.items()}
        found.append(Rows(scores, rows.golds[own], anchor, rows.anchor_golds[rest]))
    return found


def cases(parts: Sequence[Rows], beside: bool) -> list[Case]:
    """Every adapter in every language but English; or every pair of adapters."""
    names = list(parts[0].scores)
    groups: list[tuple[str, ...]] = list(itertools.permutations(names, 2)) if beside else [(name,) for name in names]
    return [
        Case(rows, group, code)
        for rows in parts
        for group in groups
        for code in rows.scores[group[0]]
        if code != ENGLISH
    ]


Seen = Sequence[tuple[Case, tuple[float, float], float]]
"""Cases with what a line is through: its two features, and the share kept."""


def fit(found: Seen, without: Case | None = None) -> Line:
    """The line through the shares kept, by least squares, of the other adapters in the other languages."""
    used = [
        (values, share)
        for case, values, share in found
        if without is None or (case.language != without.language and not {*case.names} & {without.names[0]})
    ]
    design = np.array([[1.0, *values] for values, _ in used])
    one, two, three = np.linalg.lstsq(design, np.array([share for _, share in used]), rcond=None)[0]
    return float(one), float(two), float(three)


def seen(case: Case) -> tuple[Case, tuple[float, float], float]:
    """A case with what its line is fitted to."""
    known = case.rows.known(case.names)
    weight = fitted(known.scores[:1], known.golds)
    chance = 1 / case.raw.shape[1]
    accuracy = float((case.english[0].argmax(axis=1) == case.rows.golds).mean())
    kept = published.above_chance(case.truth("calibrated"), chance) / published.above_chance(accuracy, chance)
    return case, features(weight, case.moved, case.english), kept


@dataclass(frozen=True, slots=True)
class Found:
    """An estimate and the truth.

    Attributes:
        variance: what is known of the squared error: of the rows' labels and of the anchor.
    """

    case: Case
    form: Form
    value: float
    truth: float
    variance: float = 0.0

    @property
    def error(self) -> float:
        """How far it is off."""
        return self.value - self.truth


def ours(listed: Sequence[Case], kind: Kind, lines: Callable[[Case], Line]) -> list[Found]:
    """The estimates of `statistics.trust`."""
    found = []
    for case in listed:
        asked = {code: [case.rows.scores[name][code] for name in case.names] for code in (ENGLISH, case.language)}
        places = np.arange(len(case.rows.golds))
        pairs = {case.language: (places, places)} if kind.startswith("translations") else None
        own = {kind: lines(case)} if kind in LINES else {}
        estimate = estimates(case.rows.known(case.names), asked, pairs, 0.6826894921370859, own, NOTHING)[case.language]
        for form in FORMS:
            part = estimate.raw if form == "raw" else estimate.calibrated
            reach = max(part.high - part.value, part.value - part.low)  # one standard error
            found.append(Found(case, form, part.value, case.truth(form), reach**2))
    return found


def others(case: Case, form: Form) -> dict[str, float]:
    """The published estimates, and the simplest ones."""
    known = case.rows.known(case.names)
    accuracy = known.accuracy
    own = case.moved[0] if form == "calibrated" else case.raw
    weight = fitted(known.scores[:1], known.golds).values
    plain = probabilities([own], np.ones(1))
    anchor, english = probabilities(known.scores[:1], np.ones(1)), probabilities(case.english[:1], np.ones(1))
    scaled = probabilities([own], weight)
    answers, in_english = own.argmax(axis=1), case.english[0].argmax(axis=1)
    agrees = published.agreement(answers, in_english)
    wrong = (1 - accuracy) / (own.shape[1] - 1)
    found = {
        "English's accuracy": accuracy,
        "average confidence": published.average_confidence(plain),
        "average confidence, temperature of English": published.average_confidence(scaled),
        "DoC": published.difference_of_confidences(plain, english, accuracy),
        "ATC, confidence": published.above_threshold(plain.max(axis=1), anchor.max(axis=1), accuracy),
        "ATC, entropy": published.above_threshold(
            published.negative_entropy(plain), published.negative_entropy(anchor), accuracy
        ),
        "translations: agreement": agrees,
        "translations: agreement, English's errors apart": agrees * accuracy + (1 - agrees) * wrong,
    }
    if len(case.names) > 1:
        other = case.moved[1] if form == "calibrated" else case.rows.scores[case.names[1]][case.language]
        both = published.agreement(answers, other.argmax(axis=1))
        both_english = published.agreement(in_english, case.english[1].argmax(axis=1))
        found |= {
            "GDE (agreement)": both,
            "agreement's fall": accuracy + both - both_english,
            "agreement on the line": published.on_the_line(both, both_english, accuracy),
        }
    return found


def judged(found: Sequence[Found]) -> dict[str, Any]:
    """Mean absolute error, bias (points); mean over adapters and slices of the rank correlation over languages."""
    errors = np.array([100 * one.error for one in found])
    groups: dict[Any, list[Found]] = {}
    for one in found:
        groups.setdefault((id(one.case.rows), one.case.names), []).append(one)
    ranks = [
        rank_correlation({one.case.language: one.value for one in own}, {one.case.language: one.truth for one in own})
        for own in groups.values()
    ]
    known = [rank for rank in ranks if rank is not None]
    return {
        "mean_absolute_error": round(float(np.abs(errors).mean()), 2),
        "bias": round(float(errors.mean()), 2),
        "rank_correlation": round(float(np.mean(known)), 2) if known else None,
    }


def spread_of(found: Sequence[Found]) -> float:
    """The standard deviation of the error beside what is known of it; 0 where that explains all."""
    return float(np.sqrt(max(float(np.mean([one.error**2 - one.variance for one in found])), 0.0)))


def coverage(found: Sequence[Found], spread: float | None = None) -> dict[str, float]:
    """The share of 95 % intervals that hold the truth, and how far they reach to each side (points).

    Args:
        found: estimates and truths.
        spread: the error beside what is known of it; None is that of the other adapters in the other languages.
    """
    held, reaches = [], []
    for one in found:
        rest = [
            other
            for other in found
            if other.case.language != one.case.language and one.case.names[0] not in other.case.names
        ]
        reach = 1.959964 * np.sqrt((spread_of(rest) if spread is None else spread) ** 2 + one.variance)
        held.append(abs(one.error) <= reach)
        reaches.append(100 * reach)
    return {"coverage": round(float(np.mean(held)), 3), "half_width": round(float(np.mean(reaches)), 1)}


def spreads(rows: Rows) -> list[dict[str, Any]]:
    """How answers are spread, and what calibration wins."""
    found = []
    for case in cases([rows], beside=False):
        english, classes = case.english[0].argmax(axis=1), case.raw.shape[1]
        raw, moved = case.raw.argmax(axis=1), case.moved[0].argmax(axis=1)
        both = [compared(answers, english, classes) for answers in (raw, moved)]
        found.append(
            {
                "run": case.names[0],
                "language": case.language,
                "distance_raw": round(both[0].distance, 3),
                "distance_calibrated": round(both[1].distance, 3),
                "spread_raw": both[0].spread,
                "spread_calibrated": both[1].spread,
                "raw": round(case.truth("raw"), 4),
                "calibrated": round(case.truth("calibrated"), 4),
            }
        )
    return found


def defaults(
    parts: Sequence[Rows],
    fitted_to: Mapping[Kind, Seen],
    errors: dict[str, float],
    spreads_known: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The estimates of `statistics.trust` judged on some rows, lines fitted to the other adapters in the other languages.

    Args:
        parts: the rows.
        fitted_to: what lines are fitted to.
        errors: gets the largest spread that each kind of estimate had.
        spreads_known: that of other rows, for the intervals; None takes that of the other adapters in the other languages.
    """
    found: dict[str, Any] = {}
    for kind, beside in KINDS.items():
        everything = ours(cases(parts, beside), kind, lambda case, own=kind: fit(fitted_to[own], case))  # type: ignore[misc]
        for form in FORMS:
            own = [one for one in everything if one.form == form]
            name = f"{kind}, {form}"
            held = coverage(own, None if spreads_known is None else spreads_known[name])
            found[f"{kind} (the default), {form}"] = judged(own) | held
            errors[name] = max(errors.get(name, 0.0), round(spread_of(own), 4))
    return found


def simple(parts: Sequence[Rows]) -> dict[str, Any]:
    """The published estimates judged on some rows."""
    found: dict[str, list[Found]] = {}
    for case in [*cases(parts, beside=False), *cases(parts, beside=True)]:
        for form in FORMS:
            for name, value in others(case, form).items():
                if (name in OF_TWO) == (len(case.names) > 1):
                    found.setdefault(f"{name}, {form}", []).append(Found(case, form, value, case.truth(form)))
    return {name: judged(own) for name, own in found.items()}


def beside_labels(whole: Rows) -> dict[str, Any]:
    """What translations say of rows that were not looked at, beside what labels of the same rows would have said.

    Of three slices one has the rows, the second the English labels, and the third the truth, in every order.
    """
    parts = slices(whole)
    found: dict[str, list[Found]] = {}
    for own, anchor, rest in itertools.permutations(parts, 3):
        english = {name: by[ENGLISH] for name, by in anchor.scores.items()}
        rows = Rows(own.scores, own.golds, english, anchor.golds)
        for case in cases([rows], beside=False):
            there = Case(rest, case.names, case.language)
            for one in ours([case], "translations", lambda _: (0.0, 0.0, 0.0)):
                truth = there.truth(one.form)
                found.setdefault(f"translations, {one.form}", []).append(Found(case, one.form, one.value, truth))
                found.setdefault(f"labels, {one.form}", []).append(Found(case, one.form, one.truth, truth))
    return {name: judged(own) for name, own in found.items()}


def standard_error(parts: Sequence[Rows]) -> float:
    """Of an accuracy that labels of so many rows would show, in points."""
    truths = [(case.truth("calibrated"), len(case.rows.golds)) for case in cases(parts, beside=False)]
    return round(float(np.mean([100 * np.sqrt(truth * (1 - truth) / rows) for truth, rows in truths])), 1)


def main() -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs: at least three")
    parser.add_argument("--task", default="xnli")
    parser.add_argument("--also", required=True, help="another task that at least two of them are measured on")
    parser.add_argument("--only", default="", help="results are not written")
    given = parser.parse_args()
    whole = read(given.runs, given.task)
    also = read([folder for folder in given.runs if given.also in records.read(folder).predictions], given.also)
    first = {kind: [seen(case) for case in cases([whole], beside)] for kind, beside in KINDS.items()}
    both = {kind: [*first[kind], *map(seen, cases([also], beside))] for kind, beside in KINDS.items()}
    settings = {
        f"{given.task}, {len(whole.golds)} rows": [whole],
        f"{given.task}, {SLICE} rows, anchor of others": slices(whole),
        f"{given.also}, {len(also.golds)} rows": [also],
    }
    errors: dict[str, float] = {}
    judgements: dict[str, dict[str, Any]] = {}
    for title, parts in settings.items():
        before = dict(errors) if parts[0].golds is also.golds else None  # intervals as the first task has them
        judgements[title] = defaults(parts, both, errors, before) | simple(parts)
        if before is not None:
            judgements[f"{title}, lines of {given.task} alone"] = defaults(parts, first, {}, before)
    content = {
        "lines": {kind: [round(number, 3) for number in fit(both[kind])] for kind in LINES},
        "errors": errors,
        "standard_errors_of_the_truth": {title: standard_error(parts) for title, parts in settings.items()},
        "judgements": judgements,
        "beside_labels": beside_labels(whole),
        "spreads": [*spreads(whole), *spreads(also)],
        "fitted_to": {
            kind: [
                [*case.names, case.language, *np.round([*values, share], 4).tolist()]
                for case, values, share in both[kind]
            ]
            for kind in LINES
        },
    }
    columns = ("mean_absolute_error", "bias", "rank_correlation", "coverage", "half_width")
    for title, facts in judgements.items():
        lines = [(name, *(own.get(column, "") for column in columns)) for name, own in facts.items()]
        print(f"\n{title}\n\n{table(('estimate', *columns), lines)}")
    print(
        content["lines"], content["errors"], content["beside_labels"], content["standard_errors_of_the_truth"], sep="\n"
    )
    write("trust", given, content)


if __name__ == "__main__":
    main()
