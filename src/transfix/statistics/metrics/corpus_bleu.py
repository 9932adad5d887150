"""BLEU of a corpus (Papineni et al. 2002) from what sacrebleu counts in each row, with its smoothing (`exp`)."""

from __future__ import annotations

import numpy as np

from transfix.statistics.bootstrap import Floats
from transfix.statistics.metrics.metric import Metric

ORDER = 4
"""N-grams up to this length."""


def _score(sums: Floats) -> Floats:
    """Of the length of the answers, that of their references, and for each n the n-grams that match and all: (..., 10)."""
    length, reference = sums[..., 0], sums[..., 1]
    matching, total = sums[..., 2 : 2 + ORDER], sums[..., 2 + ORDER :]
    # the first n without a match counts as half a match, the next one as a quarter ...
    smoothed = 0.5 ** np.cumsum(matching == 0, axis=-1)
    precision = np.where(matching > 0, matching, smoothed) / np.maximum(total, 1)
    brevity = np.exp(np.minimum(0, 1 - reference / np.maximum(length, 1)))
    score = brevity * np.exp(np.log(precision).mean(axis=-1))
    none = (matching == 0).all(axis=-1) | (total == 0).any(axis=-1)
    found: Floats = np.where(none, 0.0, score)
    return found


CORPUS_BLEU = Metric("corpus_bleu", "BLEU", reads=("answer", "golds"), of_sums=_score)
"""Translations have it: sacrebleu, which their judge calls, counts."""
