"""Metrics that are the mean of a score a row, which is judged when the row is answered and kept with the predictions."""

from __future__ import annotations

from transfix.statistics.metrics.metric import Metric

ROW_MEANS = (
    Metric("accuracy", "Accuracy"),
    Metric("exact_match", "Exact match"),
    Metric("exact_match_mlqa", "Exact match (mlqa normaliser)"),
    Metric("exact_match_whole", "Exact match of the whole answer"),
    Metric("f1", "F1"),
    Metric("f1_mlqa", "F1 (mlqa normaliser)"),
    Metric("chrf", "chrF++ of sentences"),
    Metric("rougeL", "ROUGE-L"),
    Metric("rouge1", "ROUGE-1"),
    Metric("rouge2", "ROUGE-2"),
)
