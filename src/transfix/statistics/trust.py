"""How many answers are right in a language of which no label is known, and how wrong that estimate may be.

The anchor is English, whose labels are known for some rows. What else there is decides the estimate; docs/trust.md
says how far each was off in languages whose labels were then looked at. In short, with the scores of
`statistics.calibration`:

    translations        the model's answer to the English row, as probabilities that are right as often as they say
                        (`label_probabilities`), takes the place of the label: their mean for the row's own answer
    another adapter     what is above chance in English, times a share that falls with the agreement of the two
                        adapters' calibrated answers and with the distance of their spread from English's
    rows alone          the same with the adapter's own confidence in place of the agreement

The first needs nothing that was fitted elsewhere. Of the other two the share is a line, `LINES`, that was fitted to
runs on XNLI and AfriXNLI.

An interval is for the share of these rows that labels would show to be answered rightly. It adds three variances:
that of the rows' labels around their probabilities, that of the English rows that are the anchor, and `ERRORS`, of
the estimate itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from transfix.errors import TransfixError
from transfix.statistics import calibration
from transfix.statistics.answer_shares import Shares, compared
from transfix.statistics.bootstrap import ENGLISH, LEVEL, Floats
from transfix.statistics.label_probabilities import Places, Weights, expected, fitted, probabilities
from transfix.statistics.unlabelled_accuracy import agreement, average_confidence

Kind = Literal["translations and another adapter", "translations", "another adapter", "rows alone"]
Form = Literal["raw", "calibrated"]

FEWEST = 30
"""Rows below which nothing is estimated: the standard error of an accuracy alone is then 9 points."""

Line = tuple[float, float, float]

LINES: dict[Kind, Line] = {
    "another adapter": (0.064, 0.839, -1.534),
    "rows alone": (-0.17, 1.058, -1.957),
}
"""The share of what is above chance in English that a language keeps: a constant, what is added for each unit of
agreement (or confidence) kept above chance, and for each unit of distance of the answers' spread from English's.
Fitted by `python -m benchmarks.trust` to four adapters of Gemma 3 270M on XNLI, 14 languages each, and two of them on
AfriXNLI, 17 languages each."""

ERRORS: dict[tuple[Kind, Form], float] = {
    ("translations and another adapter", "calibrated"): 0.024,
    ("translations and another adapter", "raw"): 0.011,
    ("translations", "calibrated"): 0.02,
    ("translations", "raw"): 0.01,
    ("another adapter", "calibrated"): 0.051,
    ("another adapter", "raw"): 0.029,
    ("rows alone", "calibrated"): 0.042,
    ("rows alone", "raw"): 0.034,
}
"""The standard deviation of an estimate from the truth beside that of the rows, in languages and of adapters that had no
part in the fit: the larger of XNLI and AfriXNLI, by the same command."""


@dataclass(frozen=True, slots=True)
class Known:
    """English rows whose labels are known.

    Attributes:
        scores: log-probabilities of the labels (n, k), of the adapter, and of the other one if there is one.
        golds: the place of each row's label (n,).
    """

    scores: tuple[Floats, ...]
    golds: Places

    @property
    def accuracy(self) -> float:
        """Of the adapter."""
        return float((self.scores[0].argmax(axis=1) == self.golds).mean())

    def interval(self, level: float = LEVEL) -> Accuracy:
        """The accuracy with its interval, from the rows alone."""
        value = self.accuracy
        return _interval(value, [math.sqrt(value * (1 - value) / len(self.golds))], level)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """An estimate of the share of right answers, and its interval, all from 0 to 1."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is known of the answers in one language.

    Attributes:
        rows: how many the estimate is over.
        kind: what it rests on.
        raw: of the answers as the model gives them.
        calibrated: of the answers after calibration on the same rows (`calibration.batch`).
        raw_spread: how they are spread over the labels, beside English's.
        calibrated_spread: the same after calibration.
        chance: the share that guessing has right.
        by_chance: whether calibrated answers are those to the English rows of which theirs are translations no more
            often than by chance: then they are no translations, or the model understands nothing of them.
    """

    rows: int
    kind: Kind
    raw: Accuracy
    calibrated: Accuracy
    raw_spread: Shares
    calibrated_spread: Shares
    chance: float
    by_chance: bool = False

    @property
    def is_guessing(self) -> bool:
        """Whether the answers, calibrated too, may be no better than guesses: chance is in the interval."""
        return self.calibrated.low <= self.chance


def estimates(
    known: Known,
    asked: Mapping[str, Sequence[Floats]],
    translated: Mapping[str, tuple[Places, Places]] | None = None,
    level: float = LEVEL,
    lines: Mapping[Kind, Line] = LINES,
    errors: Mapping[tuple[Kind, Form], float] = ERRORS,
) -> dict[str, Estimate]:
    """An estimate for each language but English.

    Args:
        known: the anchor.
        asked: log-probabilities of the labels (n, k) by language, in the order in which rows were asked: of the
            adapter, and of the other one if `known` has it. English ones, if there are at least `FEWEST`, stand for
            how answers ought to be spread; else the rows of `known` do.
        translated: by language the rows that are translations of an English one, and which: two arrays of places
            (m,). Used where there are at least `FEWEST`.
        level: of the intervals.
        lines: see `LINES`.
        errors: see `ERRORS`.

    Raises:
        TransfixError: fewer than `FEWEST` rows of the anchor or of a language.
    """
    _require(known, asked)
    english = asked.get(ENGLISH, ())
    if not english or len(english[0]) < FEWEST:
        english = known.scores
    own, both = fitted(known.scores[:1], known.golds), fitted(known.scores, known.golds)
    found: dict[str, Estimate] = {}
    for code, scores in asked.items():
        if code == ENGLISH:
            continue
        moved = [
            calibration.moved(one, calibration.cross_fitted(one), calibration.mean(other))
            for one, other in zip(scores, english, strict=True)
        ]
        pairs = (translated or {}).get(code)
        language = _Language(known, own, scores[0], moved, english, level, errors)
        if pairs is not None and len(pairs[0]) >= FEWEST:
            found[code] = language.from_translations(asked[ENGLISH], pairs, both)
        else:
            found[code] = language.from_the_line(lines)
    return found


@dataclass(frozen=True, slots=True)
class _Language:
    """What an estimate is made of: the anchor, the adapter's weight, and the scores in the language and in English.

    Attributes:
        raw: the adapter's scores (n, k).
        moved: the calibrated ones, of each adapter.
        english: in English, of each adapter (m, k).
    """

    known: Known
    weight: Weights
    raw: Floats
    moved: Sequence[Floats]
    english: Sequence[Floats]
    level: float
    errors: Mapping[tuple[Kind, Form], float]

    @property
    def answers(self) -> dict[Form, Places]:
        return {"raw": self.raw.argmax(axis=1), "calibrated": self.moved[0].argmax(axis=1)}

    def from_translations(self, english: Sequence[Floats], pairs: tuple[Places, Places], weights: Weights) -> Estimate:
        kind: Kind = "translations" if len(weights.values) == 1 else "translations and another adapter"
        partners = [one[pairs[1]] for one in english]
        found: dict[Form, Accuracy] = {}
        for form, answers in self.answers.items():
            value, scatter, anchor = expected(answers[pairs[0]], partners, weights)
            found[form] = _interval(value, (scatter, anchor, self.errors[kind, form]), self.level)
        by_chance = _by_chance(self.answers["calibrated"][pairs[0]], partners[0].argmax(axis=1), self.raw.shape[1])
        return self._estimate(len(pairs[0]), kind, found, by_chance)

    def from_the_line(self, lines: Mapping[Kind, Line]) -> Estimate:
        kind: Kind = "rows alone" if len(self.moved) == 1 else "another adapter"
        chance, chance_english = _chance(self.raw), _chance(self.known.scores[0])
        accuracy = self.known.accuracy
        kept = float(np.clip(share_kept(lines[kind], *features(self.weight, self.moved, self.english)), 0, 1))
        above = max(accuracy - chance_english, 0.0) / (1 - chance_english) * (1 - chance)
        own = probabilities(self.moved[:1], self.weight.values)
        sure = average_confidence(own) - chance
        anchor = kept * math.sqrt(accuracy * (1 - accuracy) / len(self.known.golds))
        found: dict[Form, Accuracy] = {}
        for form, answers in self.answers.items():
            # raw answers are as much worse as the calibrated probabilities say
            ratio = (float(own[np.arange(len(answers)), answers].mean()) - chance) / sure if sure > 1e-9 else 1.0
            value = chance + kept * above * ratio
            scatter = math.sqrt(max(value * (1 - value), 0.0) / len(answers))
            found[form] = _interval(value, (scatter, anchor, self.errors[kind, form]), self.level)
        return self._estimate(len(self.raw), kind, found)

    def _estimate(self, rows: int, kind: Kind, found: Mapping[Form, Accuracy], by_chance: bool = False) -> Estimate:
        english, classes = self.english[0].argmax(axis=1), self.raw.shape[1]
        spreads = {form: compared(answers, english, classes) for form, answers in self.answers.items()}
        raw, moved = spreads["raw"], spreads["calibrated"]
        return Estimate(rows, kind, found["raw"], found["calibrated"], raw, moved, _chance(self.raw), by_chance)


def features(weight: Weights, moved: Sequence[Floats], english: Sequence[Floats]) -> tuple[float, float]:
    """What the share kept is a line of: the agreement, or the confidence, kept above chance; and the distance.

    Args:
        weight: of the adapter's scores, fitted to labels of English.
        moved: calibrated scores (n, k) of the adapter, and of another one if there is one.
        english: scores in English (m, k), of the same.
    """
    chance, classes = _chance(english[0]), english[0].shape[1]
    own, other = ([one.argmax(axis=1) for one in scores] for scores in (moved, english))
    if len(moved) > 1:
        kept, kept_english = agreement(own[0], own[1]), agreement(other[0], other[1])
    else:
        kept = average_confidence(probabilities(moved, weight.values))
        kept_english = average_confidence(probabilities(english, weight.values))
    above = kept_english - chance
    return (kept - chance) / above if above > 1e-9 else 1.0, compared(own[0], other[0], classes).distance


def share_kept(line: Line, kept: float, distance: float) -> float:
    """The share of what is above chance in English that a language keeps, see `LINES`."""
    return line[0] + line[1] * kept + line[2] * distance


def _chance(scores: Floats) -> float:
    """The accuracy of guessing among the labels on offer."""
    return float((1 / np.isfinite(scores).sum(axis=1)).mean())


def _by_chance(answers: Places, english: Places, classes: int) -> bool:
    """Whether answers (m,) are equal no more often than those of rows paired at random (two standard errors)."""
    counts = [np.bincount(one, minlength=classes) / len(answers) for one in (answers, english)]
    alike = float((counts[0] * counts[1]).sum())
    return agreement(answers, english) <= alike + 2 * math.sqrt(alike * (1 - alike) / len(answers))


def _interval(value: float, errors: Sequence[float], level: float) -> Accuracy:
    value = min(max(value, 0.0), 1.0)
    reach = NormalDist().inv_cdf((1 + level) / 2) * math.hypot(*errors)
    return Accuracy(value, max(value - reach, 0.0), min(value + reach, 1.0))


def _require(known: Known, asked: Mapping[str, Sequence[Floats]]) -> None:
    if len(known.golds) < FEWEST:
        raise TransfixError(f"{FEWEST} English rows with a label are needed, and there are {len(known.golds)}")
    for code, scores in asked.items():
        if code != ENGLISH and len(scores[0]) < FEWEST:
            raise TransfixError(f"{code}: {FEWEST} rows are needed, and there are {len(scores[0])}")
