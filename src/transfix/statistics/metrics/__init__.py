"""All metrics, by name. A new one is a module beside this one and a line in `METRICS`.

What a task is measured by: a choice by those whose `kinds` hold it, a generated answer by those its judge lists.
"""

from __future__ import annotations

from transfix.statistics.metrics.corpus_bleu import CORPUS_BLEU
from transfix.statistics.metrics.corpus_chrf import CORPUS_CHRF
from transfix.statistics.metrics.macro_f1 import MACRO_F1
from transfix.statistics.metrics.metric import Columns, Counted, Metric
from transfix.statistics.metrics.row_means import ROW_MEANS

__all__ = ["CORPUS_BLEU", "CORPUS_CHRF", "MACRO_F1", "METRICS", "Columns", "Counted", "Metric", "get"]

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *ROW_MEANS,
        MACRO_F1,
        CORPUS_BLEU,
        CORPUS_CHRF,
    )
}


def get(name: str) -> Metric:
    """A metric by its name; one that is not registered is the mean of a score a row."""
    return METRICS.get(name) or Metric(name, name.replace("_", " ").capitalize())
