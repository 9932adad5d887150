"""Scores per language and on average, and how uncertain they are: of one run.

`over_seeds` does the same for several seeds, with what is here. Every interval is a bootstrap over examples, see `bootstrap`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from transfix.errors import TransfixError
from transfix.statistics.bootstrap import ENGLISH as ENGLISH
from transfix.statistics.bootstrap import (
    LEVEL,
    RESAMPLES,
    SEED,
    Draws,
    Floats,
    Golds,
    Scored,
    interval,
    intervals,
    resample,
)
from transfix.statistics.tests import two_sided_p

METRIC = "metric_"
"""Before the name of a metric beside the main one, the column of predictions that holds it."""


class Frame(Protocol):
    """Columns by name: a pandas DataFrame or a mapping of sequences.

    Columns read: `id`, `gold`, that of a score (0 to 1) and, if there, `truncated` (true or false).
    """

    def __getitem__(self, key: Any, /) -> Any: ...

    def __contains__(self, key: Any, /) -> bool: ...


def _is_missing(value: object) -> bool:
    """Whether a cell is empty. pandas' NA is recognised by name, so that pandas need not be imported."""
    return value is None or (isinstance(value, float) and math.isnan(value)) or type(value).__name__ == "NAType"


def _missing(cells: Golds) -> npt.NDArray[np.bool_]:
    """Which cells are empty (n,)."""
    if set(map(type, cells)) <= {str, bool, int, np.bool_}:  # most columns: thousands of cells need no look
        return np.zeros(len(cells), dtype=bool)
    return np.array([_is_missing(cell) for cell in cells], dtype=bool)


def scored(frame: Frame, where: str, column: str = "score") -> Scored:
    """Check and sort the rows of one language.

    Args:
        frame: the predictions, see `Frame`.
        where: what to call them in an error (a language code).
        column: the one that holds the scores.

    Raises:
        TransfixError: a column is missing, an id occurs twice, or a row with gold has a score that is not from 0 to 1.
    """
    rows, places = labelled(frame, where, column)
    numbers = list(frame[column])
    if not set(map(type, numbers)) <= {float, np.float64}:
        try:
            numbers = [math.nan if _is_missing(value) else float(value) for value in numbers]
        except (TypeError, ValueError) as error:
            raise TransfixError(f"predictions of {where}: a score is not a number: {error}") from error
    values = np.array(numbers, dtype=np.float64)[places]
    wrong = ~((values >= 0) & (values <= 1))
    if wrong.any():
        row, value = str(rows.ids[wrong][0]), values[wrong][0]
        raise TransfixError(f"predictions of {where}: score of row {row!r} is {value}; it must be from 0 to 1")
    return replace(rows, values=values)


def labelled(frame: Frame, where: str, *further: str) -> tuple[Scored, npt.NDArray[np.int_]]:
    """The rows that have a gold answer, in the order of their ids, without values yet.

    Args:
        frame: the predictions, see `Frame`.
        where: what to call them in an error.
        further: columns that must be there beside `id` and `gold`.

    Returns:
        The rows, and the place of each in the frame (n,).

    Raises:
        TransfixError: a column is missing, or an id occurs twice.
    """
    missing = [name for name in ("id", "gold", *further) if name not in frame]
    if missing:
        raise TransfixError(
            f"predictions of {where} have no column {', '.join(missing)}; evaluate again to rewrite them"
        )
    golds = np.empty(len(frame["gold"]), dtype=object)
    golds[:] = list(frame["gold"])
    keep = ~_missing(golds)
    ids = np.array([str(name) for name in frame["id"]], dtype=np.str_)[keep]
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    twice = ids[1:][ids[1:] == ids[:-1]]
    if len(twice):
        raise TransfixError(
            f"predictions of {where} hold the id {str(twice[0])!r} more than once; ids must be distinct"
        )
    cut = np.empty(len(keep), dtype=object)
    cut[:] = list(frame["truncated"]) if "truncated" in frame else False
    truncated = sum(map(bool, cut[keep & ~_missing(cut)]))
    places = np.flatnonzero(keep)[order]
    return Scored(ids, np.zeros(len(ids)), golds[places], truncated, int((~keep).sum())), places


def summarise(
    frames: Mapping[str, Frame],
    chance: float | None = 1 / 3,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = SEED,
) -> dict[str, Any]:
    """The score of one method on one task.

    Args:
        frames: predictions by language code, see `Frame`.
        chance: score of a guess, one over the number of classes; stated, not used.
        resamples: bootstrap resamples.
        level: confidence level of the intervals.
        seed: seed of the resamples.

    Returns:
        `{"metric", "languages": {code: {"n", "score", "interval", "truncated", "left_out"}}, "macro": {"all",
        "without_english": {"score", "interval", "languages"} or None}, "transfer_gap": {"difference", "interval",
        "p"} or None, "chance", "bootstrap": {"resamples", "level", "seed"}}`. Scores are shares from 0 to 1; a
        language without a row that has gold has score and interval None and is in no average. The transfer gap is
        English minus the mean of the other languages.

    Raises:
        TransfixError: see `scored`.
    """
    rows = {code: scored(frame, code) for code, frame in frames.items()}
    summary = summary_of(rows, resample(rows, resamples, seed), level)
    return summary | {"chance": chance, "bootstrap": {"resamples": resamples, "level": level, "seed": seed}}


def average(draws: Draws, members: Sequence[str], level: float = LEVEL) -> dict[str, Any] | None:
    """`{"score", "interval", "languages"}` of the mean over some languages; None over none."""
    if (mean := draws.over(members)) is None:
        return None
    return {"score": mean[0], "interval": interval(mean[1], level), "languages": len(members)}


def summary_of(rows: Mapping[str, Scored], draws: Draws, level: float) -> dict[str, Any]:
    """What `summarise` says of rows and their resamples, without `chance` and `bootstrap`."""
    gap, own = None, intervals(draws.own, level)
    english, others = draws.over([code for code in draws.points if code == ENGLISH]), draws.over(draws.others)
    if english is not None and others is not None:
        gap = _difference(english[0] - others[0], english[1] - others[1], level)
    return {
        "metric": "accuracy",
        "languages": {
            code: {
                "n": len(row),
                "score": draws.points.get(code),
                "interval": own.get(code),
                "truncated": row.truncated,
                "left_out": row.left_out,
            }
            | ({"signature": row.signature} if row.signature else {})
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


def difference_of(rows: Mapping[str, Scored], draws: Draws, level: float) -> dict[str, Any]:
    """What the draws of a difference between two methods say.

    Args:
        rows: those that both answered.
        draws: of the difference.
        level: confidence level of the intervals.

    Returns:
        `{"languages": {code: {"n", "difference", "interval", "p"}}, "macro": {"all", "without_english": {"difference",
        "interval", "p", "languages"} or None}}`; only languages with shared rows are there. Differences are in shares
        from -1 to 1.
    """

    def macro(members: list[str]) -> dict[str, Any] | None:
        if (mean := draws.over(members)) is None:
            return None
        return _difference(*mean, level) | {"languages": len(members)}

    own = intervals(draws.own, level)
    return {
        "languages": {
            code: {"n": len(rows[code]), "difference": point, "interval": own[code], "p": two_sided_p(draws.own[code])}
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
