"""Judges on small texts: what they take for the answer, what it scores, and what a row without a reference answer gives."""

from __future__ import annotations

import sys

import pytest

from transfix.data import Example
from transfix.errors import TransfixError
from transfix.statistics.metrics import METRICS
from transfix.tasks.judges import JUDGES, answer_language


def row(label: str | None, language: str = "deu_Latn", answers: tuple[str, ...] = (), **fields: str) -> Example:
    return Example("x", language, fields, label, answers)


@pytest.mark.parametrize(
    ("name", "text", "example", "answer", "score"),
    [
        ("spans", " der Rhein. ", row("Rhein", answers=("Rhein", "der Rhein")), "der Rhein.", 1.0),
        ("spans", " am Rhein", row("Rhein"), "am Rhein", 2 / 3),
        ("number", " 3 + 4 = 7\n#### 1.234", row("1234"), "1234", 1.0),
        ("number", " Das sind 3,50 €.", row("3.5"), "3.50", 1.0),
        ("number", " Keine Ahnung", row("7"), "", 0.0),
        ("text", " Ja!", row("ja"), "Ja!", 1.0),
        ("harness_number", " 5 plus 3,000.", row("3000"), "3,000.", 1.0),
        ("harness_number", " nothing", row("3"), "[invalid]", 0.0),
    ],
)
def test_main_scores(name: str, text: str, example: Example, answer: str, score: float) -> None:
    judge = JUDGES[name]
    found = judge.judge(text, example)
    assert found.answer == answer
    assert set(found.scores) == set(judge.metrics)
    assert found.scores[judge.metrics[0]] == pytest.approx(score)


def test_spans_by_both_normalisers_each_under_its_name() -> None:
    """`squad` takes English articles off in every language, `mlqa` those of the language."""
    found = JUDGES["spans"].judge("der Rhein", row("Rhein")).scores
    assert found == pytest.approx({"f1": 2 / 3, "exact_match": 0, "f1_mlqa": 1, "exact_match_mlqa": 1})
    found = JUDGES["spans"].judge("the Rhein", row("Rhein")).scores
    assert found == pytest.approx({"f1": 1, "exact_match": 1, "f1_mlqa": 2 / 3, "exact_match_mlqa": 0})


@pytest.mark.parametrize("name", JUDGES)
def test_a_row_without_a_reference_answer_has_an_answer_and_no_score(name: str) -> None:
    found = JUDGES[name].judge(" 7 \n", row(None, "und"))
    assert found.answer == "7"
    assert name == "number" or not found.scores


def test_translations_and_summaries() -> None:
    same = "Der Zug fährt heute nicht."
    for name in ("translation", "summary"):
        judge = JUDGES[name]
        right, wrong = (judge.judge(text, row(same, answers=(same,))).scores for text in (same, "Ein Apfel"))
        assert set(right) == set(judge.metrics)
        assert right[judge.metrics[0]] == pytest.approx(1)
        assert wrong[judge.metrics[0]] < 0.3
    corpus = JUDGES["translation"].corpus
    assert list(corpus) == ["corpus_bleu", "corpus_chrf"]
    for name, count in corpus.items():
        counted, of_sums = count([same, same], [[same], [same]], "deu_Latn"), METRICS[name].of_sums
        assert of_sums is not None
        assert of_sums(counted.values.sum(axis=0)) == pytest.approx(1)
        assert "tok:13a" in counted.signature or name == "corpus_chrf"


def test_every_score_of_a_judge_has_a_name_for_tables() -> None:
    for judge in JUDGES.values():
        assert {*judge.metrics, *judge.corpus} <= set(METRICS)


def test_the_language_of_an_answer() -> None:
    assert answer_language(row("x", target_language="English", source_language="German")) == "eng_Latn"
    assert answer_language(row("x")) == "deu_Latn"


@pytest.mark.parametrize(("name", "package"), [("translation", "sacrebleu"), ("summary", "rouge-score")])
def test_a_package_that_is_missing_is_told_before_texts_are_written(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    JUDGES[name].require()
    monkeypatch.setitem(sys.modules, package.replace("-", "_"), None)
    with pytest.raises(TransfixError, match=rf"the package {package}.*pip install 'transfix\[generation\]'"):
        JUDGES[name].require()
    JUDGES["spans"].require()
