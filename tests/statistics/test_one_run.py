"""Scores, their intervals and differences, of one run of each method: against scipy, exact distributions and slow loops."""

from __future__ import annotations

import itertools
import math
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest

from transfix.errors import TransfixError
from transfix.statistics import one_run, over_seeds

CODES = ["eng_Latn", "deu_Latn", "arb_Arab", "zho_Hans"]


def frame(scores: Any, prefix: str = "row", truncated: int = 0) -> dict[str, Any]:
    """Predictions with ids `prefix-0`, `prefix-1` ... and the given scores."""
    count = len(scores)
    return {
        "id": [f"{prefix}-{number}" for number in range(count)],
        "answer": ["yes" if score else "no" for score in scores],
        "gold": ["yes"] * count,
        "score": list(map(float, scores)),
        "truncated": [number < truncated for number in range(count)],
    }


def correlated(rows: int, codes: list[str], seed: int = 0, level: float = 0.5) -> dict[str, dict[str, Any]]:
    """Parallel rows: easy examples are easy in every language, as in a translated benchmark."""
    generator = np.random.default_rng(seed)
    ease = generator.normal(0, 1, rows)
    threshold = float(np.quantile(ease, 1 - level))
    return {code: frame(ease + generator.normal(0, 0.5, rows) > threshold) for code in codes}


def matrix(frames: dict[str, dict[str, Any]]) -> np.ndarray[Any, Any]:
    return np.array([frame["score"] for frame in frames.values()])


def difference(first: dict[str, Any], second: dict[str, Any], **options: Any) -> dict[str, Any]:
    """First minus second method, one run of each."""
    sides = ({code: one_run.scored(rows, code) for code, rows in side.items()} for side in (first, second))
    return over_seeds.difference_of(*sides, **options)


def test_score_n_and_counts() -> None:
    rows = frame([1, 0, 1, 1], truncated=2)
    rows["gold"][3] = None
    result = one_run.summarise({"eng_Latn": rows})
    language = result["languages"]["eng_Latn"]
    assert language["n"] == 3
    assert language["left_out"] == 1
    assert language["truncated"] == 2
    assert language["score"] == pytest.approx(2 / 3)
    assert result["metric"] == "accuracy"
    assert result["chance"] == pytest.approx(1 / 3)
    assert result["macro"]["without_english"] is None
    assert result["transfer_gap"] is None


def test_language_interval_is_the_binomial_one() -> None:
    """Resampling n rows of which k are right is a draw of Binomial(n, k/n): its quantiles are known exactly."""
    binom = pytest.importorskip("scipy.stats").binom
    result = one_run.summarise({"deu_Latn": frame([1] * 230 + [0] * 270)}, resamples=8_000)
    low, high = result["languages"]["deu_Latn"]["interval"]
    assert low == pytest.approx(binom.ppf(0.025, 500, 0.46) / 500, abs=0.003)
    assert high == pytest.approx(binom.ppf(0.975, 500, 0.46) / 500, abs=0.003)


def test_macro_and_gap_intervals_equal_scipys_paired_bootstrap() -> None:
    stats = pytest.importorskip("scipy.stats")
    frames = correlated(400, CODES)
    result = one_run.summarise(frames, resamples=8_000)

    def check(statistic: Any, mine: list[float]) -> None:
        theirs = stats.bootstrap(
            tuple(matrix(frames)),
            statistic,
            n_resamples=8_000,
            method="percentile",
            paired=True,
            vectorized=True,
            rng=np.random.default_rng(5),
        ).confidence_interval
        assert mine == pytest.approx([theirs.low, theirs.high], abs=0.003)

    check(lambda *rows, axis: np.mean([row.mean(axis) for row in rows], 0), result["macro"]["all"]["interval"])
    check(
        lambda *rows, axis: np.mean([row.mean(axis) for row in rows[1:]], 0),
        result["macro"]["without_english"]["interval"],
    )
    check(
        lambda *rows, axis: rows[0].mean(axis) - np.mean([row.mean(axis) for row in rows[1:]], 0),
        result["transfer_gap"]["interval"],
    )
    assert result["macro"]["all"]["score"] == pytest.approx(matrix(frames).mean())
    assert result["transfer_gap"]["difference"] == pytest.approx(
        matrix(frames)[0].mean() - matrix(frames)[1:].mean(axis=1).mean()
    )


def test_paired_difference_equals_a_slow_loop() -> None:
    first, second = correlated(150, CODES, seed=1, level=0.6), correlated(150, CODES, seed=2, level=0.55)
    result = difference(first, second, resamples=4_000)
    gaps = (matrix(first) - matrix(second)).mean(axis=0)
    generator = np.random.default_rng(11)
    draws = np.array([np.mean([gaps[generator.integers(150)] for _ in range(150)]) for _ in range(2000)])
    macro = result["macro"]["all"]
    assert macro["difference"] == pytest.approx(gaps.mean())
    assert macro["interval"] == pytest.approx(np.percentile(draws, [2.5, 97.5]).tolist(), abs=0.008)
    assert macro["p"] == pytest.approx(2 * min((draws <= 0).mean(), (draws >= 0).mean()), abs=0.03)
    assert macro["languages"] == 4
    assert result["unpaired"] == 0


def test_p_agrees_with_the_interval() -> None:
    """p < 0.05 exactly where the 95 % interval leaves zero out, over differences of every size."""
    for wins in range(0, 40, 2):
        first = {"deu_Latn": frame([1] * wins + [0] * 20 + [1] * 60)}
        second = {"deu_Latn": frame([0] * wins + [1] * 20 + [0] * 20 + [1] * (40 - wins) + [0] * wins)}
        result = difference(first, second)["languages"]["deu_Latn"]
        low, high = result["interval"]
        assert (low > 0 or high < 0) == (result["p"] < 0.05), (wins, result)


def test_equal_methods_differ_by_nothing() -> None:
    frames = correlated(50, CODES)
    macro = difference(frames, frames)["macro"]["without_english"]
    assert macro["difference"] == 0
    assert macro["interval"] == [0, 0]
    assert macro["p"] == 1


def test_parallel_rows_are_drawn_together_and_others_apart() -> None:
    """Four copies of one language carry the information of one; four unrelated ones of four: half the width."""
    scores = np.random.default_rng(3).random(600) < 0.5
    together = one_run.summarise({code: frame(scores) for code in CODES}, resamples=8000)
    apart = one_run.summarise({code: frame(scores, prefix=code) for code in CODES}, resamples=8000)
    one = together["languages"]["eng_Latn"]["interval"]
    assert together["macro"]["all"]["interval"] == pytest.approx(one)
    ratio = np.diff(apart["macro"]["all"]["interval"])[0] / np.diff(one)[0]
    assert ratio == pytest.approx(0.5, abs=0.05)
    gap = together["transfer_gap"]
    assert gap["interval"] == pytest.approx([0, 0], abs=1e-12)
    assert np.diff(apart["transfer_gap"]["interval"])[0] > np.diff(one)[0]


def test_partly_shared_ids_keep_every_n() -> None:
    """One language has only the first rows of the others: the shared rows are drawn together, n stays what it is."""
    frames = correlated(300, CODES)
    short = {name: column[:100] for name, column in frames["arb_Arab"].items()}
    result = one_run.summarise(frames | {"arb_Arab": short})
    whole = one_run.summarise(frames)
    assert result["languages"]["arb_Arab"]["n"] == 100
    assert result["languages"]["deu_Latn"] == whole["languages"]["deu_Latn"]
    alone = one_run.summarise({"arb_Arab": short})
    assert result["languages"]["arb_Arab"] == alone["languages"]["arb_Arab"]
    low, high = result["macro"]["all"]["interval"]
    assert low < result["macro"]["all"]["score"] < high


def test_row_order_and_repetition_change_nothing() -> None:
    frames = correlated(80, CODES)
    order = np.random.default_rng(1).permutation(80)
    shuffled = {code: {name: [column[i] for i in order] for name, column in f.items()} for code, f in frames.items()}
    assert one_run.summarise(shuffled) == one_run.summarise(frames)
    assert one_run.summarise(frames) == one_run.summarise(frames)
    assert one_run.summarise(frames, seed=1) != one_run.summarise(frames)


def test_data_frames_with_every_kind_of_missing_gold() -> None:
    rows = frame([1, 0, 1, 0, 1])
    rows["gold"] = ["yes", None, float("nan"), pd.NA, "yes"]
    expected = one_run.summarise({"deu_Latn": rows})
    assert expected["languages"]["deu_Latn"]["n"] == 2
    assert one_run.summarise({"deu_Latn": pd.DataFrame(rows)}) == expected
    strings = pd.DataFrame(rows | {"gold": ["yes", None, None, None, "yes"]}).astype({"gold": "string"})
    assert one_run.summarise({"deu_Latn": strings}) == expected


def test_language_without_gold_is_in_no_average() -> None:
    rows = frame([1, 1])
    rows["gold"] = [None, None]
    rows["score"] = [None, math.nan]
    result = one_run.summarise({"eng_Latn": frame([1, 0]), "deu_Latn": rows})
    assert result["languages"]["deu_Latn"] == {
        "n": 0,
        "score": None,
        "interval": None,
        "truncated": 0,
        "left_out": 2,
    }
    assert result["macro"]["all"]["languages"] == 1
    assert result["macro"]["without_english"] is None
    assert one_run.summarise({})["macro"] == {"all": None, "without_english": None}
    assert difference({}, {})["macro"]["all"] is None


def test_difference_uses_shared_rows_only() -> None:
    first, second = frame([1, 1, 0, 0]), frame([0, 1, 0])
    result = difference({"deu_Latn": first, "swh_Latn": first}, {"deu_Latn": second})
    assert result["languages"].keys() == {"deu_Latn"}
    assert result["languages"]["deu_Latn"]["n"] == 3
    assert result["languages"]["deu_Latn"]["difference"] == pytest.approx(1 / 3)
    assert result["unpaired"] == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": ["a", "a"]}, "'a' more than once"),
        ({"score": [1.0, 2.0]}, "score of row 'row-1' is 2.0"),
        ({"score": [None, 1.0]}, "score of row 'row-0' is nan"),
        ({"score": ["right", 1.0]}, "a score is not a number"),
    ],
)
def test_wrong_rows_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(TransfixError, match=message) as caught:
        one_run.summarise({"deu_Latn": frame([1, 0]) | change})
    assert "deu_Latn" in str(caught.value)


def test_missing_columns_and_unlike_gold_are_refused() -> None:
    with pytest.raises(TransfixError, match="deu_Latn have no column gold, score"):
        one_run.summarise({"deu_Latn": {"id": ["a"]}})
    other = frame([1, 0]) | {"gold": ["yes", "no"]}
    with pytest.raises(TransfixError, match="different gold answers for row 'row-1'"):
        difference({"deu_Latn": frame([1, 0])}, {"deu_Latn": other})


def test_fast_enough_for_the_whole_benchmark() -> None:
    """2,000 resamples of 15 languages x 5,010 rows. The bound is loose: test machines are busy."""
    codes = [f"{first}{second}a_Latn" for first, second in itertools.product("abc", "abcde")]
    frames = correlated(5010, codes)
    start = time.perf_counter()
    one_run.summarise(frames)
    assert time.perf_counter() - start < 3
