"""Probabilities of the labels that are right as often as they say, on rows whose labels are known.

The scores of one model are scaled by one number (temperature scaling, Guo et al. 2017, arXiv:1706.04599, section
4.2); those of several are scaled and added up (a logarithmic opinion pool, Heskes 1998), each with a number of its
own. The numbers are those under which the known labels are likeliest. That is a concave function of them: Newton's
method finds its top.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transfix.errors import TransfixError
from transfix.statistics.bootstrap import Floats

Places = npt.NDArray[np.int64]

RIDGE = 1e-2
"""Half of it times the weights' squares is taken from the log-likelihood: where every known label is the likeliest
one, they would grow without end."""

STEPS = 50


@dataclass(frozen=True, slots=True)
class Weights:
    """What the scores of each model are multiplied by.

    Attributes:
        values: one number a model (m,), not negative; of a single model 1 / temperature.
        covariance: how uncertain they are (m, m), from the curvature of the likelihood; 0 for a weight of 0.
    """

    values: Floats
    covariance: Floats


def probabilities(scores: Sequence[Floats], weights: Floats) -> Floats:
    """The probability of each label on offer (n, k); 0 for one that is not.

    Args:
        scores: of each model the log-probabilities (n, k), -inf for a label that is not on offer.
        weights: one number a model (m,).
    """
    there = np.isfinite(scores[0])
    logits = np.where(there, np.tensordot(weights, _centred(scores), 1), -np.inf)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: Floats = shares / shares.sum(axis=1, keepdims=True)
    return found


def fitted(scores: Sequence[Floats], golds: Places) -> Weights:
    """The weights under which the known labels are likeliest. A model that does not help gets 0.

    Args:
        scores: of each model the log-probabilities (n, k) of the same rows.
        golds: the place of each row's label (n,).

    Raises:
        TransfixError: there are no rows, or one's label is not on offer.
    """
    rows = np.arange(len(golds))
    if not len(rows) or not np.isfinite(scores[0][rows, golds]).all():
        raise TransfixError(
            "labels' probabilities are fitted on rows with a label that is on offer, and there are none"
        )
    left = list(range(len(scores)))
    centred = _centred(scores)
    while left:
        values, curvature = _newton(scores[0], centred[left], golds)
        if (values >= 0).all():
            break
        left.remove(left[int(values.argmin())])
    weights, covariance = np.zeros(len(scores)), np.zeros((len(scores), len(scores)))
    if left:
        weights[left] = values
        covariance[np.ix_(left, left)] = np.linalg.inv(curvature)
    return Weights(weights, covariance)


def expected(answers: Places, scores: Sequence[Floats], weights: Weights) -> tuple[float, float, float]:
    """The share of answers that is right if the labels are distributed as the probabilities say.

    Args:
        answers: the place of each row's answer (n,).
        scores: what the probabilities are of, (n, k) a model.
        weights: of `fitted`.

    Returns:
        The share; the standard error with which these rows' labels scatter around it; and that which comes from the
        weights.
    """
    rows = np.arange(len(answers))
    chances = probabilities(scores, weights.values)
    own, centred = chances[rows, answers], _centred(scores)
    lean = centred[:, rows, answers] - (chances * centred).sum(axis=2)  # d log own / d weight, (m, n)
    gradient = (own * lean).mean(axis=1)
    scatter = float(np.sqrt((own * (1 - own)).mean() / len(rows)))
    return float(own.mean()), scatter, float(np.sqrt(gradient @ weights.covariance @ gradient))


def _newton(offered: Floats, centred: Floats, golds: Places) -> tuple[Floats, Floats]:
    """The top of the penalised log-likelihood (m,), and its curvature there (m, m); `centred` is (m, n, k)."""
    rows, there = np.arange(len(golds)), np.isfinite(offered)
    aim = centred[:, rows, golds].sum(axis=1)
    weights = np.zeros(len(centred))

    def at(point: Floats) -> tuple[float, Floats]:
        logits = np.where(there, np.tensordot(point, centred, 1), -np.inf)
        top = logits.max(axis=1, keepdims=True)
        shares = np.exp(logits - top)
        total = shares.sum(axis=1, keepdims=True)
        likelihood = point @ aim - float((top + np.log(total)).sum()) - RIDGE / 2 * float(point @ point)
        return likelihood, shares / total

    height, chances = at(weights)
    curvature = np.eye(len(centred))
    for _ in range(STEPS):
        means = (chances * centred).sum(axis=2)
        slope = aim - means.sum(axis=1) - RIDGE * weights
        spread = np.einsum("nk,ank,bnk->ab", chances, centred, centred) - means @ means.T
        curvature = spread + RIDGE * np.eye(len(centred))
        step = np.linalg.solve(curvature, slope)
        while np.abs(step).max() > 1e-9:
            there_height, there_chances = at(weights + step)
            if there_height >= height:
                break
            step = step / 2
        else:
            break
        weights, height, chances = weights + step, there_height, there_chances
    return weights, curvature


def _centred(scores: Sequence[Floats]) -> Floats:
    """The scores of the labels on offer, less their mean; 0 for those that are not (m, n, k)."""
    stacked = np.stack(scores)
    there = np.isfinite(stacked)
    total = np.where(there, stacked, 0.0).sum(axis=2, keepdims=True)
    return np.where(there, stacked - total / np.maximum(there.sum(axis=2, keepdims=True), 1), 0.0)
