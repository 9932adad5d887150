"""The bootstrap behind every interval: rows drawn with replacement, translations of each other together.

Percentile intervals with a fixed seed: the same rows give the same numbers, in any order. Rows with the same id in several
languages are translations of each other, so they are drawn together; languages that share no ids are drawn independently.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class Scored:
    """The rows of one language that have a gold answer, in the order of their ids.

    Attributes:
        ids: distinct ids, sorted, as an array of strings (n,).
        values: the score of each row, or the difference of two scores (n,); with several seeds (n, seeds).
        golds: the gold answers (n,).
        truncated: how many of the n prompts were cut to fit.
        left_out: rows without a gold answer, which no number counts.
    """

    ids: npt.NDArray[np.str_]
    values: Floats
    golds: Golds
    truncated: int = 0
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def mean(self) -> float:
        """The mean value; not a number where there are no rows."""
        return float(self.values.mean()) if len(self) else math.nan


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """Means of languages, and what they are in every bootstrap resample.

    Attributes:
        points: the mean of each language that has rows.
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
    """Bootstrap means of all languages together.

    Ids are grouped by the set of languages that have them, and each group is resampled on its own, jointly for its
    languages. Fully parallel languages form one group and unrelated ones a group each; every language keeps its n.

    Args:
        languages: the rows of each; those without rows are left out.
        resamples: how many.
        seed: of the draws.
        weights: the share of each seed in each resample (resamples, seeds), where `values` are (n, seeds).
    """
    rows = {code: row for code, row in languages.items() if len(row)}
    codes = list(rows)
    means = np.zeros((resamples, len(codes)))
    own = {}
    for ids, members in _groups({code: row.ids for code, row in rows.items()}):
        columns = [rows[code] for code in members]
        values = np.stack([row.values[np.searchsorted(row.ids, ids)] for row in columns], axis=1)
        sums = _resampled_sums(ids, values.reshape(len(ids), -1), resamples, seed)
        if weights is not None:
            sums = np.einsum("rls,rs->rl", sums.reshape(resamples, len(members), -1), weights)
        for column, (code, row) in enumerate(zip(members, columns, strict=True)):
            means[:, codes.index(code)] += sums[:, column] / len(row)
            if len(ids) == len(row):  # no other group has rows of this language
                own[code] = means[:, codes.index(code)]
    for code, row in rows.items():
        if code not in own:
            own[code] = resample({code: row}, resamples, seed, weights).means[:, 0]
    return Draws({code: row.mean for code, row in rows.items()}, means, own)


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
    tail = 50 * (1 - level)
    low, high = np.percentile(draws, [tail, 100 - tail])
    return [round(float(bound), 12) + 0.0 for bound in (low, high)]  # no 5e-17, no -0


def two_sided_p(draws: Floats) -> float:
    """Twice the share of draws on the rarer side of zero, so that p < 0.05 says what a 95 % interval without 0 says.

    Zero draws count for both sides, and one is added above and below (Davison and Hinkley 1997, chapter 4): never 0.
    """
    draws = np.round(draws, 12)  # means that differ in the last bit only are ties
    rarer = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    return min(1.0, 2 * (rarer + 1) / (len(draws) + 1))
