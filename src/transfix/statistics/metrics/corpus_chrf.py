"""chrF++ of a corpus (Popović 2017) from what sacrebleu counts in each row."""

from __future__ import annotations

import numpy as np

from transfix.statistics.bootstrap import Floats
from transfix.statistics.metrics.metric import Metric

BETA = 2
"""How much more recall counts than precision."""


def _score(sums: Floats) -> Floats:
    """Of the n-grams of the answers, of their references, and of both, for each kind of n-gram: (..., 24)."""
    kinds = sums.reshape(*sums.shape[:-1], -1, 3)
    answered, referred, both = kinds[..., 0], kinds[..., 1], kinds[..., 2]
    there = (answered > 0) & (referred > 0)  # texts that are shorter have no n-grams of that length
    count = np.maximum(there.sum(axis=-1), 1)
    precision = (both / np.maximum(answered, 1) * there).sum(axis=-1) / count
    recall = (both / np.maximum(referred, 1) * there).sum(axis=-1) / count
    weighted = BETA**2 * precision + recall
    score: Floats = (1 + BETA**2) * precision * recall / np.where(weighted > 0, weighted, 1)
    return np.minimum(score, 1.0)  # rounding takes a perfect score a little over it


CORPUS_CHRF = Metric("corpus_chrf", "chrF++ of the corpus", reads=("answer", "golds"), of_sums=_score)
"""Translations have it: sacrebleu, which their judge calls, counts."""
