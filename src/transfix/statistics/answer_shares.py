"""How a model's answers are spread over the labels, and whether in a language they have fallen on few of them.

A model that cannot read a language, or whose scores are shifted in it, gives one label to nearly every row. English
shows how the labels ought to be spread over the same kind of rows. What lies between the two is their total variation
distance, the share of answers that would have to be others: 0 where both are spread alike, 1 where they have no label
in common.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from transfix.statistics.bootstrap import Floats
from transfix.statistics.label_probabilities import Places

Spread = Literal["as in English", "shifted", "collapsed"]

SHIFTED = 0.25
"""The distance from which on answers are called shifted. Below it, raw answers to 300 XNLI rows in 14 languages by four
adapters had as many right as calibrated ones, within 3 points; from it to `COLLAPSED` between 2 and 13 points fewer."""

COLLAPSED = 0.5
"""The distance from which on they are called collapsed: each of those had at least 7 points fewer right, 16 in the mean
(`python -m benchmarks.trust`)."""

DRAWS = 2000
QUANTILE = 0.99
"""A distance counts only where it is larger than in 99 of 100 draws of so few rows from one and the same spread."""


@dataclass(frozen=True, slots=True)
class Shares:
    """The answers of one language beside those in English.

    Attributes:
        label: the place of the label that is given most often.
        share: of the rows that get it.
        english: the share of English rows that get it.
        distance: total variation distance between the shares of all labels, from 0 to 1.
        chance: the distance that so few rows have by chance, see `QUANTILE`.
        spread: what that means.
    """

    label: int
    share: float
    english: float
    distance: float
    chance: float
    spread: Spread


def compared(answers: Places, english: Places, classes: int) -> Shares:
    """The answers of a language (n,) beside those in English (m,), each the place of a label; n, m > 0."""
    counts = np.bincount(answers, minlength=classes)
    counts_english = np.bincount(english, minlength=classes)
    own, other = counts / len(answers), counts_english / len(english)
    apart, chance = _distance(own, other), _by_chance(counts + counts_english, len(answers), len(english))
    is_apart = apart >= SHIFTED and apart > chance
    spread: Spread = "as in English" if not is_apart else "shifted" if apart < COLLAPSED else "collapsed"
    top = int(own.argmax())
    return Shares(top, float(own[top]), float(other[top]), apart, chance, spread)


def _distance(one: Floats, other: Floats) -> float:
    return float(np.abs(one - other).sum() / 2)


def _by_chance(counts: Places, rows: int, english: int) -> float:
    """The distance that is larger in one of 100 pairs of samples from the spread of both together only."""
    generator = np.random.default_rng(0)
    spread = counts / counts.sum()
    first = generator.multinomial(rows, spread, DRAWS) / rows
    second = generator.multinomial(english, spread, DRAWS) / english
    return float(np.quantile(np.abs(first - second).sum(axis=1) / 2, QUANTILE))
