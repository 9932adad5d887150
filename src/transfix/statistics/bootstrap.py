"""The bootstrap behind every interval: rows drawn with replacement, translations of each other together.

Percentile intervals with a fixed seed: the same rows give the same numbers, in any order. Rows with the same id in several
languages are translations of each other, so they are drawn together; languages that share no ids are drawn independently.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

ENGLISH = "eng_Latn"
RESAMPLES = 2000
LEVEL = 0.95
SEED = 0

Floats = npt.NDArray[np.float64]
Golds = npt.NDArray[np.object_]
OfSums = Callable[[Floats], Floats]

BLOCK = 512
"""Columns of statistics that are resampled at once: they take 8 MB."""


@dataclass(frozen=True, slots=True)
class Scored:
    """The rows of one language that have a gold answer, in the order of their ids.

    Attributes:
        ids: distinct ids, sorted, as an array of strings (n,).
        values: the score of each row, or the difference of two scores (n,); with several seeds (n, seeds). Of a corpus
            metric what is added up over rows (n, k); with several seeds (n, seeds, k).
        golds: the gold answers (n,).
        truncated: how many of the n prompts were cut to fit.
        left_out: rows without a gold answer, which no number counts.
        of_sums: a corpus metric's score of the sums over rows, (..., k) -> (...), from 0 to 1. None: the score is the mean
            value.
        signature: by which others can check that they compute the same; empty if there is none.
    """

    ids: npt.NDArray[np.str_]
    values: Floats
    golds: Golds
    truncated: int = 0
    left_out: int = 0
    of_sums: OfSums | None = None
    signature: str = ""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def seeds(self) -> int:
        """How many seeds the values are of."""
        of_one = 1 if self.of_sums is None else 2
        return self.values.shape[1] if self.values.ndim > of_one else 1

    @property
    def score(self) -> float:
        """The score over all rows, of several seeds the mean; not a number where there are no rows."""
        if not len(self):
            return math.nan
        return float(self.values.mean() if self.of_sums is None else self.by_seed().mean())

    def by_seed(self) -> Floats:
        """The score over all rows of each seed (seeds,)."""
        if self.of_sums is None:
            means: Floats = self.values.reshape(len(self), -1).mean(axis=0)
            return means
        return self.of_sums(self.values.sum(axis=0).reshape(self.seeds, -1))


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """Scores of languages, and what they are in every bootstrap resample.

    Attributes:
        points: the score of each language that has rows.
        means: the same in each resample, drawn jointly for all languages (resamples, languages).
        own: the draws behind each language's own interval: of its rows alone, whatever other languages are there.
    """

    points: Mapping[str, float]
    means: Floats
    own: Mapping[str, Floats]

    @property
    def others(self) -> list[str]:
        """All languages but English."""
        return [code for code in self.points if code != ENGLISH]

    def __sub__(self, other: Draws) -> Draws:
        """The differences, of the same languages and rows."""
        points = {code: point - other.points[code] for code, point in self.points.items()}
        columns = [list(other.points).index(code) for code in points]
        own = {code: draws - other.own[code] for code, draws in self.own.items()}
        return Draws(points, self.means - other.means[:, columns], own)

    def over(self, members: Sequence[str]) -> tuple[float, Floats] | None:
        """The unweighted mean over languages and its draws (resamples,); None over no language."""
        if not members:
            return None
        codes = list(self.points)
        columns = [codes.index(code) for code in members]
        return float(np.mean([self.points[code] for code in members])), self.means[:, columns].mean(axis=1)


@lru_cache(maxsize=4)
def _counts(rows: int, entropy: tuple[int, ...], resamples: int) -> npt.NDArray[np.uint8]:
    """How often each row occurs in each resample: (resamples, rows), each line a multinomial draw of `rows` rows."""
    generator = np.random.default_rng(entropy)
    counts = np.empty((resamples, rows), dtype=np.uint8)
    step = max(1, 250_000 // rows)  # draws that fit the processor's cache: twice as fast as all at once
    for start in range(0, resamples, step):
        lines = min(step, resamples - start)
        drawn = generator.integers(0, rows, (lines, rows), dtype=np.int32)
        drawn += np.arange(lines, dtype=np.int32)[:, None] * rows
        counts[start : start + lines] = np.bincount(drawn.ravel(), minlength=lines * rows).reshape(lines, rows)
    counts.setflags(write=False)
    return counts


def _resampled_sums(ids: npt.NDArray[np.str_], values: Floats, resamples: int, seed: int) -> Floats:
    """Sums of the columns of `values` (rows, columns) over rows drawn with replacement: (resamples, columns).

    The draw depends on the ids and the seed alone: the same rows are drawn alike in every language and for every
    method, and other rows independently of them.
    """
    digest = hashlib.sha256("\0".join(ids.tolist()).encode("utf-8", "surrogatepass")).digest()
    counts = _counts(len(ids), (seed, int.from_bytes(digest[:16], "big")), resamples)
    step = max(1, 1_000_000 // len(ids))
    blocks = [counts[start : start + step].astype(np.float64) @ values for start in range(0, resamples, step)]
    return np.concatenate(blocks)


def resample(
    languages: Mapping[str, Scored], resamples: int = RESAMPLES, seed: int = SEED, weights: Floats | None = None
) -> Draws:
    """Bootstrap scores of all languages together.

    Ids are grouped by the set of languages that have them, and each group is resampled on its own, jointly for its
    languages. Fully parallel languages form one group and unrelated ones a group each; every language keeps its n.

    Args:
        languages: the rows of each; those without rows are left out.
        resamples: how many.
        seed: of the draws.
        weights: the share of each seed in each resample (resamples, seeds), where there are several.
    """
    rows = {code: row for code, row in languages.items() if len(row)}
    codes = list(rows)
    groups = _groups({code: row.ids for code, row in rows.items()})
    corpus = any(row.of_sums for row in rows.values())
    means = (_corpus_scores if corpus else _means)(rows, groups, resamples, seed, weights)
    whole = {code for ids, members in groups for code in members if len(ids) == len(rows[code])}
    own = {
        code: means[:, place] if code in whole else resample({code: rows[code]}, resamples, seed, weights).means[:, 0]
        for place, code in enumerate(codes)
    }
    return Draws({code: row.score for code, row in rows.items()}, means, own)


Groups = Sequence[tuple[npt.NDArray[np.str_], list[str]]]


def _means(rows: Mapping[str, Scored], groups: Groups, resamples: int, seed: int, weights: Floats | None) -> Floats:
    """The mean value of every language in each resample (resamples, languages)."""
    codes = list(rows)
    means = np.zeros((resamples, len(codes)))
    for ids, members in groups:
        columns = [rows[code] for code in members]
        values = np.stack([row.values[np.searchsorted(row.ids, ids)] for row in columns], axis=1)
        sums = _resampled_sums(ids, values.reshape(len(ids), -1), resamples, seed)
        if weights is not None:
            sums = np.einsum("rls,rs->rl", sums.reshape(resamples, len(members), -1), weights)
        for column, (code, row) in enumerate(zip(members, columns, strict=True)):
            means[:, codes.index(code)] += sums[:, column] / len(row)
    return means


def _corpus_scores(
    rows: Mapping[str, Scored], groups: Groups, resamples: int, seed: int, weights: Floats | None
) -> Floats:
    """The score of every language from the sums of its drawn rows, in each resample (resamples, languages)."""
    scores = np.empty((resamples, len(rows)))
    places = {code: place for place, code in enumerate(rows)}
    missing = {code: len(row) for code, row in rows.items()}
    sums: dict[str, Floats] = {}
    for ids, members in groups:
        step = max(1, BLOCK // max(rows[code].values[0].size for code in members))
        for start in range(0, len(members), step):
            block = [rows[code] for code in members[start : start + step]]
            values = [row.values[np.searchsorted(row.ids, ids)].reshape(len(ids), -1) for row in block]
            ends = np.cumsum([part.shape[1] for part in values])[:-1]
            drawn = np.split(_resampled_sums(ids, np.concatenate(values, axis=1), resamples, seed), ends, axis=1)
            for code, part in zip(members[start : start + step], drawn, strict=True):
                sums[code] = sums[code] + part if code in sums else part
                missing[code] -= len(ids)
                if not missing[code]:  # no later group has rows of this language
                    scores[:, places[code]] = _over_seeds(rows[code], sums.pop(code), weights)
    return scores


def _over_seeds(row: Scored, sums: Floats, weights: Floats | None) -> Floats:
    """The mean over seeds of a corpus metric's score in each resample (resamples,)."""
    assert row.of_sums is not None
    by_seed = row.of_sums(sums.reshape(len(sums), row.seeds, -1))
    mean: Floats = by_seed[:, 0] if weights is None else np.einsum("rs,rs->r", by_seed, weights)
    return mean


def _groups(ids: Mapping[str, npt.NDArray[np.str_]]) -> list[tuple[npt.NDArray[np.str_], list[str]]]:
    """Split the ids by the set of languages that have them. Languages with equal ids are compared only once."""
    same: dict[tuple[str, ...], list[str]] = {}
    for code, names in ids.items():
        same.setdefault(tuple(names.tolist()), []).append(code)
    blocks = list(same.items())
    owners: dict[str, list[int]] = {}
    for block, (shared, _) in enumerate(blocks):
        for name in shared:
            owners.setdefault(name, []).append(block)
    members: dict[tuple[int, ...], list[str]] = {}
    for name, owned in owners.items():
        members.setdefault(tuple(owned), []).append(name)
    return [
        (np.array(sorted(names), dtype=np.str_), [code for block in owned for code in blocks[block][1]])
        for owned, names in members.items()
    ]


def interval(draws: Floats, level: float = LEVEL) -> list[float]:
    """Percentile interval [low, high] of bootstrap draws (resamples,) (Efron and Tibshirani 1993, section 13.3)."""
    return intervals({"": draws}, level)[""]


def intervals(draws: Mapping[str, Floats], level: float = LEVEL) -> dict[str, list[float]]:
    """`interval` of each of several draws of the same length, which is faster than one after the other."""
    if not draws:
        return {}
    tail = 50 * (1 - level)
    bounds = np.percentile(np.stack(list(draws.values()), axis=1), [tail, 100 - tail], axis=0)
    # no 5e-17, no -0
    return {name: [round(float(bound), 12) + 0.0 for bound in own] for name, own in zip(draws, bounds.T, strict=True)}
