"""What several training seeds say together: intervals over examples and seeds, differences corrected for many languages.

`one_run` does this for one run of a method. Here each bootstrap resample draws examples, the same for all seeds, and
seeds, both with replacement (a crossed bootstrap; Efron and Tibshirani 1993, chapters 8 and 13). With one seed every
number is that of `one_run`, to the bit. k seeds drawn from k vary by (k - 1)/k of what k new ones would, so what a draw
of seeds adds to the mean is stretched by √(k/(k - 1)). Still a few seeds show little of how far seeds can move a number:
with two or three, read the standard deviation too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from transfix.errors import TransfixError
from transfix.statistics import bootstrap, one_run
from transfix.statistics.bootstrap import ENGLISH, LEVEL, RESAMPLES, SEED, Draws, Floats, Scored
from transfix.statistics.tests import ALPHA, exact_test, holm

Rows = Mapping[str, Scored]


def together(seeds: Sequence[Rows]) -> dict[str, Scored]:
    """The rows of each language that every seed answered, with the values of all seeds, see `Scored`.

    Raises:
        TransfixError: the seeds differ in the gold answer of one id, or there is no seed.
    """
    if not seeds:
        raise TransfixError("there are no predictions to average: give those of at least one seed")
    if len(seeds) == 1:
        return dict(seeds[0])
    codes = dict.fromkeys(code for rows in seeds for code in rows)
    return {code: _together([rows[code] for rows in seeds if code in rows], len(seeds), code) for code in codes}


def _together(seeds: Sequence[Scored], wanted: int, code: str) -> Scored:
    """The rows that all of the wanted seeds have."""
    ids = seeds[0].ids if len(seeds) == wanted else seeds[0].ids[:0]
    for rows in seeds[1:]:
        ids = np.intersect1d(ids, rows.ids, assume_unique=True)
    places = [np.searchsorted(rows.ids, ids) for rows in seeds]
    golds = seeds[0].golds[places[0]]
    for rows, place in zip(seeds, places, strict=True):
        one_run.require_same_golds(ids, golds, rows.golds[place], f"{code}: two seeds")
    if len({rows.values.shape[1:] for rows in seeds if len(rows)}) > 1:
        raise TransfixError(f"{code}: two seeds have predictions of different classes; compare runs of the same task")
    values = np.zeros((0, len(seeds)))
    if len(ids):
        values = np.stack([rows.values[place] for rows, place in zip(seeds, places, strict=True)], axis=1)
    # prompts are the same with every seed, so these counts differ only where the rows do
    truncated, left_out = max(rows.truncated for rows in seeds), max(rows.left_out for rows in seeds)
    signature = ", ".join(dict.fromkeys(rows.signature for rows in seeds if rows.signature))
    return Scored(ids, values, golds, truncated, left_out, seeds[0].of_sums, signature)


@lru_cache(maxsize=16)
def _weights(seeds: int, resamples: int, seed: int, side: int) -> Floats | None:
    """The share of each seed in each resample, drawn with replacement (resamples, seeds); None for one seed.

    Shares add up to 1, and their distance from 1/k is stretched, see the module's description.
    """
    if seeds == 1:
        return None
    drawn = np.random.default_rng((seed, side, seeds)).integers(0, seeds, (resamples, seeds))
    shares = (drawn[:, :, None] == np.arange(seeds)).sum(axis=1) / seeds
    weights: Floats = 1 / seeds + (shares - 1 / seeds) * np.sqrt(seeds / (seeds - 1))
    weights.setflags(write=False)
    return weights


def _seeds(rows: Rows) -> int:
    """How many seeds the values are of."""
    return max((row.seeds for row in rows.values()), default=1)


def draws_of(rows: Rows, resamples: int = RESAMPLES, seed: int = SEED, side: int = 0) -> Draws:
    """Bootstrap scores over examples and seeds.

    Args:
        rows: what `together` gave.
        resamples: how many.
        seed: of the draws.
        side: draws of seeds with another number are independent of these.
    """
    return bootstrap.resample(rows, resamples, seed, _weights(_seeds(rows), resamples, seed, side))


def summary_of(
    seeds: Sequence[Rows], *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = SEED
) -> dict[str, Any]:
    """The score of one method on one task, over the seeds it was trained with.

    Args:
        seeds: for each seed the rows by language code, see `one_run.scored`.
        resamples: bootstrap resamples.
        level: confidence level of the intervals.
        seed: of the resamples.

    Returns:
        What `one_run.summarise` returns, of the mean over seeds and without `chance`; and `"seeds"`: how many; `"sd"` in
        every language and both averages: the standard deviation over seeds (n - 1), None with one seed; `"unpaired"`:
        rows that not every seed answered, which no number counts.

    Raises:
        TransfixError: see `together`.
    """
    rows = together(seeds)
    draws = draws_of(rows, resamples, seed)
    summary = one_run.summary_of(rows, draws, level)
    for code, entry in summary["languages"].items():
        entry["sd"] = deviation(rows, [code])
    for which, members in (("all", list(draws.points)), ("without_english", draws.others)):
        if summary["macro"][which] is not None:
            summary["macro"][which]["sd"] = deviation(rows, members)
    if (gap := summary["transfer_gap"]) is not None and not any(row.of_sums for row in rows.values()):
        gap["p"] = max(gap["p"], exact_test(_gap_apart(rows, draws.others)))
    if all(_on_scale(row) for row in rows.values() if len(row)):
        for entry in (*summary["languages"].values(), *summary["macro"].values()):
            if entry is not None and entry["interval"] is not None:  # stretched draws may leave the scale
                entry["interval"] = [min(1.0, max(0.0, bound)) for bound in entry["interval"]]
    given = sum(len(row) for one in seeds for row in one.values())
    return summary | {
        "bootstrap": {"resamples": resamples, "level": level, "seed": seed},
        "seeds": len(seeds),
        "unpaired": given - len(seeds) * sum(len(row) for row in rows.values()),
    }


def _on_scale(row: Scored) -> bool:
    """Whether the score of any rows is from 0 to 1; differences are not."""
    return row.of_sums is not None or bool(row.values.min() >= 0 and row.values.max() <= 1)


def deviation(rows: Rows, members: Sequence[str]) -> float | None:
    """The standard deviation over seeds (n - 1) of the mean over languages; None with one seed or without rows."""
    found = [rows[code] for code in members if len(rows[code])]
    if not found or found[0].seeds == 1:
        return None
    return float(np.mean([row.by_seed() for row in found], axis=0).std(ddof=1))


def difference_of(
    first: Rows,
    second: Rows,
    *,
    paired: bool | None = None,
    resamples: int | None = None,
    level: float = LEVEL,
    seed: int = SEED,
) -> dict[str, Any]:
    """First minus second method over their seeds, on the rows that all seeds of both answered.

    Args:
        first: what `together` gave of the one method, of a score that is a mean over rows.
        second: the same of the other method.
        paired: whether the seeds are the same numbers in the same order, so that each resample draws the same for both;
            None: where there are equally many.
        resamples: bootstrap resamples; None is 2,000, or 100 a language where that is more: the smallest p must outlive
            Holm's correction.
        level: confidence level of the intervals.
        seed: of the resamples.

    Returns:
        What `one_run.difference_of` returns, with no p below that of `exact_test`, and `"holm"` in every language: p
        adjusted over the languages; `"wins"`, `"ties"`, `"losses"`: languages in which the first is better, not
        distinguishable, worse at 0.05 after that; `"unpaired"`: rows that only one of them answered;
        `"seeds"`: [of the first, of the second]; `"seeds_paired"`.

    Raises:
        TransfixError: the two differ in the gold answer of one id, so they are not of one benchmark; or `paired` with
            unlike numbers of seeds.
    """
    counts = [_seeds(first), _seeds(second)]
    paired = counts[0] == counts[1] if paired is None else paired
    if paired and counts[0] != counts[1]:
        raise TransfixError(f"{counts[0]} and {counts[1]} seeds cannot be paired: leave paired out, or set it to False")
    shared = {code: _shared(first[code], second[code], code) for code in first if code in second}
    left, right = ({code: pair[side] for code, pair in shared.items()} for side in (0, 1))
    resamples = max(RESAMPLES, 100 * sum(len(row) > 0 for row in left.values())) if resamples is None else resamples
    if paired:
        left = {code: Scored(a.ids, a.values - right[code].values, a.golds) for code, a in left.items()}
        draws = draws_of(left, resamples, seed)
    else:
        draws = draws_of(left, resamples, seed) - draws_of(right, resamples, seed, side=1)
    found = one_run.difference_of(left, draws, level)
    for code, entry in found["languages"].items():
        entry["p"] = max(entry["p"], exact_test(_apart(*shared[code])))
    for which, members in (("all", list(draws.points)), ("without_english", draws.others)):
        if (average := found["macro"][which]) is not None:
            average["p"] = max(average["p"], exact_test(_macro_apart([shared[code] for code in members])))
    entries = found["languages"].values()
    for entry, adjusted in zip(entries, holm([entry["p"] for entry in entries]), strict=True):
        entry["holm"] = adjusted
    clear = [entry["difference"] for entry in entries if entry["holm"] < ALPHA]
    wins = sum(value > 0 for value in clear)
    total = sum(len(row) for side in (first, second) for row in side.values())
    return found | {
        "unpaired": total - 2 * sum(len(row) for row in left.values()),
        "wins": wins,
        "ties": len(entries) - len(clear),
        "losses": len(clear) - wins,
        "seeds": counts,
        "seeds_paired": paired,
    }


def _shared(first: Scored, second: Scored, code: str) -> tuple[Scored, Scored]:
    """The rows both have."""
    ids, left, right = np.intersect1d(first.ids, second.ids, assume_unique=True, return_indices=True)
    golds = first.golds[left]
    one_run.require_same_golds(ids, golds, second.golds[right], f"{code}: the two methods")
    return Scored(ids, first.values[left], golds), Scored(ids, second.values[right], golds)


def _apart(first: Scored, second: Scored) -> Floats:
    """The difference of each row, the mean over seeds (n,)."""
    return _over_seeds(first) - _over_seeds(second)


def _over_seeds(rows: Scored) -> Floats:
    """The mean of each row over seeds (n,)."""
    means: Floats = rows.values.reshape(len(rows), -1).mean(axis=1)
    return means


def _macro_apart(languages: Sequence[tuple[Scored, Scored]]) -> Floats:
    """What each row, with its translations, adds to the difference of the averages over languages."""
    return _by_id([first.ids for first, _ in languages], [_apart(*pair) / len(pair[0]) for pair in languages])


def _gap_apart(rows: Rows, others: Sequence[str]) -> Floats:
    """What each row, with its translations, adds to the distance of English from the mean of the others."""
    weights = {ENGLISH: 1.0} | {code: -1 / len(others) for code in others}
    shares = [_over_seeds(rows[code]) * weight / len(rows[code]) for code, weight in weights.items()]
    return _by_id([rows[code].ids for code in weights], shares)


def _by_id(ids: Sequence[npt.NDArray[np.str_]], shares: Sequence[Floats]) -> Floats:
    """The sum of the shares of each id, over languages."""
    _, places = np.unique(np.concatenate(ids), return_inverse=True)
    sums: Floats = np.bincount(places, weights=np.concatenate(shares)).astype(np.float64)
    return sums
