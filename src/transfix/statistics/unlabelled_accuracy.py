"""Published estimates of how many answers are right, of rows whose labels are not known. Each is from 0 to 1.

They start from rows of another kind (here: English) whose labels are known, and from probabilities of the labels (n,
k). How far they are off across languages is measured by `python -m benchmarks.trust`; docs/trust.md has the table.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from transfix.errors import TransfixError
from transfix.statistics.bootstrap import Floats
from transfix.statistics.label_probabilities import Places

NEAREST = 0.005
"""How near to 0 and 1 `on_the_line` lets a share come: the line has no such points."""


def average_confidence(chances: Floats) -> float:
    """The mean probability of the likeliest label (Hendrycks and Gimpel 2017, arXiv:1610.02136)."""
    _require(len(chances), "rows")
    return float(chances.max(axis=1).mean())


def difference_of_confidences(chances: Floats, english: Floats, accuracy: float) -> float:
    """English's accuracy, less what confidence falls by (DoC, Guillory et al. 2021, arXiv:2107.03315, section 4.1)."""
    return accuracy - average_confidence(english) + average_confidence(chances)


def above_threshold(confidences: Floats, english: Floats, accuracy: float) -> float:
    """The share of rows that are surer than a threshold which as many English rows pass as are right.

    ATC (Garg et al. 2022, arXiv:2201.04234, equations 1 and 2).

    Args:
        confidences: of each row (n,): the likeliest label's probability, or the negative entropy (`negative_entropy`).
        english: the same of the English rows whose accuracy is known (m,).
        accuracy: theirs.
    """
    _require(min(len(confidences), len(english)), "rows")
    threshold = np.quantile(english, 1 - accuracy)
    return float((confidences >= threshold).mean())


def negative_entropy(chances: Floats) -> Floats:
    """The sum over labels of p log p (n,), in nats."""
    found: Floats = np.where(chances > 0, chances * np.log(np.maximum(chances, np.finfo(float).tiny)), 0.0).sum(axis=1)
    return found


def agreement(answers: Places, others: Places) -> float:
    """The share of rows on which two models agree, which is what each has right if they are calibrated together.

    GDE (Jiang et al. 2022, arXiv:2106.13799, theorem 4.1), for two models that differ by chance.
    """
    _require(len(answers), "rows")
    return float((answers == others).mean())


def on_the_line(agrees: float, agrees_english: float, accuracy: float) -> float:
    """English's accuracy moved as far as agreement has moved, on the scale of the normal distribution's quantiles.

    Agreement-on-the-line (Baek et al. 2022, arXiv:2206.13089, section 4) has the line's slope from many pairs of
    models; with one pair it is 1.
    """
    probit, clip = NormalDist().inv_cdf, (NEAREST, 1 - NEAREST)
    parts = [probit(min(max(share, clip[0]), clip[1])) for share in (accuracy, agrees, agrees_english)]
    return NormalDist().cdf(parts[0] + parts[1] - parts[2])


def above_chance(accuracy: float, chance: float) -> float:
    """What is above chance, as a share of what there is above it: 0 for guessing, 1 for all right."""
    if not math.isfinite(accuracy) or not 0 <= chance < 1:
        raise TransfixError(f"there is nothing above a chance of {chance} for an accuracy of {accuracy}")
    return (accuracy - chance) / (1 - chance)


def _require(count: int, what: str) -> None:
    if not count:
        raise TransfixError(f"an accuracy is estimated over {what}, and there are none")
