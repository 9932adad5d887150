"""Holm's correction and rank correlation: against scipy and statsmodels. P-values of draws: by hand."""

from __future__ import annotations

import numpy as np
import pytest

from transfix.statistics import tests


def test_holm_equals_statsmodels() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    generator = np.random.default_rng(0)
    for size in (1, 2, 15, 122):
        p = np.round(generator.random(size) ** 3, 3)  # some equal ones
        assert tests.holm(p.tolist()) == pytest.approx(multitest.multipletests(p, method="holm")[1].tolist())
    assert tests.holm([]) == []


def test_rank_correlation_equals_scipys() -> None:
    spearmanr = pytest.importorskip("scipy.stats").spearmanr
    generator = np.random.default_rng(2)
    codes = [f"aa{letter}_Latn" for letter in "abcdefghijklmn"]
    scored = [dict(zip(codes, np.round(generator.random(14), 1).tolist(), strict=True)) for _ in range(3)]
    for first in scored:
        for second in scored:
            rho = tests.rank_correlation(first, second)
            assert rho == pytest.approx(spearmanr(list(first.values()), list(second.values())).statistic)
    assert tests.rank_correlation({"a": 1, "b": 2, "c": None, "d": 3}, {"a": 1, "c": 5, "b": 3, "d": 9}) == 1
    assert tests.rank_correlation({"a": 1, "b": 2}, {"a": 1, "b": 3}) is None
    assert tests.rank_correlation(dict.fromkeys("abc", 0.5), {"a": 1, "b": 2, "c": 3}) is None


@pytest.mark.parametrize(
    ("below", "zero", "above", "p"),
    [
        (0, 0, 999, 2 / 1000),  # never 0
        (999, 0, 0, 2 / 1000),
        (30, 0, 969, 62 / 1000),
        (20, 10, 969, 62 / 1000),  # draws of zero are on both sides
        (500, 0, 499, 1.0),
        (0, 99, 0, 1.0),
    ],
)
def test_p_is_two_sided_and_never_zero(below: int, zero: int, above: int, p: float) -> None:
    draws = np.concatenate([np.full(below, -0.1), np.zeros(zero), np.full(above, 0.1)])
    assert tests.two_sided_p(draws) == pytest.approx(p)
