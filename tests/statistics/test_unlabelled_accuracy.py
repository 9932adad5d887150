"""Published estimates, on scores whose accuracy is known."""

from __future__ import annotations

import numpy as np
import pytest

from transfix.errors import TransfixError
from transfix.statistics import unlabelled_accuracy as published
from transfix.statistics.bootstrap import Floats
from transfix.statistics.label_probabilities import Places


def drawn(rows: int, weight: float, seed: int) -> tuple[Floats, Places]:
    """Probabilities, and labels that are distributed as they say."""
    generator = np.random.default_rng(seed)
    logits = weight * generator.normal(size=(rows, 3))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return chances, (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)


def accuracy(chances: Floats, golds: Places) -> float:
    return float((chances.argmax(axis=1) == golds).mean())


def test_estimates_from_confidence_are_right_where_confidence_is() -> None:
    easy, easy_golds = drawn(20_000, 3, 0)
    hard, hard_golds = drawn(20_000, 1, 1)
    known, truth = accuracy(easy, easy_golds), accuracy(hard, hard_golds)
    assert known - truth > 0.15
    assert published.average_confidence(hard) == pytest.approx(truth, abs=0.01)
    assert published.difference_of_confidences(hard, easy, known) == pytest.approx(truth, abs=0.01)


def test_a_threshold_is_passed_by_as_many_english_rows_as_are_right() -> None:
    english = np.linspace(0, 1, 1001)
    assert published.above_threshold(english, english, 0.7) == pytest.approx(0.7, abs=1e-3)
    assert published.above_threshold(english / 2, english, 0.7) == pytest.approx(0.4, abs=1e-3)


def test_negative_entropy() -> None:
    found = published.negative_entropy(np.array([[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0]]))
    assert found == pytest.approx([0, -np.log(3), -np.log(2)])


def test_agreement_of_answers_drawn_from_right_probabilities_is_their_accuracy() -> None:
    generator = np.random.default_rng(2)
    chances, golds = drawn(40_000, 1.5, 3)
    one, two = ((np.log(chances) + generator.gumbel(size=chances.shape)).argmax(axis=1) for _ in range(2))
    assert published.agreement(one, two) == pytest.approx(float((one == golds).mean()), abs=0.01)


def test_agreement_on_the_line() -> None:
    assert published.on_the_line(0.8, 0.8, 0.7) == pytest.approx(0.7)
    # on the scale of quantiles: 0.5 is 0, 0.8413 is 1, 0.9772 is 2
    assert published.on_the_line(0.8413447, 0.9772499, 0.8413447) == pytest.approx(0.5, abs=1e-6)
    assert 0 < published.on_the_line(0.0, 1.0, 0.5) < 0.01


def test_above_chance() -> None:
    assert [published.above_chance(value, 0.25) for value in (0.25, 1.0, 0.625)] == pytest.approx([0, 1, 0.5])
    with pytest.raises(TransfixError, match="chance of 1"):
        published.above_chance(0.5, 1)


def test_no_rows_are_refused() -> None:
    nothing = np.zeros((0, 3))
    for call in (
        lambda: published.average_confidence(nothing),
        lambda: published.above_threshold(nothing[:, 0], nothing[:, 0], 0.5),
        lambda: published.agreement(nothing[:, 0].astype(int), nothing[:, 0].astype(int)),
    ):
        with pytest.raises(TransfixError, match="there are none"):
            call()
