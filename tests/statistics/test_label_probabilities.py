"""Probabilities of labels: against a grid, against labels drawn anew, and where there is little to fit them to."""

from __future__ import annotations

import numpy as np
import pytest

from transfix.errors import TransfixError
from transfix.statistics.bootstrap import Floats
from transfix.statistics.label_probabilities import Places, expected, fitted, probabilities


def drawn(rows: int, weight: float, seed: int) -> tuple[Floats, Places]:
    """Scores, and labels that are distributed as the scores times a weight say."""
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(rows, 3))
    return scores, labels(scores * weight, generator)


def labels(logits: Floats, generator: np.random.Generator) -> Places:
    places: Places = (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)
    return places


def test_the_weight_is_that_under_which_the_labels_are_likeliest() -> None:
    scores, golds = drawn(400, 1.7, 0)
    found = fitted([scores], golds)
    grid = np.linspace(0.1, 4, 4000)
    rows = np.arange(len(golds))
    likelihoods = [np.log(probabilities([scores], np.array([weight]))[rows, golds]).sum() for weight in grid]
    assert found.values[0] == pytest.approx(grid[int(np.argmax(likelihoods))], abs=2e-3)
    assert abs(found.values[0] - 1.7) < 3 * np.sqrt(found.covariance[0, 0])


def test_two_models_get_the_weights_that_they_have_in_the_labels() -> None:
    generator = np.random.default_rng(1)
    one, two = generator.normal(size=(2, 4000, 3))
    found = fitted([one, two], labels(1.5 * one + 0.5 * two, generator))
    assert found.values == pytest.approx([1.5, 0.5], abs=0.12)


def test_a_model_that_speaks_against_the_labels_gets_nothing() -> None:
    scores, golds = drawn(300, 1.0, 2)
    found = fitted([scores, np.random.default_rng(3).normal(size=scores.shape) - np.eye(3)[golds]], golds)
    assert found.values[1] == 0
    assert found.covariance[1].tolist() == [0, 0]
    assert found.values[0] == pytest.approx(fitted([scores], golds).values[0])
    assert fitted([-scores], golds).values.tolist() == [0]


def test_labels_that_are_always_the_likeliest_leave_a_weight_that_is_finite() -> None:
    golds = np.arange(60) % 3
    found = fitted([np.eye(3)[golds]], golds)
    assert 1 < found.values[0] < 100
    share, scatter, _ = expected(golds, [np.eye(3)[golds]], found)
    assert share > 0.95
    assert scatter < 0.03


def test_the_errors_are_those_of_labels_drawn_anew() -> None:
    scores, golds = drawn(150, 1.2, 4)
    other, _ = drawn(120, 1.2, 5)
    answers = (other + np.random.default_rng(6).normal(size=other.shape)).argmax(axis=1)
    weights = fitted([scores], golds)
    share, scatter, anchor = expected(answers, [other], weights)
    generator = np.random.default_rng(7)
    right = [(labels(other * weights.values[0], generator) == answers).mean() for _ in range(2000)]
    assert np.mean(right) == pytest.approx(share, abs=0.005)
    assert np.std(right) == pytest.approx(scatter, rel=0.1)
    again = [fitted([scores], labels(scores * weights.values[0], generator)) for _ in range(300)]
    shares = [expected(answers, [other], one)[0] for one in again]
    assert np.std(shares) == pytest.approx(anchor, rel=0.25)


def test_labels_that_are_not_on_offer_have_no_probability() -> None:
    scores, golds = drawn(200, 1.0, 8)
    golds = np.minimum(golds, 1)
    scores[:, 2] = -np.inf
    weights = fitted([scores], golds)
    found = probabilities([scores], weights.values)
    assert (found[:, 2] == 0).all()
    assert found.sum(axis=1) == pytest.approx(1)
    assert weights.values[0] == pytest.approx(fitted([scores[:, :2]], golds).values[0])
    with pytest.raises(TransfixError, match="on offer"):
        fitted([scores], np.full(200, 2))


def test_no_rows_are_refused() -> None:
    with pytest.raises(TransfixError, match="there are none"):
        fitted([np.zeros((0, 3))], np.zeros(0, dtype=int))
