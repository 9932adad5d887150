"""Whether a difference is one: p of bootstrap draws and of few rows, Holm's correction; and the rank correlation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from transfix.statistics.bootstrap import Floats

ALPHA = 0.05
"""The adjusted p below which two methods are said to differ."""

FEW_ROWS = 20
"""With fewer rows than this on which two methods differ, p is not below that of an exact test."""

FEWEST = 3
"""Languages that a rank correlation needs."""


def two_sided_p(draws: Floats) -> float:
    """Twice the share of draws on the rarer side of zero, so that p < 0.05 says what a 95 % interval without 0 says.

    Zero draws count for both sides, and one is added above and below (Davison and Hinkley 1997, chapter 4): never 0.
    """
    draws = np.round(draws, 12)  # means that differ in the last bit only are ties
    rarer = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    return min(1.0, 2 * (rarer + 1) / (len(draws) + 1))


def exact_test(apart: Floats) -> float:
    """Two-sided p of Fisher's randomisation test over the rows that differ, if they are few; else 0.

    How often a sum as far from 0 comes out if each row's difference could as well have had the other sign, over all 2^n of
    them. Of a handful of rows a bootstrap says that they would nearly always fall to the same side: 6 of 300, all for one
    method, give it p = 0.003, and this test 0.03. Of scores of 0 and 1 it is the sign test (Edgington and Onghena 2007,
    Randomization Tests, chapter 5).

    Args:
        apart: the differences (n,).
    """
    apart = apart[np.abs(apart) > 1e-12]
    if len(apart) >= FEW_ROWS:
        return 0.0
    sums: Floats = np.zeros(1)
    for size in apart:
        sums = np.concatenate([sums + size, sums - size])
    return float(np.mean(np.abs(sums) >= abs(apart.sum()) - 1e-9))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted so that the chance of one false finding among all is kept (Holm 1979), in the order given.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none falls below the one before it, or rises above 1.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def rank_correlation(first: Mapping[str, float | None], second: Mapping[str, float | None]) -> float | None:
    """Spearman's rho between the scores of languages that both have; equal scores share their rank.

    Returns:
        From -1 to 1; None under three languages, or where one of them has the same score in all.
    """
    pairs = [
        (mine, theirs) for code, mine in first.items() if mine is not None and (theirs := second.get(code)) is not None
    ]
    if len(pairs) < FEWEST:
        return None
    ranks = [_ranks(side) for side in zip(*pairs, strict=True)]
    left, right = (side - side.mean() for side in ranks)
    scale = float(np.sqrt((left**2).sum() * (right**2).sum()))
    return float((left * right).sum()) / scale if scale else None


def _ranks(scores: Sequence[float]) -> Floats:
    """The ranks from 1 (n,), the mean rank for equal scores; those that differ in the last bit only are equal."""
    _, places, counts = np.unique(np.round(scores, 12), return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return ranks
