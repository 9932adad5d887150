"""Calibration of choices: a language's own preference for a label is taken out of the scores, without a label.

A model that learned a task from English prefers one English label word after text of another language: its scores z (the
log-probability of each label) are shifted by a constant of the language. What is subtracted is how far the language's mean
stands from English's, so that nothing is assumed of how the labels are distributed but that they are alike in both:

    z' = z - mean over rows of the language + mean over rows of English

The rows behind the means decide the form: unlabelled rows of the language that are not asked (`unlabelled`), or those that
are asked themselves (`batch`, after Zhou et al. 2024, arXiv:2309.17249, which divides by mean probabilities; here
cross-fitted: a row is moved by the mean of other rows). Of prompts without content (`content_free`, after Zhao et al. 2021,
arXiv:2102.09690) the mean is taken to nothing, in English too: they say the same in every language.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from transfix.errors import TransfixError
from transfix.statistics.bootstrap import ENGLISH, Floats

FOLDS = 10
"""Of `batch`: a row is moved by the mean of the nine tenths that it is not in."""


def mean(scores: Floats) -> Floats:
    """The mean of each label (k,) over rows (n, k), of the rows in which it is on offer; nan for one that never is.

    The mean over labels is taken out of every row first: how likely all labels are together says nothing of one.
    """
    there = np.isfinite(scores)
    count = there.sum(axis=0)
    centred = np.where(there, scores - _centre(scores, there), 0.0)
    found: Floats = np.where(count > 0, centred.sum(axis=0) / np.maximum(count, 1), np.nan)
    return found


def _centre(scores: Floats, there: npt.NDArray[np.bool_]) -> Floats:
    """The mean over the labels on offer of each row (n, 1)."""
    total = np.where(there, scores, 0.0).sum(axis=1, keepdims=True)
    centre: Floats = total / np.maximum(there.sum(axis=1, keepdims=True), 1)
    return centre


def moved(scores: Floats, own: Floats, english: Floats) -> Floats:
    """Scores (n, k), moved from a language's mean (k,), or that of each row (n, k), to English's (k,).

    A label for which one of the means is not known stays where it is.
    """
    shift = english - own
    found: Floats = scores + np.where(np.isfinite(shift), shift, 0.0)
    return found


def cross_fitted(scores: Floats, folds: int = FOLDS) -> Floats:
    """For each row (n, k) the mean over the rows outside its fold. Folds are neighbouring rows: they often share a text.

    Raises:
        TransfixError: there are not two rows.
    """
    if len(scores) < 2:
        raise TransfixError("batch calibration needs two rows at least")
    fold = np.arange(len(scores)) * min(folds, len(scores)) // len(scores)
    found: Floats = np.stack([mean(scores[fold != number]) for number in range(fold[-1] + 1)])[fold]
    return found


def batch(scores: Mapping[str, Floats]) -> dict[str, Floats]:
    """The scores of every language (n, k), moved by the mean over the rows asked, to English's; English is not moved.

    Args:
        scores: by language code, in the order in which rows were asked.

    Raises:
        TransfixError: English is not there, or a language has a single row.
    """
    english = mean(english_of(scores))
    return {
        code: own.copy() if code == ENGLISH else moved(own, cross_fitted(own), english) for code, own in scores.items()
    }


def english_of(by_language: Mapping[str, Floats]) -> Floats:
    """English's entry.

    Raises:
        TransfixError: there is none.
    """
    if ENGLISH not in by_language:
        raise TransfixError("calibration moves a language's scores to English's, and there are none of English")
    return by_language[ENGLISH]


def chosen(scores: Floats, classes: Sequence[str]) -> list[str]:
    """The class with the highest score of each row (n, k); the first of equal ones."""
    return [classes[place] for place in scores.argmax(axis=1)]
