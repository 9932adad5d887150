"""Macro-F1 and its intervals: against scikit-learn or its definition written out, and against slow loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from transfix.errors import TransfixError
from transfix.statistics import bootstrap, one_run, over_seeds
from transfix.statistics.bootstrap import Scored
from transfix.statistics.metrics import MACRO_F1

CLASSES = ["entailment", "neutral", "contradiction", "none of these"]
META = {"classes": CLASSES}
CODES = ["eng_Latn", "deu_Latn", "arb_Arab"]
Frames = dict[str, dict[str, Any]]


def macro_f1(golds: Sequence[str], answers: Sequence[str]) -> float:
    """Written out: the mean of F1 over the classes that are the gold answer or the answer of some row."""
    gold, answer = np.array(golds), np.array(answers)
    found = []
    for name in {*golds, *answers}:
        right = np.sum((gold == name) & (answer == name))
        precision, recall = right / max(1, np.sum(answer == name)), right / max(1, np.sum(gold == name))
        found.append(2 * precision * recall / (precision + recall) if right else 0.0)
    return float(np.mean(found))


def frame(golds: Sequence[str], answers: Sequence[str], prefix: str = "row") -> dict[str, Any]:
    return {"id": [f"{prefix}-{n}" for n in range(len(golds))], "gold": list(golds), "answer": list(answers)}


def frames(rows: int, seed: int, skill: float = 0.5, codes: Sequence[str] = CODES) -> Frames:
    """Parallel rows, of classes that are not equally frequent, that are as easy in every language and with every seed."""
    easy, golds = (
        np.random.default_rng(0).random(rows),
        np.random.default_rng(1).choice(CLASSES[:3], rows, p=[0.6, 0.3, 0.1]),
    )
    generator = np.random.default_rng((2, seed))
    found = {}
    for code in codes:
        right = easy + generator.normal(0, 0.2, rows) < skill
        found[code] = frame(golds, np.where(right, golds, generator.choice(CLASSES[:3], rows)))
    return found


def rows_of(one: Frames) -> dict[str, Scored]:
    return {code: MACRO_F1.of(rows, META, code) for code, rows in one.items()}


@pytest.mark.parametrize("classes", [1, 2, 3, 4])
def test_equals_the_reference(classes: int) -> None:
    """Also where a class is never the answer, never the gold one, or neither."""
    generator = np.random.default_rng(classes)
    for rows in (1, 2, 5, 200):
        for _ in range(10):
            golds, answers = generator.choice(CLASSES[:classes], rows), generator.choice(CLASSES[1:], rows)
            score = MACRO_F1.of(frame(golds, answers), META, "deu_Latn").score
            assert score == pytest.approx(macro_f1(golds, answers), abs=1e-12)


def test_the_reference_equals_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(0)
    for rows in (1, 2, 5, 200):
        golds, answers = generator.choice(CLASSES[:3], rows), generator.choice(CLASSES[1:], rows)
        theirs = metrics.f1_score(golds, answers, average="macro", zero_division=0)
        assert macro_f1(golds, answers) == pytest.approx(theirs)


def test_only_rows_with_gold_count_in_any_order() -> None:
    golds, answers = ["neutral", None, "entailment", "neutral"], ["neutral", "neutral", "neutral", "entailment"]
    rows = frame(golds, answers) | {"truncated": [True, True, False, False]}  # type: ignore[arg-type]
    found = MACRO_F1.of(rows, META, "deu_Latn")
    assert (len(found), found.left_out, found.truncated) == (3, 1, 1)
    assert found.score == pytest.approx(macro_f1([g for g in golds if g], [answers[0], *answers[2:]]))
    turned = {name: column[::-1] for name, column in rows.items()}
    again = MACRO_F1.of(turned, META, "deu_Latn")
    assert again.ids.tolist() == found.ids.tolist()
    assert (again.values == found.values).all()


def test_what_it_needs_is_said() -> None:
    with pytest.raises(TransfixError, match="deu_Latn have no column answer"):
        MACRO_F1.of({"id": ["a"], "gold": ["neutral"]}, META, "deu_Latn")
    for classes in (None, 3, []):
        with pytest.raises(TransfixError, match="needs the classes"):
            MACRO_F1.of(frame(["neutral"], ["neutral"]), {"classes": classes}, "deu_Latn")


def slow(one: Frames, rows: Any) -> list[float]:
    """The score of every language on drawn rows."""
    return [macro_f1(np.array(f["gold"])[rows], np.array(f["answer"])[rows]) for f in one.values()]


def test_intervals_of_one_run_equal_a_slow_loop() -> None:
    one, generator = frames(120, 1), np.random.default_rng(7)
    found = one_run.summary_of(rows_of(one), bootstrap.resample(rows_of(one), 4000), bootstrap.LEVEL)
    assert [entry["score"] for entry in found["languages"].values()] == pytest.approx(slow(one, np.arange(120)))
    draws = np.array([slow(one, generator.integers(120, size=120)) for _ in range(1500)])
    columns = [*draws.T, draws.mean(axis=1), draws[:, 1:].mean(axis=1)]
    entries = [*found["languages"].values(), found["macro"]["all"], found["macro"]["without_english"]]
    for entry, column in zip(entries, columns, strict=True):
        low, high = np.percentile(column, [2.5, 97.5])
        assert entry["interval"] == pytest.approx([low, high], abs=0.015)
        assert np.diff(entry["interval"])[0] == pytest.approx(high - low, rel=0.08)


def test_intervals_over_seeds_equal_a_slow_loop() -> None:
    """A crossed bootstrap: the same rows for all seeds; what drawing seeds adds is stretched, see `over_seeds`."""
    seeds = [frames(90, seed, skill) for seed, skill in ((1, 0.4), (2, 0.55), (3, 0.7))]
    found = over_seeds.summary_of([rows_of(one) for one in seeds], resamples=4000)
    generator = np.random.default_rng(11)
    draws = []
    for _ in range(1500):
        rows, drawn = generator.integers(90, size=90), generator.integers(3, size=3)
        scores = np.array([slow(one, rows) for one in seeds])
        mean = scores.mean(axis=0)
        draws.append(mean + (scores[drawn].mean(axis=0) - mean) * (3 / 2) ** 0.5)
    whole = np.array([slow(one, np.arange(90)) for one in seeds])
    entry, macro = found["languages"]["deu_Latn"], found["macro"]["without_english"]
    assert entry["score"] == pytest.approx(whole[:, 1].mean())
    assert entry["sd"] == pytest.approx(whole[:, 1].std(ddof=1))
    assert macro["score"] == pytest.approx(whole[:, 1:].mean())
    assert macro["sd"] == pytest.approx(whole[:, 1:].mean(axis=1).std(ddof=1))
    for mine, column in ((entry, np.array(draws)[:, 1]), (macro, np.array(draws)[:, 1:].mean(axis=1))):
        low, high = np.percentile(column, [2.5, 97.5])
        assert mine["interval"] == pytest.approx([low, high], abs=0.02)
        assert np.diff(mine["interval"])[0] == pytest.approx(high - low, rel=0.08)


def test_one_seed_is_one_run_and_equal_seeds_are_one() -> None:
    one = rows_of(frames(80, 1))
    alone = one_run.summary_of(one, bootstrap.resample(one), bootstrap.LEVEL)
    mine = over_seeds.summary_of([one])
    for part in ("languages", "macro"):
        assert {k: {n: v for n, v in e.items() if n != "sd"} for k, e in mine[part].items()} == alone[part]
    three = over_seeds.summary_of([one, one, one])["macro"]["all"]
    assert three["sd"] == pytest.approx(0, abs=1e-12)
    assert three["interval"] == pytest.approx(alone["macro"]["all"]["interval"])


def test_seeds_of_other_classes_do_not_go_together() -> None:
    rows = frames(9, 1)
    other = {code: MACRO_F1.of(f, {"classes": CLASSES[:3]}, code) for code, f in rows.items()}
    with pytest.raises(TransfixError, match="different classes"):
        over_seeds.together([rows_of(rows), other])
