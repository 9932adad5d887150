"""Intervals and differences over examples and seeds: against scipy, statsmodels and slow loops."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from transfix.errors import TransfixError
from transfix.statistics import bootstrap, one_run, over_seeds

CODES = ["eng_Latn", "deu_Latn", "arb_Arab", "zho_Hans"]
Frames = dict[str, dict[str, Any]]


def frames(rows: int, seed: int, skill: float = 0.0, ease: int = 0, codes: list[str] = CODES) -> Frames:
    """One seed of a method, on rows that are as easy for every method and in every language."""
    easy = np.random.default_rng(ease).normal(0, 1, rows)
    generator = np.random.default_rng((1, seed))
    found = {}
    for code in codes:
        right = easy + generator.normal(0, 0.7, rows) + skill > 0
        found[code] = {
            "id": [f"row-{row}" for row in range(rows)],
            "gold": ["yes"] * rows,
            "score": right.astype(float),
        }
    return found


def scored(seeds: list[Frames]) -> list[dict[str, bootstrap.Scored]]:
    return [{code: one_run.scored(frame, code) for code, frame in one.items()} for one in seeds]


def summary(seeds: list[Frames], **options: Any) -> dict[str, Any]:
    return over_seeds.summary_of(scored(seeds), **options)


def difference(first: list[Frames], second: list[Frames], **options: Any) -> dict[str, Any]:
    return over_seeds.difference_of(*(over_seeds.together(scored(side)) for side in (first, second)), **options)


def tensor(seeds: list[Frames]) -> np.ndarray[Any, Any]:
    """(seeds, languages, rows)."""
    return np.array([[frame["score"] for frame in one.values()] for one in seeds])


def without(entry: Any, *names: str) -> Any:
    """Nested mappings without some keys."""
    if isinstance(entry, dict):
        return {key: without(value, *names) for key, value in entry.items() if key not in names}
    return entry


def test_one_seed_is_what_one_run_says_to_the_bit() -> None:
    first, second = frames(157, 1), frames(157, 2, 0.2)
    first["arb_Arab"] = {name: column[:50] for name, column in first["arb_Arab"].items()}
    mine = summary([first])
    assert (mine["seeds"], mine["unpaired"], mine["macro"]["all"]["sd"]) == (1, 0, None)
    assert without(mine, "sd", "seeds", "unpaired") == without(one_run.summarise(first, 0.5), "chance")
    mine = difference([first], [second])
    new = ("holm", "wins", "ties", "losses", "seeds", "seeds_paired", "unpaired")
    assert mine["unpaired"] == 157 - 50
    second["arb_Arab"] = {name: column[:50] for name, column in second["arb_Arab"].items()}
    apart = {
        code: dataclasses.replace(a, values=a.values - b.values)
        for (code, a), b in zip(scored([first])[0].items(), scored([second])[0].values(), strict=True)
    }
    expected = one_run.difference_of(apart, bootstrap.resample(apart), bootstrap.LEVEL)
    few, by_rows = (found["languages"]["arb_Arab"] for found in (mine, expected))
    assert few["p"] >= by_rows["p"]
    by_rows["p"] = few["p"]  # few rows differ there: see `exact_test`
    assert without(mine, *new) == expected


def test_equal_seeds_are_one_seed() -> None:
    """Seeds that answer alike add nothing: the numbers are those of one."""
    one = frames(80, 1)
    mine, alone = summary([one, one, one]), one_run.summarise(one)
    assert mine["macro"]["all"]["sd"] == pytest.approx(0)
    assert mine["macro"]["all"]["interval"] == pytest.approx(alone["macro"]["all"]["interval"])
    assert mine["transfer_gap"]["interval"] == pytest.approx(alone["transfer_gap"]["interval"])


def test_means_and_deviations() -> None:
    seeds = [frames(60, seed, 0.1 * seed) for seed in (1, 2, 3)]
    found, scores = summary(seeds), tensor(seeds)
    assert found["seeds"] == 3
    assert found["languages"]["deu_Latn"]["score"] == pytest.approx(scores[:, 1].mean())
    assert found["languages"]["deu_Latn"]["sd"] == pytest.approx(np.std(scores[:, 1].mean(axis=1), ddof=1))
    assert found["macro"]["without_english"]["score"] == pytest.approx(scores[:, 1:].mean())
    assert found["macro"]["without_english"]["sd"] == pytest.approx(np.std(scores[:, 1:].mean(axis=(1, 2)), ddof=1))
    gap = scores[:, 0].mean() - scores[:, 1:].mean()
    assert found["transfer_gap"]["difference"] == pytest.approx(gap)


def of_seeds(scores: np.ndarray[Any, Any], drawn: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The mean over drawn seeds, the first axis, its distance from the mean of all stretched by √(k/(k - 1))."""
    mean = scores.mean(axis=0)
    stretched: np.ndarray[Any, Any] = (
        mean + (scores[drawn].mean(axis=0) - mean) * (len(scores) / (len(scores) - 1)) ** 0.5
    )
    return stretched


def test_equal_methods_differ_by_chance_about_as_often_as_p_says() -> None:
    """Three seeds that move a method by 3 points, more than 300 rows a language do."""
    generator, found = np.random.default_rng(5), 0
    ids = [f"row-{row}" for row in range(300)]
    for _ in range(60):
        methods = []
        for _ in range(2):
            shifts = generator.normal(0, 0.03, 3)
            methods.append(
                [
                    {
                        code: {"id": ids, "gold": ["yes"] * 300, "score": (generator.random(300) < 0.5 + shift) * 1.0}
                        for code in CODES
                    }
                    for shift in shifts
                ]
            )
        found += difference(*methods, resamples=500)["macro"]["all"]["p"] < 0.05
    assert found <= 60 * 0.15


def test_intervals_equal_a_slow_loop_over_examples_and_seeds() -> None:
    seeds = [frames(90, seed, skill) for seed, skill in ((1, 0.0), (2, 0.5), (3, 0.9), (4, 0.2))]
    found, scores = summary(seeds, resamples=8000), tensor(seeds)
    generator = np.random.default_rng(42)
    draws = []
    for _ in range(8000):
        drawn = of_seeds(scores, generator.integers(4, size=4))[:, generator.integers(90, size=90)].mean(axis=1)
        draws.append([drawn[1], drawn.mean(), drawn[1:].mean(), drawn[0] - drawn[1:].mean()])
    expected = np.percentile(np.array(draws), [2.5, 97.5], axis=0).T
    mine = [found["languages"]["deu_Latn"], *found["macro"].values(), found["transfer_gap"]]
    for entry, interval in zip(mine, expected, strict=True):
        assert entry["interval"] == pytest.approx(interval.tolist(), abs=0.012)
        assert np.diff(entry["interval"])[0] == pytest.approx(np.diff(interval)[0], rel=0.07)


def test_paired_difference_equals_scipys_bootstrap_over_examples() -> None:
    """Seeds that are alike leave the examples: scipy's own paired bootstrap must give the interval and the p."""
    stats = pytest.importorskip("scipy.stats")
    first, second = frames(200, 1, 0.12), frames(200, 2)
    found = difference([first, first], [second, second], resamples=8000)
    a, b = tensor([first])[0], tensor([second])[0]

    def mean(*languages: Any, axis: int) -> Any:
        return np.mean([language.mean(axis) for language in languages], axis=0)

    theirs = stats.bootstrap(
        tuple(a - b), mean, n_resamples=8000, method="percentile", paired=True, rng=np.random.default_rng(3)
    )
    interval = theirs.confidence_interval
    macro = found["macro"]["all"]
    assert macro["difference"] == pytest.approx((a - b).mean())
    assert macro["interval"] == pytest.approx([interval.low, interval.high], abs=0.004)
    draws = theirs.bootstrap_distribution
    assert macro["p"] == pytest.approx(2 * min((draws <= 0).mean(), (draws >= 0).mean()), abs=0.02)


@pytest.mark.parametrize("paired", [True, False])
def test_difference_over_seeds_equals_a_slow_loop(paired: bool) -> None:
    first = [frames(70, seed, skill) for seed, skill in ((1, 0.6), (2, 0.0), (3, 0.3))]
    second = [frames(70, 10 + seed, skill) for seed, skill in ((1, 0.3), (2, -0.3), (3, 0.0))]
    found = difference(first, second, paired=paired, resamples=8000)
    assert (found["seeds"], found["seeds_paired"]) == ([3, 3], paired)
    a, b = tensor(first).mean(axis=1), tensor(second).mean(axis=1)
    generator = np.random.default_rng(9)
    draws = []
    for _ in range(8000):
        rows, mine = generator.integers(70, size=70), generator.integers(3, size=3)
        theirs = mine if paired else generator.integers(3, size=3)
        draws.append(of_seeds(a, mine)[rows].mean() - of_seeds(b, theirs)[rows].mean())
    macro = found["macro"]["all"]
    assert macro["difference"] == pytest.approx(a.mean() - b.mean())
    expected = np.percentile(draws, [2.5, 97.5])
    assert macro["interval"] == pytest.approx(expected.tolist(), abs=0.012)
    assert np.diff(macro["interval"])[0] == pytest.approx(np.diff(expected)[0], rel=0.07)


@pytest.mark.parametrize(("better", "worse"), [(6, 0), (9, 0), (7, 2), (0, 4), (0, 0)])
def test_few_rows_that_differ_are_judged_by_an_exact_test(better: int, worse: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    same = {"id": [f"{row}" for row in range(300)], "gold": ["yes"] * 300, "score": np.zeros(300)}
    first, second = (same | {"score": np.zeros(300)} for _ in range(2))
    first["score"][:better] = 1
    second["score"][better : better + worse] = 1
    found = difference([{"deu_Latn": first}], [{"deu_Latn": second}])
    (entry,) = found["languages"].values()
    exact = stats.binomtest(better, better + worse).pvalue if better + worse else 1.0
    assert entry["p"] == found["macro"]["all"]["p"] == pytest.approx(exact)
    first["score"][:25] = 1
    (entry,) = difference([{"deu_Latn": first}], [{"deu_Latn": same}])["languages"].values()
    assert entry["p"] < 0.001


def test_averages_and_the_gap_over_few_rows_equal_scipys_permutation_test() -> None:
    """12 rows in three languages: a row and its translations change sign together."""
    stats = pytest.importorskip("scipy.stats")
    codes = ("eng_Latn", "deu_Latn", "arb_Arab")
    first, second = frames(12, 1, 0.4, codes=codes), frames(12, 2, codes=codes)
    a, b = (tensor([side])[0] for side in (first, second))

    def exact(rows: Any) -> float:
        found = stats.permutation_test(
            (rows,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=False
        )
        return float(found.pvalue)

    found = difference([first], [second])["macro"]
    assert found["all"]["p"] == pytest.approx(exact((a - b).mean(axis=0)))
    assert found["without_english"]["p"] == pytest.approx(exact((a - b)[1:].mean(axis=0)))
    gap = summary([first])["transfer_gap"]
    assert gap["p"] >= exact(a[0] - a[1:].mean(axis=0)) - 1e-9


def test_wins_are_counted_by_what_holm_says() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    codes = [f"aa{letter}_Latn" for letter in "abcdefghijkl"]
    first = [frames(150, seed, 0.35, codes=codes) for seed in (1, 2)]
    second = [frames(150, seed, codes=codes) for seed in (3, 4)]
    for code in codes[:3]:
        first[0][code], second[0][code] = second[0][code], first[0][code]
        first[1][code], second[1][code] = second[1][code], first[1][code]
    found = difference(first, second)
    entries = found["languages"].values()
    adjusted = multitest.multipletests([entry["p"] for entry in entries], method="holm")[1]
    assert [entry["holm"] for entry in entries] == pytest.approx(adjusted.tolist())
    signs = [np.sign(entry["difference"]) for entry, p in zip(entries, adjusted, strict=True) if p < 0.05]
    counts = (found["wins"], found["losses"], found["ties"])
    assert counts == (signs.count(1), signs.count(-1), len(codes) - len(signs))
    assert len(signs) < sum(entry["p"] < 0.05 for entry in entries)  # the correction does something here
    assert 0 < found["wins"] < len(codes)
    turned = difference(second, first)
    assert (turned["losses"], turned["wins"], turned["ties"]) == counts


def test_many_languages_can_still_differ() -> None:
    """The smallest possible p must outlive the correction over the 122 languages of Belebele."""
    codes = [f"{first}{second}a_Latn" for first in "abcdefghijk" for second in "abcdefghijk"]
    found = difference([frames(40, 1, 3.0, codes=codes)], [frames(40, 2, -1.0, codes=codes)])
    assert found["wins"] == len(codes) == 121


def test_only_rows_that_every_seed_answered_count() -> None:
    one, two = frames(50, 1), frames(50, 2)
    two["deu_Latn"] = {name: column[:20] for name, column in two["deu_Latn"].items()}
    del two["zho_Hans"]
    found = summary([one, two])
    assert found["languages"]["deu_Latn"]["n"] == 20
    assert found["languages"]["zho_Hans"]["score"] is None
    assert found["macro"]["all"]["languages"] == 3
    assert found["unpaired"] == 30 + 50
    against = difference([one, two], [frames(50, 3)])
    assert list(against["languages"]) == ["eng_Latn", "deu_Latn", "arb_Arab"]
    assert against["unpaired"] == 30 + 50


def test_what_cannot_be_compared_is_refused() -> None:
    one, other = frames(5, 1), frames(5, 2)
    other["deu_Latn"]["gold"] = ["no"] * 5
    with pytest.raises(TransfixError, match="deu_Latn: two seeds have different gold answers for row 'row-0'"):
        summary([one, other])
    with pytest.raises(TransfixError, match="2 and 1 seeds cannot be paired"):
        difference([one, one], [one], paired=True)
    with pytest.raises(TransfixError, match="at least one seed"):
        summary([])
