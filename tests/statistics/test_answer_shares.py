"""Answers that have fallen on few labels are told from those that differ from English's by chance."""

from __future__ import annotations

import numpy as np
import pytest

from transfix.statistics.answer_shares import compared
from transfix.statistics.label_probabilities import Places


def answers(*counts: int) -> Places:
    return np.repeat(np.arange(len(counts)), counts)


@pytest.mark.parametrize(
    ("own", "spread", "distance"),
    [
        ((34, 33, 33), "as in English", 0.0),
        ((50, 30, 20), "as in English", 0.16),
        ((70, 20, 10), "shifted", 0.36),
        ((95, 3, 2), "collapsed", 0.61),
        ((0, 0, 100), "collapsed", 0.67),
    ],
)
def test_how_far_answers_are_from_english(own: tuple[int, ...], spread: str, distance: float) -> None:
    found = compared(answers(*own), answers(34, 33, 33), 3)
    assert found.spread == spread
    assert found.distance == pytest.approx(distance)
    assert found.share == max(own) / 100
    assert found.label == int(np.argmax(own))
    assert found.english == (34, 33, 33)[found.label] / 100


def test_a_distance_that_few_rows_have_by_chance_is_none() -> None:
    few = compared(answers(17, 7, 6), answers(9, 10, 11), 3)
    many = compared(answers(170, 70, 60), answers(90, 100, 110), 3)
    assert few.distance == many.distance > 0.25
    assert few.spread == "as in English"
    assert many.spread == "shifted"
    generator = np.random.default_rng(0)
    pairs = [compared(generator.integers(0, 3, 30), generator.integers(0, 3, 30), 3) for _ in range(100)]
    assert sum(found.spread != "as in English" for found in pairs) <= 3


def test_skewed_labels_are_no_collapse() -> None:
    assert compared(answers(90, 5, 5), answers(88, 8, 4), 3).spread == "as in English"
