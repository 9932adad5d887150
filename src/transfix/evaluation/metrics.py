"""Accuracy per language and on average, how uncertain it is, and how far apart two methods are: for one run of each.

`statistics` does the same for several seeds, with what is here.

Every interval is a percentile bootstrap over examples with a fixed seed: the same rows give the same numbers, in any
order. Rows with the same id in several languages are translations of each other, so they are drawn together; languages
that share no ids are drawn independently.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from transfix.errors import TransfixError

METRIC = "metric_"
"""Before the name of a metric beside the main one, the column of predictions that holds it."""

ENGLISH = "eng_Latn"
RESAMPLES = 2000
LEVEL = 0.95
SEED = 0

Floats = npt.NDArray[np.float64]
Golds = npt.NDArray[np.object_]


class Frame(Protocol):
    """Columns by name: a pandas DataFrame or a mapping of sequences.

    Columns read: `id`, `gold`, `score` (0 to 1) and, if there, `truncated` (true or false).
    """

    def __getitem__(self, key: Any, /) -> Any: ...

    def __contains__(self, key: Any, /) -> bool: ...


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


def _is_missing(value: object) -> bool:
    """Whether a cell is empty. pandas' NA is recognised by name, so that pandas need not be imported."""
    return value is None or (isinstance(value, float) and math.isnan(value)) or type(value).__name__ == "NAType"


def scored(frame: Frame, where: str) -> Scored:
    """Check and sort the rows of one language.

    Args:
        frame: the predictions, see `Frame`.
        where: what to call them in an error (a language code).

    Raises:
        TransfixError: a column is missing, an id occurs twice, or a row with gold has a score that is not from 0 to 1.
    """
    missing = [name for name in ("id", "gold", "score") if name not in frame]
    if missing:
        raise TransfixError(
            f"predictions of {where} have no column {', '.join(missing)}; evaluate again to rewrite them"
        )
    golds = np.empty(len(frame["gold"]), dtype=object)
    golds[:] = list(frame["gold"])
    keep = np.array([not _is_missing(gold) for gold in golds], dtype=bool)
    ids = np.array([str(name) for name in frame["id"]], dtype=np.str_)[keep]
    try:
        numbers = [math.nan if _is_missing(value) else float(value) for value in frame["score"]]
    except (TypeError, ValueError) as error:
        raise TransfixError(f"predictions of {where}: a score is not a number: {error}") from error
    values = np.array(numbers, dtype=np.float64)[keep]
    order = np.argsort(ids, kind="stable")
    ids, values = ids[order], values[order]
    twice = ids[1:][ids[1:] == ids[:-1]]
    if len(twice):
        raise TransfixError(
            f"predictions of {where} hold the id {str(twice[0])!r} more than once; ids must be distinct"
        )
    wrong = ~((values >= 0) & (values <= 1))
    if wrong.any():
        raise TransfixError(
            f"predictions of {where}: score of row {str(ids[wrong][0])!r} is {values[wrong][0]}; it must be from 0 to 1"
        )
    cut = list(frame["truncated"]) if "truncated" in frame else [False] * len(keep)
    truncated = sum(bool(kept and not _is_missing(value) and value) for kept, value in zip(keep, cut, strict=True))
    return Scored(ids, values, golds[keep][order], truncated, int((~keep).sum()))


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
    return [float(low), float(high)]


def two_sided_p(draws: Floats) -> float:
    """Twice the share of draws on the rarer side of zero, so that p < 0.05 says what a 95 % interval without 0 says.

    Zero draws count for both sides, and one is added above and below (Davison and Hinkley 1997, chapter 4): never 0.
    """
    draws = np.round(draws, 12)  # means that differ in the last bit only are ties
    rarer = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    return min(1.0, 2 * (rarer + 1) / (len(draws) + 1))


def summarise(
    frames: Mapping[str, Frame],
    chance: float | None = 1 / 3,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = SEED,
) -> dict[str, Any]:
    """Accuracy of one method on one task.

    Args:
        frames: predictions by language code, see `Frame`.
        chance: accuracy of a guess, one over the number of classes; stated, not used.
        resamples: bootstrap resamples.
        level: confidence level of the intervals.
        seed: seed of the resamples.

    Returns:
        `{"metric", "languages": {code: {"n", "accuracy", "interval", "truncated", "left_out"}}, "macro": {"all",
        "without_english": {"accuracy", "interval", "languages"} or None}, "transfer_gap": {"difference", "interval",
        "p"} or None, "chance", "bootstrap": {"resamples", "level", "seed"}}`. Accuracies are shares from 0 to 1; a
        language without a row that has gold has accuracy and interval None and is in no average. The transfer gap is
        English minus the mean of the other languages.

    Raises:
        TransfixError: see `scored`.
    """
    rows = {code: scored(frame, code) for code, frame in frames.items()}
    summary = summary_of(rows, resample(rows, resamples, seed), level)
    return summary | {"chance": chance, "bootstrap": {"resamples": resamples, "level": level, "seed": seed}}


def average(draws: Draws, members: Sequence[str], level: float = LEVEL) -> dict[str, Any] | None:
    """`{"accuracy", "interval", "languages"}` of the mean over some languages; None over none."""
    if (mean := draws.over(members)) is None:
        return None
    return {"accuracy": mean[0], "interval": interval(mean[1], level), "languages": len(members)}


def summary_of(rows: Mapping[str, Scored], draws: Draws, level: float) -> dict[str, Any]:
    """What `summarise` says of rows and their resamples, without `chance` and `bootstrap`."""
    gap = None
    english, others = draws.over([code for code in draws.points if code == ENGLISH]), draws.over(draws.others)
    if english is not None and others is not None:
        gap = _difference(english[0] - others[0], english[1] - others[1], level)
    return {
        "metric": "accuracy",
        "languages": {
            code: {
                "n": len(row),
                "accuracy": draws.points.get(code),
                "interval": interval(draws.own[code], level) if code in draws.own else None,
                "truncated": row.truncated,
                "left_out": row.left_out,
            }
            for code, row in rows.items()
        },
        "macro": {
            "all": average(draws, list(draws.points), level),
            "without_english": average(draws, draws.others, level),
        },
        "transfer_gap": gap,
    }


def _difference(value: float, draws: Floats, level: float) -> dict[str, Any]:
    return {"difference": value, "interval": interval(draws, level), "p": two_sided_p(draws)}


def difference(
    first: Mapping[str, Frame],
    second: Mapping[str, Frame],
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = SEED,
) -> dict[str, Any]:
    """First minus second method, on the rows both answered (paired: each resample draws the same rows for both).

    Returns:
        `{"languages": {code: {"n", "difference", "interval", "p"}}, "macro": {"all", "without_english": {"difference",
        "interval", "p", "languages"} or None}, "unpaired": rows that only one of them answered}`; only languages with
        shared rows are there. Differences are in shares from -1 to 1.

    Raises:
        TransfixError: see `scored`; or the two differ in the gold answer of one id, so they are not of one benchmark.
    """
    left = {code: scored(frame, code) for code, frame in first.items()}
    right = {code: scored(frame, code) for code, frame in second.items()}
    rows = {code: _paired(left[code], right[code], code) for code in left if code in right}
    shared = sum(len(row) for row in rows.values())
    unpaired = sum(len(row) for side in (left, right) for row in side.values()) - 2 * shared
    return difference_of(rows, resample(rows, resamples, seed), level) | {"unpaired": unpaired}


def difference_of(rows: Mapping[str, Scored], draws: Draws, level: float) -> dict[str, Any]:
    """What `difference` says of the draws of a difference, without `unpaired`."""

    def macro(members: list[str]) -> dict[str, Any] | None:
        if (mean := draws.over(members)) is None:
            return None
        return _difference(*mean, level) | {"languages": len(members)}

    return {
        "languages": {
            code: {"n": len(rows[code])} | _difference(point, draws.own[code], level)
            for code, point in draws.points.items()
        },
        "macro": {"all": macro(list(draws.points)), "without_english": macro(draws.others)},
    }


def require_same_golds(ids: npt.NDArray[np.str_], first: Golds, second: Golds, which: str) -> None:
    """Refuses to compare answers to different questions.

    Args:
        ids: of the rows (n,).
        first: their gold answers (n,).
        second: what must be equal to these (n,).
        which: what is compared, as the message begins (`deu_Latn: the two methods`).

    Raises:
        TransfixError: with the first row whose gold answers differ.
    """
    unlike = first != second
    if unlike.any():
        raise TransfixError(
            f"{which} have different gold answers for row {str(ids[unlike][0])!r}; "
            "compare runs that were evaluated on the same data"
        )


def _paired(first: Scored, second: Scored, code: str) -> Scored:
    ids, left, right = np.intersect1d(first.ids, second.ids, assume_unique=True, return_indices=True)
    golds = first.golds[left]
    require_same_golds(ids, golds, second.golds[right], f"{code}: the two methods")
    return Scored(ids, first.values[left] - second.values[right], golds)
