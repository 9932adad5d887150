"""Intervals of corpus BLEU and chrF++ against sacrebleu's own bootstrap; their scores are tested with `judging`."""

from __future__ import annotations

import random
from typing import Any

import pytest

from transfix.statistics import bootstrap
from transfix.statistics.metrics import METRICS, Counted, Metric, get
from transfix.tasks.judges import JUDGES

_WORDS = "der die das Haus Katze sitzt auf einer Matte und regnet heute sehr stark nicht ein Apfel"
WORDS = _WORDS.split()


@pytest.mark.parametrize("name", ["corpus_bleu", "corpus_chrf"])
def test_interval_equals_sacrebleus_bootstrap(name: str) -> None:
    from sacrebleu.metrics import BLEU, CHRF

    generator = random.Random(5)
    references = [" ".join(generator.choices(WORDS, k=generator.randrange(4, 20))) + "." for _ in range(80)]
    answers = [" ".join(word for word in text.split() if generator.random() < 0.75) for text in references]
    theirs = {"corpus_bleu": BLEU(force=True), "corpus_chrf": CHRF(word_order=2)}[name].corpus_score(
        answers, [references], n_bootstrap=4000
    )
    count = JUDGES["translation"].corpus[name]

    def counted(columns: Any, meta: Any) -> Counted:
        return count(columns["answer"], columns["golds"], "deu_Latn")

    metric = Metric(name, "", reads=METRICS[name].reads, count=counted, of_sums=METRICS[name].of_sums)
    frame = {
        "id": [f"{n}" for n in range(80)],
        "gold": references,
        "answer": answers,
        "golds": [[text] for text in references],
    }
    rows = {"deu_Latn": metric.of(frame, {}, "deu_Latn")}
    draws = bootstrap.resample(rows, 4000)
    assert 100 * draws.points["deu_Latn"] == pytest.approx(theirs.score, rel=1e-12)
    assert 100 * draws.own["deu_Latn"].mean() == pytest.approx(theirs._mean, abs=0.2)
    low, high = bootstrap.interval(draws.own["deu_Latn"])
    assert 50 * (high - low) == pytest.approx(theirs._ci, rel=0.08)


def test_a_metric_without_a_name_of_its_own_is_called_by_its_column() -> None:
    assert get("f1") is METRICS["f1"]
    assert get("my_score").title == "My score"
    assert get("my_score").of({"id": ["a"], "gold": ["x"], "metric_my_score": [0.5]}, {}, "deu_Latn").score == 0.5
