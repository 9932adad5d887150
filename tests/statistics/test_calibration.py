"""What calibration takes out of scores, and that it does no harm where there is nothing to take out."""

from __future__ import annotations

import numpy as np
import pytest

from transfix.errors import TransfixError
from transfix.statistics import calibration
from transfix.statistics.bootstrap import Floats

ENGLISH, GERMAN = "eng_Latn", "deu_Latn"
SKEWED = (0.6, 0.2, 0.2)


def rows(seed: int, n: int = 600, shares: tuple[float, ...] = (1 / 3, 1 / 3, 1 / 3), shift: Floats | None = None):  # type: ignore[no-untyped-def]
    """Scores (n, 3) of a model that knows something, and the labels (n,); all shifted by a constant."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(3, n, p=shares)
    scores = generator.normal(size=(n, 3)) - 4 + 1.5 * np.eye(3)[labels]
    return scores + (0 if shift is None else shift), labels


def right(scores: Floats, labels: np.typing.NDArray[np.int_]) -> float:
    return float((scores.argmax(axis=1) == labels).mean())


@pytest.mark.parametrize("shares", [(1 / 3, 1 / 3, 1 / 3), SKEWED])
def test_a_constant_shift_is_taken_out_however_labels_are_distributed(shares: tuple[float, ...]) -> None:
    """English has the same skew: what is matched is its mean, not a uniform one."""
    english, _ = rows(0, shares=shares)
    plain, labels = rows(1, shares=shares)
    shift = np.array([0.0, 2.5, -1.0])
    whole = right(plain, labels)
    assert right(plain + shift, labels) < whole - 0.2
    other = rows(2, 256, shares)[0] + shift
    for found in (
        calibration.batch({ENGLISH: english, GERMAN: plain + shift})[GERMAN],
        calibration.moved(plain + shift, calibration.mean(other), calibration.mean(english)),
    ):
        assert right(found, labels) > whole - 0.04
    assert np.array_equal(calibration.batch({ENGLISH: english, GERMAN: plain})[ENGLISH], english)


def test_a_uniform_prior_would_do_harm_where_labels_are_skewed() -> None:
    """What the test before would not see if English were not matched."""
    english, _ = rows(0, shares=SKEWED)
    plain, labels = rows(1, shares=SKEWED)
    to_nothing = calibration.moved(plain, calibration.mean(plain), np.zeros(3))
    matched = calibration.moved(plain, calibration.mean(plain), calibration.mean(english))
    assert right(to_nothing, labels) < right(matched, labels) - 0.02


def test_no_row_is_moved_by_itself() -> None:
    scores, _ = rows(3, 40)
    before = calibration.cross_fitted(scores)
    scores[7] += [9.0, 0.0, 0.0]
    after = calibration.cross_fitted(scores)
    same = (before == after).all(axis=1)
    assert same[4:8].all()  # its fold: 40 rows, ten folds
    assert not same[:4].any()
    assert not same[8:].any()


def test_means_are_those_of_the_rows() -> None:
    """Whatever is common to all labels of a row says nothing of one, and a label not on offer is no number."""
    scores, _ = rows(4, 50)
    level = np.random.default_rng(5).normal(size=(50, 1))
    assert calibration.mean(scores + level) == pytest.approx(calibration.mean(scores))
    assert calibration.mean(scores) == pytest.approx(scores.mean(axis=0) - scores.mean())
    four = np.concatenate([scores, np.full((50, 1), -np.inf)], axis=1)
    found = calibration.mean(four)
    assert found[:3] == pytest.approx(calibration.mean(scores))
    assert np.isnan(found[3])
    moved = calibration.moved(four, found, np.array([1.0, 0.0, 0.0, 0.0]))
    assert np.isneginf(moved[:, 3]).all()
    assert moved[:, 0] == pytest.approx(scores[:, 0] - found[0] + 1)


def test_few_rows_and_no_english() -> None:
    scores, _ = rows(6, 3)
    assert np.isfinite(calibration.cross_fitted(scores)).all()
    with pytest.raises(TransfixError, match="two rows"):
        calibration.cross_fitted(scores[:1])
    with pytest.raises(TransfixError, match="none of English"):
        calibration.batch({GERMAN: scores})
    assert calibration.chosen(np.array([[0.0, 1.0], [1.0, 1.0]]), ["a", "b"]) == ["b", "a"]
